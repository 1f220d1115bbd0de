"""The journal: facts for good, from several processes, whatever happens to the file."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luminaguard.journal.sqlite import VERSION, SqliteJournal
from luminaguard.model.facts import Fact
from luminaguard.model.faults import HostFault
from luminaguard.model.ids import Json, RunId

RUN_ID, OTHER = RunId("r1"), RunId("r2")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    with SqliteJournal(path) as opened:
        yield opened


def test_first_fact_of_a_kind_wins(journal: SqliteJournal) -> None:
    first = journal.add_now(RUN_ID, "1", "landed", {"commit": "a"})
    assert journal.add_now(RUN_ID, "1", "landed", {"commit": "b"}) == first
    assert journal.facts(RUN_ID) == (first,)


def test_same_kind_of_another_subject_or_run_is_another_fact(journal: SqliteJournal) -> None:
    for run, subject in ((RUN_ID, "1"), (RUN_ID, "2"), (OTHER, "1")):
        journal.add_now(run, subject, "ready", {})
    assert [fact.subject for fact in journal.facts(RUN_ID)] == ["1", "2"]
    assert [fact.subject for fact in journal.facts(OTHER)] == ["1"]


def test_runs_come_oldest_first(journal: SqliteJournal) -> None:
    for run in (RunId("z"), RunId("a"), RunId("z")):
        journal.add_now(run, "1", f"ready:{run}", {})
    assert journal.runs() == ("z", "a")


def test_facts_come_in_order_of_seq_and_only_after_the_one_asked_for(journal: SqliteJournal) -> None:
    added = [journal.add_now(RUN_ID, "1", f"attempt:{n}", {}) for n in range(5)]
    assert [fact.seq for fact in added] == sorted(fact.seq for fact in added)
    assert journal.facts(RUN_ID, after=added[2].seq) == tuple(added[3:])


def test_facts_are_there_when_the_file_is_opened_again(path: Path) -> None:
    with SqliteJournal(path) as journal:
        fact = journal.add_now(RUN_ID, "1", "landed", {"commit": "a"})
    with SqliteJournal(path) as journal:
        assert journal.facts(RUN_ID) == (fact,)


@pytest.mark.parametrize("deed", ["update fact set kind = 'x'", "delete from fact"])
def test_fact_cannot_be_changed_or_removed(journal: SqliteJournal, path: Path, deed: str) -> None:
    journal.add_now(RUN_ID, "1", "landed", {})
    with sqlite3.connect(path) as db, pytest.raises(sqlite3.IntegrityError, match="a fact is never"):
        db.execute(deed)
    db.close()
    assert len(journal.facts(RUN_ID)) == 1


JSON: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(data=st.dictionaries(st.text(), JSON, max_size=4))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_data_comes_back_as_it_went_in(journal: SqliteJournal, data: dict[str, Json]) -> None:
    kind = f"agent:{len(journal.facts(RUN_ID))}"
    journal.add_now(RUN_ID, "1", kind, data)
    assert journal.facts(RUN_ID)[-1].data == data


def test_name_of_a_file_that_is_no_utf8_comes_back(journal: SqliteJournal) -> None:
    name = os.fsdecode(b"caf\xe9.py")
    journal.add_now(RUN_ID, "1", "agent:1", {"files": [{"path": name}]})
    assert journal.facts(RUN_ID)[0].data == {"files": [{"path": name}]}


def test_subject_that_cannot_be_written_fails_alone(journal: SqliteJournal) -> None:
    broken: list[str] = []

    async def add(subject: str) -> None:
        try:
            await journal.add(RUN_ID, subject, "ready", {})
        except UnicodeEncodeError:
            broken.append(subject)

    async def many() -> None:
        async with anyio.create_task_group() as group:
            for subject in ("1", "\udcff", "2"):
                group.start_soon(add, subject)

    anyio.run(many)
    assert broken == ["\udcff"]
    assert [fact.subject for fact in journal.facts(RUN_ID)] == ["1", "2"]


def test_facts_that_wait_together_share_commits(journal: SqliteJournal) -> None:
    commits: list[str] = []
    journal._db.set_trace_callback(lambda statement: commits.append(statement) if statement == "commit" else None)
    added: list[Fact] = []

    async def add(number: int) -> None:
        added.append(await journal.add(RUN_ID, str(number), "ready", {}))

    async def many() -> None:
        async with anyio.create_task_group() as group:
            for number in range(200):
                group.start_soon(add, number)

    anyio.run(many)
    assert {fact.subject for fact in added} == {str(number) for number in range(200)}
    assert len(journal.facts(RUN_ID)) == 200
    assert len(commits) < 10


def test_the_same_fact_added_twice_at_once_is_one(journal: SqliteJournal) -> None:
    added: list[Fact] = []

    async def add(number: int) -> None:
        added.append(await journal.add(RUN_ID, "1", "landed", {"by": number}))

    async def many() -> None:
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(add, number)

    anyio.run(many)
    assert len(set(map(id, added))) == 20
    assert len({fact.seq for fact in added}) == 1


WRITER = """
import sys
from pathlib import Path
from luminaguard.journal.sqlite import SqliteJournal
with SqliteJournal(Path(sys.argv[1])) as journal:
    for number in range(100):
        fact = journal.add_now("r1", str(number), "landed", {"by": sys.argv[2]})
        print(number, fact.seq, fact.data["by"])
