import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from luminaguard.forges import schema
from luminaguard.forges.base import PullDraft
from luminaguard.forges.local import LocalTracker
from luminaguard.forges.records import Snapshots
from luminaguard.forges.store import TrackerStore
from luminaguard.forges.talk import Talk
from luminaguard.model.faults import HostFault, UserFault
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import IssueState, Kind


@pytest.fixture
def store(tmp_path: Path) -> TrackerStore:
    return TrackerStore(tmp_path / "luminaguard" / "tracker.db", who="ann", clock=lambda: 1000.0)


def draft(branch: str, issue: str = "1") -> PullDraft:
    return PullDraft(branch=branch, head=Oid("a" * 40), target="main", issue=IssueId(issue), title="t", body="b")


def test_what_was_added_is_read_again(store: TrackerStore) -> None:
    made = store.add(
        " Two\nlines ",
        body="b",
        labels=("x",),
        needs=(IssueId("#7"),),
        kind=Kind.BUG,
        priority=0,
        estimate_s=60.0,
        touches=("a.py",),
        parent=IssueId("3"),
        author="ann",
    )
    assert TrackerStore(store.path).show("#1") == made
    assert (made.title, made.needs, made.state) == ("Two lines", ("7",), IssueState.OPEN)


def test_issues_and_pulls_share_one_sequence(store: TrackerStore) -> None:
    assert store.add("a").id == "1"
    assert store.open_pull(draft("x")).id == "2"
    assert store.add("b", id="154").id == "154"
    assert store.add("c", id="BACK-3").id == "BACK-3"
    assert store.open_pull(draft("y")).id == "155"
    assert store.add("d").id == "156"


def test_id_that_is_taken_is_the_users_fault(store: TrackerStore) -> None:
    store.add("a")
    store.open_pull(draft("x"))
    with pytest.raises(UserFault, match="issue 1 is there already"):
        store.add("b", id="1")
    with pytest.raises(UserFault, match="2 is the number of a pull request"):
        store.add("b", id="#2")


@pytest.mark.parametrize("wrong", ["", "a b", "-x", "a\nb", "a\x1b[0m", "x" * 200])
def test_id_that_cannot_be_one_is_the_users_fault(store: TrackerStore, wrong: str) -> None:
    with pytest.raises(UserFault, match="cannot be an issue's id"):
        store.add("b", id=wrong)


def test_edit_changes_what_is_said_and_leaves_the_rest(store: TrackerStore) -> None:
    store.add("a", body="b", kind=Kind.BUG, labels=("x",))
    edited = store.edit("1", title="A", kind=None)
    assert store.show("1") == edited
    assert (edited.title, edited.body, edited.kind, edited.labels) == ("A", "b", None, ("x",))


@pytest.mark.parametrize(
    ("key", "value"), [("priority", 5), ("estimate_s", 0.0), ("body", "\ud800"), ("body", "\0"), ("title", " ")]
)
def test_value_that_cannot_be_is_the_users_fault(store: TrackerStore, key: str, value: object) -> None:
    store.add("a")
    with pytest.raises(UserFault, match=key.removesuffix("_s")):
        store.edit("1", **{key: value})  # type: ignore[arg-type]


def test_every_change_is_an_event_and_a_refused_one_is_none(store: TrackerStore) -> None:
    store.add("a")
    store.edit("1", priority=1)
    store.edit("1", priority=1)
    store.close("1", comment="done")
    store.close("1", comment="done")
    store.reopen("1")
    store.comment("1", "hm", author="bob")
    with pytest.raises(UserFault):
        store.comment("1", "\0")
    pull = store.open_pull(draft("x"))
    store.open_pull(draft("x"))
    store.mark_merged(pull.id, commit=Oid("c" * 40))
    store.mark_merged(pull.id, commit=Oid("c" * 40))
    assert [event.what for event in store.events("1")] == ["added", "edited", "closed", "reopened", "commented"]
    assert [event.what for event in store.events("pull:2")] == ["opened", "merged"]
    assert {(event.who, event.time) for event in store.events()} == {("ann", 1000.0)}
    assert [(one.author, one.text) for one in store.comments("1")] == [("ann", "done"), ("bob", "hm")]


@pytest.mark.parametrize("statement", ["DELETE FROM event", "UPDATE event SET who = 'eve'"])
def test_events_are_never_changed(store: TrackerStore, statement: str) -> None:
    store.add("a")
    with (
        closing(sqlite3.connect(store.path)) as connection,
        pytest.raises(sqlite3.IntegrityError, match="events are never"),
    ):
        connection.execute(statement)


def test_file_is_in_wal_mode_and_waits_for_the_disk(store: TrackerStore) -> None:
    store.add("a")
    with closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    with store._database.reading() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_change_that_fails_half_way_leaves_nothing(store: TrackerStore) -> None:
    store.add("a")
    with pytest.raises(KeyError), store._database.writing() as connection:
        raise KeyError(connection.execute("UPDATE issue SET state = 'closed'").rowcount)
    assert store.show("1").state is IssueState.OPEN


