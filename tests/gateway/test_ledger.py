"""The ledger: keys, budgets and their words, words for agents, questions."""

import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
import pytest

from luminaguard.gateway.base import Budget, Pass, Role
from luminaguard.gateway.book import Book, Cost
from luminaguard.gateway.counting import Usage
from luminaguard.gateway.ledger import SqliteLedger
from luminaguard.model.faults import HostFault
from luminaguard.model.ids import IssueId, RunId

RUN = RunId("20261122-000000-abcd")


def holder(issue: str, attempt: int = 1, role: Role = "work") -> Pass:
    return Pass(run=RUN, issue=IssueId(issue), attempt=attempt, role=role)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    with SqliteLedger(path) as made:
        yield made


@pytest.fixture
def book(path: Path, ledger: SqliteLedger) -> Iterator[Book]:
    made = Book(path)
    yield made
    made.close()


def cost(usd: float = 0.0, *, tokens: int = 0, priced: bool = True, estimated: bool = False) -> Cost:
    return Cost(model="m", usage=Usage(input=tokens), usd=usd, priced=priced, estimated=estimated)


def spend(ledger: SqliteLedger, book: Book, who: Pass, usd: float = 0.0, *, tokens: int = 0, ends: bool = True) -> None:
    async def go() -> None:
        known = book.holder_of(ledger.key_for(who))
        assert known is not None
        number = await book.begin(known, provider="p", cost=cost(usd, tokens=tokens))
        if ends:
            await book.end(number, cost(usd, tokens=tokens), status=200)

    anyio.run(go)


def test_a_holder_has_one_key_and_no_two_have_the_same(path: Path, ledger: SqliteLedger) -> None:
    holders = [holder("1"), holder("1", 2), holder("1", 1, "review"), holder("2")]
    keys = [ledger.key_for(one) for one in holders]
    assert len(set(keys)) == 4
    with SqliteLedger(path) as again:
        assert [again.key_for(one) for one in holders] == keys
    assert all(key.startswith("lg-") and len(key) > 30 for key in keys)


def test_the_file_is_for_its_owner_alone(path: Path, ledger: SqliteLedger) -> None:
    ledger.key_for(holder("1"))
    modes = {stat.S_IMODE(found.stat().st_mode) for found in path.parent.iterdir()}
    assert modes == {0o600}


def test_nothing_is_refused_without_a_budget_or_within_it(ledger: SqliteLedger, book: Book) -> None:
    spend(ledger, book, holder("1"), 1.0)
    assert ledger.refusal(RUN, IssueId("1")) is None
    ledger.allow(RUN, Budget(usd_per_issue=1.01, usd_per_run=2.0, tokens_per_issue=10, tokens_per_run=10))
    assert ledger.refusal(RUN, IssueId("1")) is None


def test_a_refusal_says_which_budget_how_much_and_on_what(ledger: SqliteLedger, book: Book) -> None:
    spend(ledger, book, holder("1"), 3.10)
    spend(ledger, book, holder("1", 2), 1.80)
    spend(ledger, book, holder("1", 1, "review"), 0.12)
    spend(ledger, book, holder("2"), 0.0, tokens=1_200_345)
    ledger.allow(RUN, Budget(usd_per_issue=5.0))
    assert ledger.refusal(RUN, IssueId("1")) == (
        "usd_per_issue: 5.02 of 5.00 USD spent (attempt 1: 3.10, attempt 2: 1.80, review 1: 0.12)"
    )
    assert ledger.refusal(RUN, IssueId("2")) is None
    ledger.allow(RUN, Budget(usd_per_run=5.0))
    assert ledger.refusal(RUN, IssueId("3")) == "usd_per_run: 5.02 of 5.00 USD spent (issue 1: 5.02)"
    ledger.allow(RUN, Budget(tokens_per_issue=1_000_000))
    assert ledger.refusal(RUN, IssueId("2")) == (
        "tokens_per_issue: 1,200,345 of 1,000,000 tokens spent (attempt 1: 1,200,345)"
    )
    ledger.allow(RUN, Budget(tokens_per_run=1_200_346))
    assert ledger.refusal(RUN, IssueId("2")) is None


def test_a_budget_of_nothing_is_spent_at_once_and_cents_add_up(ledger: SqliteLedger, book: Book) -> None:
    ledger.allow(RUN, Budget(usd_per_issue=0.0))
    assert ledger.refusal(RUN, IssueId("1")) == "usd_per_issue: 0.00 of 0.00 USD spent"
    for _ in range(10):
        spend(ledger, book, holder("1"), 0.1)
    ledger.allow(RUN, Budget(usd_per_issue=1.0))
    assert ledger.refusal(RUN, IssueId("1")) is not None


def test_calls_under_way_count_as_far_as_they_are_known(ledger: SqliteLedger, book: Book) -> None:
    spend(ledger, book, holder("1"), 0.5, tokens=100, ends=False)
    ledger.allow(RUN, Budget(usd_per_issue=0.5))
    assert ledger.refusal(RUN, IssueId("1")) is not None
    assert ledger.spent(RUN)[holder("1")].calls == 1


def test_many_issues_are_told_in_short(ledger: SqliteLedger, book: Book) -> None:
    for number in range(12):
        spend(ledger, book, holder(str(number)), number + 1.0)
    ledger.allow(RUN, Budget(usd_per_run=1.0))
    said = ledger.refusal(RUN, IssueId("x")) or ""
    assert said.startswith("usd_per_run: 78.00 of 1.00 USD spent (issue 11: 12.00, issue 10: 11.00")
    assert said.endswith(", 4 more)")


