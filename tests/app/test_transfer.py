"""Issues copied between a file, the tracker and a forge: each once, with what they need."""

import json
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from luminaguard.app.project import open_project
from luminaguard.app.transfer import copy_of, import_from, marked
from luminaguard.forges.store import TrackerStore
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId
from luminaguard.model.issue import IssueState


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    subprocess.run(["git", "init", "-q", "-b", "main", folder], check=True)
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *who, "commit", "-q", "--allow-empty", "-m", "x"], cwd=folder, check=True)
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "issues.json"
    issues = [
        {"number": 1, "title": "First", "body": "do it", "state": "OPEN", "labels": [{"name": "bug"}]},
        {"number": 2, "title": "Second", "state": "OPEN", "blockedBy": [{"number": 1}, {"number": 3}]},
        {"number": 3, "title": "Third", "state": "CLOSED"},
    ]
    path.write_text(json.dumps(issues))
    return path


def imported(repo: Path, where: Path, *, everything: bool = False) -> tuple[IssueId, ...]:
    async def run() -> tuple[IssueId, ...]:
        return (await import_from(open_project(repo), str(where), everything=everything)).added

    return anyio.run(run)


def store_of(repo: Path) -> TrackerStore:
    return TrackerStore(repo / ".git/luminaguard/tracker.db")


def test_open_issues_are_copied_once_with_what_they_need(repo: Path, file: Path) -> None:
    assert imported(repo, file) == ("1", "2")
    assert imported(repo, file) == ()
    first, second = store_of(repo).issues()
    assert (first.title, first.labels, second.needs) == ("First", ("bug",), ("1",))
    assert copy_of(first.body) == "issues.json#1"


def test_closed_ones_come_too_where_all_are_asked_for(repo: Path, file: Path) -> None:
    imported(repo, file)
    assert imported(repo, file, everything=True) == ("3",)
    assert store_of(repo).show("3").state is IssueState.CLOSED
    assert store_of(repo).show("2").needs == ("1", "3")


def test_an_issue_that_is_there_is_never_overwritten(repo: Path, file: Path) -> None:
    store_of(repo).add("Mine")
    assert imported(repo, file) == ("2", "3")
    assert [(it.id, it.title) for it in store_of(repo).issues()] == [("1", "Mine"), ("2", "First"), ("3", "Second")]
    assert store_of(repo).show("3").needs == ("2",)


def test_what_was_exported_is_read_again(repo: Path, file: Path, tmp_path: Path) -> None:
    imported(repo, file, everything=True)
    argv = [sys.executable, "-m", "luminaguard", "--repo", str(repo), "issues", "export", str(tmp_path / "out.json")]
    ran = subprocess.run([*argv, "--all"], text=True, capture_output=True, check=True)
    assert ran.stdout == "3 copied, 0 were there\n"
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "-q", str(repo), str(other)], check=True)
    assert imported(other, tmp_path / "out.json", everything=True) == ("1", "2", "3")
    assert [(it.title, it.state, it.needs) for it in store_of(other).issues()] == [
        (it.title, it.state, it.needs) for it in store_of(repo).issues()
    ]
    again = subprocess.run(argv, text=True, capture_output=True, check=False)
    assert (again.returncode, "is there already" in again.stderr) == (2, True)


def test_a_project_whose_issues_are_files_takes_none(repo: Path, file: Path) -> None:
    project = open_project(repo, backlog=file)

    async def run() -> None:
        await import_from(project, "local", everything=False)

    with pytest.raises(UserFault, match="nothing can be added"):
        anyio.run(run)


def test_a_mark_is_put_once() -> None:
    assert marked(marked("text", "a#1"), "b#2") == "text\n\n<!-- luminaguard: copy of b#2 -->"
    assert copy_of("text") is None
