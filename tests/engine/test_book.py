"""A run's facts in memory, level with the journal."""

from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from luminaguard.engine import book as book_module
from luminaguard.engine.book import Book
from luminaguard.journal.sqlite import SqliteJournal
from luminaguard.model.facts import Fact
from luminaguard.model.ids import Json, RunId

RUN_ID = RunId("r1")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    with SqliteJournal(tmp_path / "journal.db") as opened:
        yield opened


def test_step_is_done_once_in_a_run(journal: SqliteJournal) -> None:
    done: list[int] = []

    async def make() -> dict[str, Json]:
        done.append(1)
        return {"n": len(done)}

    async def main() -> tuple[Fact, Fact, Fact]:
        book = Book(journal, RUN_ID)
        first, second = await book.step("1", "review:1", make), await book.step("1", "review:1", make)
        return first, second, await Book(journal, RUN_ID).step("1", "review:1", make)

    first, second, after_a_restart = anyio.run(main)
    assert first == second == after_a_restart
    assert (done, first.data) == ([1], {"n": 1})


def test_step_that_fails_is_not_remembered(journal: SqliteJournal) -> None:
    async def fail() -> dict[str, Json]:
        raise ZeroDivisionError

    async def make() -> dict[str, Json]:
        return {}

    async def main() -> None:
        book = Book(journal, RUN_ID)
        with pytest.raises(ZeroDivisionError):
            await book.step("1", "review:1", fail)
        assert book.get("1", "review:1") is None
        await book.step("1", "review:1", make)

    anyio.run(main)


def test_fact_of_another_process_with_a_lower_seq_than_ours_is_seen(journal: SqliteJournal) -> None:
    async def main() -> list[Fact]:
        book = Book(journal, RUN_ID)
        theirs = journal.add_now(RUN_ID, "1", "cancelled:1", {})
        ours = await book.add("1", "ready", {})
        assert ours.seq > theirs.seq
        assert book.get("1", "cancelled:1") is None
        return book.take_in()

    assert [fact.kind for fact in anyio.run(main)] == ["cancelled:1"]


def test_what_is_taken_in_is_told_once(journal: SqliteJournal) -> None:
    book = Book(journal, RUN_ID)
    journal.add_now(RUN_ID, "1", "approved:1", {})
    assert [fact.kind for fact in book.take_in()] == ["approved:1"]
    assert book.take_in() == []


def test_facts_of_other_runs_are_not_ours(journal: SqliteJournal) -> None:
    journal.add_now(RunId("r0"), "1", "landed", {})
    book = Book(journal, RUN_ID)
    assert book.get("1", "landed") is None
    assert book.subjects() == ()


def test_news_wakes_whoever_waits_for_that_subject_alone(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_module, "LOOK_EVERY_S", 0.001)
    woken: list[str] = []
    told: list[str] = []

    async def main() -> None:
        book = Book(journal, RUN_ID)

        async def wait(subject: str) -> None:
            await book.news(subject)
            woken.append(subject)

        async with anyio.create_task_group() as group:
            for subject in ("1", "1", "2"):
                group.start_soon(wait, subject)
            group.start_soon(book.follow, lambda fact: told.append(fact.kind))
            await anyio.lowlevel.checkpoint()
            journal.add_now(RUN_ID, "1", "approved:1", {})
            with anyio.fail_after(60):
                while len(woken) < 2:
                    await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

    anyio.run(main)
    assert (woken, told) == (["1", "1"], ["approved:1"])


def test_facts_are_listed_by_name_in_order_of_seq(journal: SqliteJournal) -> None:
    async def main() -> Book:
        book = Book(journal, RUN_ID)
        for kind in ("attempt:1", "agent:1", "attempt:2", "agent:10", "attempts:1"):
            await book.add("1", kind, {})
        return book

    book = anyio.run(main)
    assert [fact.kind for fact in book.all("1", "attempt", "agent")] == [
        "attempt:1",
        "agent:1",
        "attempt:2",
        "agent:10",
    ]
    last, nothing = book.last("1", "attempt"), book.last("1", "landed")
    assert last is not None
    assert (last.kind, nothing, len(book.all("1"))) == ("attempt:2", None, 5)
