"""Issues copied from a forge and back: over real HTTP, to the driver of GitHub."""

from pathlib import Path

import anyio
import pytest
from face_ground import Running
from run_ground import cloned, set_up

from luminaguard.app.project import open_project
from luminaguard.app.transfer import Moved, export_to, import_from
from luminaguard.forges.store import TrackerStore
from luminaguard.model.ids import IssueId
from luminaguard.model.issue import IssueState


@pytest.fixture
def forge(running: Running) -> TrackerStore:
    """What stands behind the forge: two issues, the second of which waits for the first."""
    store = TrackerStore(running.folder / ".git/luminaguard/tracker.db")
    store.add("One", body="text", labels=("ready",))
    store.add("Two", needs=(IssueId("1"),))
    return store


@pytest.fixture
def clone(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GITHUB_TOKEN", running.token)
    return cloned(running, tmp_path)


def exported(clone: Path, where: str = "local", *, everything: bool = False) -> Moved:
    async def run() -> Moved:
        return await export_to(open_project(clone), where, everything=everything)

    return anyio.run(run)


def imported(clone: Path, where: str = "local", *, everything: bool = False) -> Moved:
    async def run() -> Moved:
        return await import_from(open_project(clone), where, everything=everything)

    return anyio.run(run)


def here(clone: Path) -> TrackerStore:
    return TrackerStore(clone / ".git/luminaguard/tracker.db")


def test_a_copy_that_comes_back_is_the_issue_that_it_was_made_of(clone: Path, forge: TrackerStore) -> None:
    before = forge.issues()
    assert exported(clone).added == ("1", "2")
    here(clone).close("1")
    back = imported(clone, everything=True)
    assert (back.ids, back.added) == ({"1": "1", "2": "2"}, ())
    assert forge.issues() == before


def test_a_new_issue_waits_for_the_one_that_the_copy_was_made_of(clone: Path, forge: TrackerStore) -> None:
    exported(clone)
    here(clone).add("Three", needs=(IssueId("2"),))
    assert imported(clone).added == ("3",)
    assert [it.needs for it in forge.issues()] == [(), ("1",), ("2",)]
    again = exported(clone)
    assert (again.ids, again.added) == ({"1": "1", "2": "2", "3": "3"}, ())


def test_what_the_settings_hide_is_found_all_the_same(clone: Path, running: Running, forge: TrackerStore) -> None:
    exported(clone)
    set_up(clone, running, backlog='labels = ["ready"]')
    assert imported(clone).added == ()
    assert len(forge.issues()) == 2


def test_a_copy_of_what_is_gone_is_copied(clone: Path, running: Running) -> None:
    here(clone).add("Lost", body="b\n\n<!-- luminaguard: copy of github ann/demo#7 -->")
    assert imported(clone).added == ("1",)
    assert imported(clone).added == ()


def test_a_mark_of_an_older_version_leads_back(clone: Path, forge: TrackerStore) -> None:
    here(clone).add("One", body="text\n\n<!-- luminaguard: copy of github ann/demo#1 -->")
    assert imported(clone).ids == {"1": "1"}
    assert len(forge.issues()) == 2


def test_a_file_that_was_exported_comes_back_to_its_forge(clone: Path, tmp_path: Path, forge: TrackerStore) -> None:
    path = str(tmp_path / "x.json")
    forge.close("1")
    exported(clone, path, everything=True)
    forge.reopen("1")
    assert imported(clone, path, everything=True).added == ()
    assert [it.state for it in forge.issues()] == [IssueState.OPEN] * 2