"""


def test_two_processes_agree_on_who_was_first(path: Path) -> None:
    # Both make the file, too: neither is there first for sure.
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name], stdout=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    told = [writer.communicate(timeout=120)[0].splitlines() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert told[0] == told[1]
    with SqliteJournal(path) as journal:
        assert len(journal.facts(RUN_ID)) == 100


def test_cancelled_add_neither_blocks_nor_breaks_the_others(journal: SqliteJournal) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(journal.add, RUN_ID, f"gone-{number}", "ready", {})
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        with anyio.fail_after(60):
            await journal.add(RUN_ID, "stays", "ready", {})

    anyio.run(main)
    facts = journal.facts(RUN_ID)
    assert "stays" in [fact.subject for fact in facts]
    assert len({fact.subject for fact in facts}) == len(facts)


def test_full_disk_is_told_to_everybody_who_waits(journal: SqliteJournal) -> None:
    journal.add_now(RUN_ID, "1", "ready", {})
    pages = journal._db.execute("pragma page_count").fetchone()[0]
    journal._db.execute(f"pragma max_page_count={pages}")
    told: list[HostFault] = []

    async def add(number: int) -> None:
        try:
            await journal.add(RUN_ID, str(number), "agent:1", {"log": "x" * 100_000})
        except HostFault as fault:
            told.append(fault)

    async def main() -> None:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                for number in range(5):
                    group.start_soon(add, number)

    anyio.run(main)
    assert len(told) == 5
    assert all("full" in fault.message and fault.hint for fault in told)
    journal._db.execute("pragma max_page_count=1000000")
    journal.add_now(RUN_ID, "after", "ready", {})
    assert [fact.subject for fact in journal.facts(RUN_ID)] == ["1", "after"]


@pytest.mark.parametrize(
    "content", [b"this is no database at all, not by far" * 100, b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_broken_file_is_the_hosts_fault_and_is_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(HostFault, match=r"cannot open the journal .*journal\.db") as caught:
        SqliteJournal(path)
    assert caught.value.hint
    assert path.read_bytes() == content


def test_newer_version_is_refused(path: Path) -> None:
    SqliteJournal(path).__exit__()
    db = sqlite3.connect(path)
    db.execute(f"pragma user_version={VERSION + 1}")
    db.close()
    with pytest.raises(HostFault, match=rf"version {VERSION + 1}") as caught:
        SqliteJournal(path)
    assert caught.value.hint == "upgrade luminaguard"


@pytest.mark.parametrize("folder", ["/proc", "/dev/null"])
def test_folder_that_cannot_be_written_is_the_hosts_fault(folder: str) -> None:
    with pytest.raises(HostFault, match="cannot open the journal"):
        SqliteJournal(Path(folder) / "luminaguard" / "journal.db")


def test_failed_opening_leaves_no_descriptor(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(HostFault):
        SqliteJournal(path)
    # Of this folder alone: what other tests left to the garbage collector goes when it likes.
    held = [os.path.realpath(fd) for fd in Path("/proc/self/fd").iterdir()]
    assert [name for name in held if Path(name).is_relative_to(path.parent)] == []
