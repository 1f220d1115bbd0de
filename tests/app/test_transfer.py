"""Issues copied between a file, the tracker and a forge: each once, with what they need."""

import json
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from luminaguard.app.copies import Mark, Place, marked, marks_in
from luminaguard.app.project import open_project
from luminaguard.app.transfer import Moved, import_from
from luminaguard.forges.store import TrackerStore
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json
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
    return moved(repo, where, everything=everything).added


def moved(repo: Path, where: Path, *, everything: bool = False) -> Moved:
    async def run() -> Moved:
        return await import_from(open_project(repo), str(where), everything=everything)

    return anyio.run(run)


def backlog_at(path: Path, *issues: dict[str, Json]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([{"state": "OPEN", **issue} for issue in issues]))
    return path


def export(repo: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "luminaguard", "--repo", str(repo), "issues", "export", *map(str, words)]
    return subprocess.run(argv, text=True, capture_output=True, check=False)


def store_of(repo: Path) -> TrackerStore:
    return TrackerStore(repo / ".git/luminaguard/tracker.db")


def test_open_issues_are_copied_once_with_what_they_need(repo: Path, file: Path) -> None:
    assert imported(repo, file) == ("1", "2")
    assert imported(repo, file) == ()
    first, second = store_of(repo).issues()
    assert (first.title, first.labels, second.needs) == ("First", ("bug",), ("1",))
    assert [it.of for it in marks_in(first.body)] == ["issues.json#1"]


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
    assert export(repo, tmp_path / "out.json", "--all").stdout == "3 copied, 0 were there\n"
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "-q", str(repo), str(other)], check=True)
    assert imported(other, tmp_path / "out.json", everything=True) == ("1", "2", "3")
    assert [(it.title, it.state, it.needs) for it in store_of(other).issues()] == [
        (it.title, it.state, it.needs) for it in store_of(repo).issues()
    ]
    again = export(repo, tmp_path / "out.json")
    assert (again.returncode, "is there already" in again.stderr) == (2, True)


def test_a_project_whose_issues_are_files_takes_none(repo: Path, file: Path) -> None:
    project = open_project(repo, backlog=file)

    async def run() -> None:
        await import_from(project, "local", everything=False)

    with pytest.raises(UserFault, match="nothing can be added"):
        anyio.run(run)


def test_files_of_the_same_name_are_told_apart(repo: Path, tmp_path: Path) -> None:
    one = backlog_at(tmp_path / "a/issues.json", {"number": 1, "title": "Fix the login"})
    other = backlog_at(tmp_path / "b/issues.json", {"number": 1, "title": "Quite another thing"})
    assert imported(repo, one) == ("1",)
    second = moved(repo, other)
    assert (second.added, second.notices[0]) == (
        ("2",),
        'were copied beside another of their name and number: 1 "Quite another thing" (#1 "Fix the login")',
    )
    assert [imported(repo, path) for path in (one, other)] == [(), ()]
    assert [it.title for it in store_of(repo).issues()] == ["Fix the login", "Quite another thing"]


def test_a_file_that_was_moved_is_known_again(repo: Path, file: Path, tmp_path: Path) -> None:
    imported(repo, file)
    (tmp_path / "moved").mkdir()
    assert moved(repo, file.rename(tmp_path / "moved/issues.json")).added == ()


def test_a_file_of_the_repository_is_known_again_in_another_clone(repo: Path, tmp_path: Path) -> None:
    backlog_at(repo / "issues.json", {"number": 1, "title": "Old"})
    imported(repo, repo / "issues.json")
    backlog_at(repo / "issues.json", {"number": 1, "title": "New"})
    clone = repo.rename(tmp_path / "clone")
    assert imported(clone, clone / "issues.json") == ()


def test_what_is_there_is_named_and_so_is_what_says_something_else_by_now(repo: Path, tmp_path: Path) -> None:
    path = tmp_path / "issues.json"
    store_of(repo).add("Mine")
    imported(repo, backlog_at(path, {"number": 1, "title": "One"}, {"number": 2, "title": "Two"}))
    backlog_at(path, {"number": 1, "title": "One"}, {"number": 2, "title": "Two, but better"})
    again = moved(repo, path)
    assert (again.added, again.notices[:2]) == (
        (),
        (
            "were there: 1 (#2)",
            'were there, say something else by now, and stay as they are: 2 "Two, but better" (#3 "Two")',
        ),
    )
    assert [it.title for it in store_of(repo).issues()] == ["Mine", "One", "Two"]


def test_a_text_that_somebody_changed_counts_as_something_else(repo: Path, file: Path) -> None:
    imported(repo, file)
    store = store_of(repo)
    store.edit("1", body=store.show("1").body.replace("do it", "do it well"))
    assert 'as they are: 1 "First" (#1 "First")' in " ".join(moved(repo, file).notices)


def test_a_copy_that_differs_is_not_closed(repo: Path, tmp_path: Path) -> None:
    path = backlog_at(tmp_path / "issues.json", {"number": 1, "title": "One"})
    imported(repo, path)
    backlog_at(path, {"number": 1, "title": "Another", "state": "CLOSED"})
    moved(repo, path, everything=True)
    assert store_of(repo).show("1").state is IssueState.OPEN


def test_marks_of_older_versions_are_understood_where_the_title_is_the_same(repo: Path, tmp_path: Path) -> None:
    store = store_of(repo)
    store.add("One", body="b\n\n<!-- luminaguard: copy of issues.json#1 -->")
    store.add("Two", body="b\n\n<!-- luminaguard: copy of issues.json#2 -->")
    path = backlog_at(tmp_path / "issues.json", {"number": 1, "title": "One"}, {"number": 2, "title": "Another"})
    assert imported(repo, path) == ("3",)
    assert imported(repo, path) == ()


def test_what_was_exported_and_comes_back_is_there(repo: Path, tmp_path: Path) -> None:
    store = store_of(repo)
    store.add("One", body="text")
    export(repo, tmp_path / "backup.json")
    store.edit("1", title="One, but better")
    store.add("Two")
    back = moved(repo, tmp_path / "backup.json")
    assert (back.ids, back.added) == ({"1": "1"}, ())
    assert 'stay as they are: 1 "One" (#1 "One, but better")' in back.notices[0]
    assert store.show("1").body == "text"


def test_what_came_here_twice_by_two_ways_is_one_issue(repo: Path, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "-q", str(repo), str(other)], check=True)
    imported(repo, file)
    export(repo, tmp_path / "out.json")
    assert imported(other, tmp_path / "out.json") == ("1", "2")
    assert imported(other, file) == ()


def test_a_mark_is_put_once_and_those_of_other_places_stay() -> None:
    one, newer, other = Mark(of="a#1"), Mark(of="a#1", at="0123456789ab"), Mark(of="b#2")
    assert marked(marked(marked("text", one), other), newer) == f"text\n\n{other}\n{newer}"
    assert marks_in(marked(marked("text", other), newer)) == (other, newer)
    assert marks_in("text") == ()


def test_words_around_a_mark_stay_apart() -> None:
    assert marked(f"before\n\n{Mark(of='a#1')}\nafter", Mark(of="a#1")) == f"before\n\nafter\n\n{Mark(of='a#1')}"


def test_names_with_signs_of_a_mark_are_read_as_written() -> None:
    for name in ("a#b.json", "two words.json", "at 0123456789ab.json", "-- .json"):
        mark = Place(name=name, where="/somewhere").mark(IssueId("x#1"))
        assert marks_in(marked("text", mark)) == (mark,)