def test_a_call_that_ends_twice_counts_once_as_it_ended_last(ledger: SqliteLedger, book: Book) -> None:
    async def go() -> None:
        known = book.holder_of(ledger.key_for(holder("1")))
        assert known is not None
        number = await book.begin(known, provider="p", cost=cost(9.0, tokens=9))
        await book.end(number, cost(1.0, tokens=10, estimated=True), status=200)
        await book.end(number, cost(2.0, tokens=20), status=200)

    anyio.run(go)
    spent = ledger.spent(RUN)[holder("1")]
    assert (spent.calls, spent.input_tokens, spent.usd) == (1, 20, 2.0)
    assert ledger.notes(RUN) == []


def test_many_endings_at_once_are_all_written(ledger: SqliteLedger, book: Book) -> None:
    async def one() -> None:
        known = book.holder_of(ledger.key_for(holder("1")))
        assert known is not None
        number = await book.begin(known, provider="p", cost=cost())
        await book.end(number, cost(1.0), status=200)

    async def go() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(one)

    anyio.run(go)
    spent = ledger.spent(RUN)[holder("1")]
    assert (spent.calls, spent.usd) == (50, 50.0)


def test_words_stand_once_and_are_heard_in_order(ledger: SqliteLedger, book: Book) -> None:
    who = holder("1")
    ledger.say(RUN, who.issue, number=1, text="first")
    ledger.say(RUN, who.issue, number=1, text="other")
    ledger.say(RUN, who.issue, number=2, text="second")
    assert [(one.number, one.text) for one in book.words(who, after=0)] == [(1, "first"), (2, "second")]
    assert [one.number for one in book.words(who, after=1)] == [2]
    assert ledger.heard(RUN, who.issue) == 0
    anyio.run(book.hear, who, 2)
    anyio.run(book.hear, who, 1)
    assert ledger.heard(RUN, who.issue) == 2


def test_the_first_answer_stands(ledger: SqliteLedger, book: Book) -> None:
    async def ask() -> int | None:
        return await book.ask(holder("1"), "rm -rf build", wanted_s=60)

    number = anyio.run(ask)
    assert number is not None
    assert [(one.id, one.issue, one.what) for one in ledger.questions(RUN)] == [(number, "1", "rm -rf build")]
    ledger.answer(number, ok=False)
    ledger.answer(number, ok=True)
    assert (book.answer_to(number), ledger.questions(RUN)) == (False, [])


def test_a_question_that_nobody_waits_for_is_not_listed(ledger: SqliteLedger, book: Book) -> None:
    async def ask() -> None:
        await book.ask(holder("1"), "gone", wanted_s=-1)

    anyio.run(ask)
    assert ledger.questions(RUN) == []


def test_an_attempt_cannot_ask_without_end(ledger: SqliteLedger, book: Book) -> None:
    async def ask() -> list[int | None]:
        return [await book.ask(holder("1"), "again", wanted_s=60) for _ in range(21)]

    assert anyio.run(ask)[-1] is None


def test_several_processes_may_write_at_once(path: Path, ledger: SqliteLedger) -> None:
    def work(number: int) -> None:
        with SqliteLedger(path) as mine:
            for count in range(20):
                mine.say(RUN, IssueId(str(number)), number=count + 1, text="x")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {ledger.key_for(holder(str(number))) for number in range(4)}


def test_a_file_that_is_no_ledger_is_said(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("not a database, by far not one" * 100)
    with pytest.raises(HostFault, match=r"ledger\.db"):
        SqliteLedger(tmp_path / "ledger.db")


def test_a_newer_ledger_is_not_touched(path: Path, ledger: SqliteLedger) -> None:
    ledger._db.execute("pragma user_version=99")
    with pytest.raises(HostFault, match="version 99"):
        SqliteLedger(path)


CALLS = """
import sys
from pathlib import Path
import anyio
from luminaguard.gateway.book import Book, Cost
from luminaguard.gateway.counting import Usage

async def call(book, key):
    cost = Cost(model="m", usage=Usage(input=70), usd=0.7, priced=True, estimated=False)
    await book.begin(book.holder_of(key), provider="p", cost=cost)

book = Book(Path(sys.argv[1]))
anyio.run(call, book, sys.argv[2])
print("called", flush=True)
sys.stdin.readline()
"""


@contextmanager
def gateway_in_a_call(path: Path, ledger: SqliteLedger) -> Iterator[None]:
    """Another process that holds the ledger and has begun a call; it is killed at the end of the block."""
    argv = (sys.executable, "-c", CALLS, str(path), ledger.key_for(holder("1")))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"called\n"
            yield
        finally:
            process.kill()


def test_calls_of_a_gateway_that_was_killed_are_closed_by_the_next(path: Path, ledger: SqliteLedger) -> None:
    with gateway_in_a_call(path, ledger):
        pass
    book = Book(path)
    try:
        spent = ledger.spent(RUN)[holder("1")]
        assert (spent.calls, spent.input_tokens, spent.usd) == (1, 70, 0.7)
        assert ledger.notes(RUN) == ["1 call did not end as it should: its 0 tokens out are an estimate"]
    finally:
        book.close()


def test_calls_of_a_gateway_that_still_drains_are_left_alone(path: Path, ledger: SqliteLedger) -> None:
    with gateway_in_a_call(path, ledger), closing(Book(path)):
        assert ledger.notes(RUN) == []