def test_change_outlives_a_kill(store: TrackerStore) -> None:
    script = (
        "import os, sys; from pathlib import Path; from luminaguard.forges.store import TrackerStore;"
        "TrackerStore(Path(sys.argv[1])).add('a'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script, store.path], check=False).returncode == -9
    assert [issue.title for issue in store.issues()] == ["a"]


def test_processes_that_make_the_file_at_once_all_succeed(store: TrackerStore) -> None:
    script = (
        "import sys; from pathlib import Path; from luminaguard.forges.store import TrackerStore; print(flush=True);"
        "sys.stdin.read(); TrackerStore(Path(sys.argv[1])).add('a')"
    )
    argv, pipe = [sys.executable, "-c", script, str(store.path)], subprocess.PIPE
    workers = [subprocess.Popen(argv, stdin=pipe, stdout=pipe) for _ in range(6)]
    all_begin(workers)
    assert [worker.returncode for worker in workers] == [0] * 6
    assert sorted(issue.id for issue in store.issues()) == ["1", "2", "3", "4", "5", "6"]


def all_begin(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait for a line of each, close the inputs of all, and wait for their ends."""
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.close()
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.close()
        worker.wait(timeout=240)


def test_threads_that_make_the_file_at_once_all_succeed(tmp_path: Path) -> None:
    for number in range(20):
        start = Barrier(6)

        def add(_: int, path: Path = tmp_path / f"{number}.db", start: Barrier = start) -> str:
            start.wait(timeout=240)
            return TrackerStore(path).add("a").id

        with ThreadPoolExecutor(6) as pool:
            assert sorted(pool.map(add, range(6))) == ["1", "2", "3", "4", "5", "6"]


def test_file_that_is_no_database_is_told(store: TrackerStore) -> None:
    store.path.parent.mkdir()
    store.path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(HostFault, match=r"tracker\.db cannot be used") as caught:
        store.issues()
    assert "move it away" in caught.value.hint
    assert "tracker.db" in (LocalTracker(store).missing() or "")


def test_damaged_database_is_told(store: TrackerStore) -> None:
    for number in range(200):
        store.add(f"issue {number}", body="x" * 500)
    with store._database.reading() as connection:
        connection.execute("SELECT 1")
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = store.path.stat().st_size
    with store.path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    with pytest.raises(HostFault, match=r"tracker\.db"):
        TrackerStore(store.path).issues()


def test_newer_database_is_told_and_left_alone(store: TrackerStore) -> None:
    store.path.parent.mkdir()
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = store.path.read_bytes()
    with pytest.raises(UserFault, match="newer luminaguard") as caught:
        store.issues()
    assert caught.value.hint == "upgrade luminaguard"
    assert store.path.read_bytes() == before


def test_database_of_another_program_is_told_and_left_alone(store: TrackerStore) -> None:
    store.path.parent.mkdir()
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    before = store.path.read_bytes()
    with pytest.raises(UserFault, match="another program"):
        store.issues()
    assert store.path.read_bytes() == before


def test_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostFault, match=r"tracker\.db cannot be used"):
        TrackerStore(tmp_path / "file" / "tracker.db").issues()


def test_tables_of_the_first_version_are_brought_up_and_keep_what_they_hold(store: TrackerStore) -> None:
    store.path.parent.mkdir()
    with closing(sqlite3.connect(store.path)) as connection:
        connection.executescript(schema._FIRST)
        connection.executescript(
            "PRAGMA user_version = 1;"
            """INSERT INTO issue (id, number, position, state, document) VALUES
               ('BACK-3', NULL, 0, 'open', '{"title": "a", "labels": [], "needs": [], "blocks": [], "touches": [],
                "kind": null}');"""
            "INSERT INTO comment (issue, time, author, text) VALUES ('BACK-3', 5, 'bob', 'hm');"
            "INSERT INTO pull VALUES (1, 'b', 'h', 'main', 'BACK-3', 't', 'x', NULL);"
        )
    assert [(one.author, one.text, one.time) for one in store.comments("BACK-3")] == [("bob", "hm", 5.0)]
    assert [(pull.branch, pull.is_draft) for pull in store.pulls()] == [("b", False)]
    seen = Snapshots(store).now()
    assert dict(seen.numbers) == {"BACK-3": 1_000_000}
    assert seen.pulls[1].is_open


def test_snapshot_is_read_again_only_after_a_change(store: TrackerStore) -> None:
    store.add("a")
    store.add("b", needs=(IssueId("1"), IssueId("gone")), parent=IssueId("1"))
    snapshots = Snapshots(store)
    seen = snapshots.now()
    assert snapshots.now() is seen
    assert (dict(seen.blocked_by), dict(seen.blocking), dict(seen.children)) == ({2: (1,)}, {1: (2,)}, {1: (2,)})
    TrackerStore(store.path).close("1", reason="not_planned")
    turn = snapshots.now().issues[1].turn
    assert turn is not None
    assert (turn.what, turn.reason) == ("closed", "not_planned")


def test_pull_that_was_closed_is_opened_again_by_its_draft(store: TrackerStore) -> None:
    store.add("a")
    pull = store.open_pull(draft("x"))
    Talk(store).turn_pull(int(pull.id), is_closed=True, who="ann")
    assert not Snapshots(store).now().pulls[2].is_open
    assert store.open_pull(draft("x")).id == pull.id
    assert Snapshots(store).now().pulls[2].is_open


def test_labels_that_a_person_put_on_a_pull_stay(store: TrackerStore) -> None:
    store.add("a")
    pull = store.open_pull(draft("x"))
    Talk(store).edit_pull(int(pull.id), who="ann", labels=("hot",))
    store.open_pull(replace(draft("x"), labels=("ours",)))
    assert Snapshots(store).now().pulls[2].labels == ("hot", "ours")
