"""A promise to close issues in their files is looked at before anything is done: what cannot be kept is told."""

import subprocess
from pathlib import Path

import anyio
import pytest

from luminaguard.app.planning import make_plan
from luminaguard.app.project import open_project

PAGE = "---\nid: {0}\nstatus: open\n---\n# Do {0}\n"


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", "-C", folder, *who, *words], check=True)


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "x")


def settings(repo: Path, path: str, *, write_back: bool = True) -> None:
    text = f'[backlog]\nsource = "file"\npath = "{path}"\nwrite_back = {str(write_back).lower()}\n'
    (repo / "luminaguard.toml").write_text(text)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with a page for each of two issues, all of it committed."""
    made = tmp_path / "repo"
    (made / "issues").mkdir(parents=True)
    git(tmp_path, "init", "-q", "-b", "main", "--template=", str(made))
    for number in (1, 2):
        (made / "issues" / f"{number}.md").write_text(PAGE.format(number))
    settings(made, "issues")
    commit(made)
    return made


def told(repo: Path) -> list[str]:
    return [notice.text for notice in anyio.run(make_plan, open_project(repo)).plan.notices]


def test_nothing_is_told_where_all_files_are_committed(repo: Path) -> None:
    assert told(repo) == []


def test_a_page_that_is_not_committed_is_told_with_its_issue(repo: Path) -> None:
    (repo / "issues" / "3.md").write_text(PAGE.format(3))
    (notice,) = told(repo)
    assert notice == (
        "write_back = true cannot be kept for #3: 'main' does not hold them in issues/3.md as committed, "
        "so only the tracker closes them; git add and commit it"
    )


def test_nothing_is_told_where_nothing_is_written_back(repo: Path) -> None:
    settings(repo, "issues", write_back=False)
    (repo / "issues" / "3.md").write_text(PAGE.format(3))
    assert told(repo) == []


def test_a_page_that_was_only_edited_is_not_told(repo: Path) -> None:
    (repo / "issues" / "2.md").write_text(PAGE.format(2) + "More.\n")
    assert told(repo) == []


def test_an_issue_that_a_committed_file_does_not_yet_hold_is_told(repo: Path) -> None:
    file = repo / "all.jsonl"
    file.write_text('{"id": "x-1", "title": "One"}\n')
    settings(repo, "all.jsonl")
    commit(repo)
    file.write_text('{"id": "x-1", "title": "One"}\n{"id": "x-2", "title": "Two"}\n')
    (notice,) = told(repo)
    assert "cannot be kept for #x-2: 'main' does not hold them in all.jsonl" in notice


def test_a_file_that_is_ignored_by_git_is_told(repo: Path) -> None:
    (repo / ".gitignore").write_text("all.jsonl\n")
    (repo / "all.jsonl").write_text('{"id": "x-1", "title": "One"}\n')
    settings(repo, "all.jsonl")
    commit(repo)
    assert "cannot be kept for #x-1" in told(repo)[0]


def test_a_closed_issue_needs_no_file(repo: Path) -> None:
    (repo / "issues" / "3.md").write_text(PAGE.format(3).replace("open", "closed"))
    assert told(repo) == []


def test_a_plan_is_made_of_a_file_outside_of_the_repository(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text('{"id": "x-1", "title": "One"}\n')
    settings(repo, "../out.jsonl")
    assert told(repo) == []
