"""The session's side of the gateway, on a real ledger and a real journal: budgets, limits, pauses, words, questions."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from luminaguard.engine.base import Policy
from luminaguard.engine.book import Book
from luminaguard.engine.doorway import Doorway
from luminaguard.engine.slots import Movement
from luminaguard.gateway.base import Budget, Pass
from luminaguard.gateway.ledger import SqliteLedger
from luminaguard.journal.sqlite import SqliteJournal
from luminaguard.model.facts import RUN
from luminaguard.model.ids import IssueId, Json, RunId

RUN_ID, ISSUE = RunId("r1"), IssueId("154")


@dataclass(slots=True, kw_only=True)
class Ground:
    """A run's journal and ledger. `now` is the time that the doorway is told."""

    folder: Path
    journal: SqliteJournal
    ledger: SqliteLedger
    now: float = 1000.0

    def tell(self, subject: str, kind: str, data: dict[str, Json]) -> None:
        self.journal.add_now(RUN_ID, subject, kind, data)

    def doorway(self, *, has_ledger: bool = True, **policy: object) -> tuple[Doorway, Book]:
        book = Book(self.journal, RUN_ID)
        made = Doorway(self.ledger if has_ledger else None, policy_of(**policy), book, now=lambda: self.now)
        return made, book

    def write(self, statement: str, *values: object) -> None:
        """Write what the gateway writes, into the same file."""
        with sqlite3.connect(self.folder / "ledger.db") as db:
            db.execute(statement, values)


def policy_of(**given: object) -> Policy:
    values: dict[str, object] = {
        "target": "main",
        "slots": 1,
        "agent": "a",
        "attempts": 3,
        "minutes_per_issue": 60.0,
        "style": "squash",
        "human": False,
        "checks": (),
        "trusted": lambda _author, _association: True,
    }
    make: Callable[..., Policy] = Policy
    return make(**{**values, **given})


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    with SqliteJournal(tmp_path / "journal.db") as journal, SqliteLedger(tmp_path / "ledger.db") as ledger:
        yield Ground(folder=tmp_path, journal=journal, ledger=ledger)


def spend(ground: Ground, *, attempt: int, usd: float, tokens: int = 10) -> None:
    ground.ledger.key_for(Pass(run=RUN_ID, issue=ISSUE, attempt=attempt))
    ground.write(
        "update holder set calls = calls + 1, input = input + ?, usd = usd + ? where run = ? and attempt = ?",
        *(tokens, usd, RUN_ID, attempt),
    )


def test_a_spent_budget_says_which_how_much_on_what_and_what_to_type(ground: Ground) -> None:
    doorway, _ = ground.doorway(budget=Budget(usd_per_issue=5.0))
    assert doorway.stop(ISSUE) is None
    spend(ground, attempt=1, usd=3.0)
    assert doorway.stop(ISSUE) is None
    spend(ground, attempt=2, usd=2.5)
    stop = doorway.stop(ISSUE)
    assert stop is not None
    assert stop.why == "budget spent: usd_per_issue: 5.50 of 5.00 USD spent (attempt 1: 3.00, attempt 2: 2.50)"
    assert stop.how == "luminaguard retry 154, then, with more to spend: luminaguard run --usd-per-issue 10"
    assert stop.group == "budget"


def test_a_larger_budget_of_a_later_session_lets_it_go_on(ground: Ground) -> None:
    spend(ground, attempt=1, usd=5.0)
    assert ground.doorway(budget=Budget(usd_per_issue=5.0))[0].stop(ISSUE) is not None
    assert ground.doorway(budget=Budget(usd_per_issue=10.0))[0].stop(ISSUE) is None


def test_minutes_count_what_agents_worked_on_the_issue_in_all_attempts(ground: Ground) -> None:
    ground.tell(ISSUE, "agent:1", {"seconds": 90.0})
    ground.tell(ISSUE, "agent:2", {"seconds": 60.0})
    doorway, _ = ground.doorway(has_ledger=False, minutes_per_issue=2.5)
    stop = doorway.stop(ISSUE)
    assert stop is not None
    assert "minutes_per_issue: 2.5 of 2.5 minutes worked (attempt 1: 1.5, attempt 2: 1.0)" in stop.why
    assert doorway.stop(IssueId("155")) is None


def test_the_minutes_of_a_run_count_from_the_sessions_start(ground: Ground) -> None:
    doorway, _ = ground.doorway(has_ledger=False, minutes_per_run=10.0)
    ground.now += 9 * 60
    assert doorway.stop(ISSUE) is None
    ground.now += 60
    stop = doorway.stop(ISSUE)
    assert stop is not None
    assert stop.how.endswith("luminaguard run --minutes-per-run 20")


def test_what_an_attempt_cost_is_said_as_facts_say_it(ground: Ground) -> None:
    doorway, _ = ground.doorway()
    assert doorway.spent(ISSUE, 1, "work") == {}
    spend(ground, attempt=1, usd=0.25, tokens=1000)
    assert doorway.spent(ISSUE, 1, "work") == {"input_tokens": 1000, "output_tokens": 0, "usd": 0.25}
    assert doorway.spent(ISSUE, 1, "review") == {}


@pytest.mark.anyio
async def test_a_providers_limit_is_written_down_and_waited_for(ground: Ground) -> None:
    doorway, book = ground.doorway()
    ground.write(
        "insert into limited (run, provider, since, until, why) values (?, 'p', 990.0, 1500.0, 'slow down')", RUN_ID
    )
    await doorway.take_in()
    await doorway.take_in()
    assert [fact.data["why"] for fact in book.all(RUN, "limited")] == ["slow down"]
    assert doorway.limited_until() == 1500.0
    assert doorway.was_limited(1499.0)
    assert not doorway.was_limited(1501.0)
    movement = Movement()
    with movement.moving(), anyio.move_on_after(0.05) as waited:
        await doorway.until_open(movement)
    assert waited.cancelled_caught
    ground.now = 1500.0
    with movement.moving(), anyio.fail_after(60):
        await doorway.until_open(movement)


@pytest.mark.anyio
async def test_a_persons_pause_parks_whoever_would_start_until_they_resume(ground: Ground) -> None:
    doorway, book = ground.doorway(has_ledger=False)
    movement, opened = Movement(), anyio.Event()
    ground.tell(RUN, "paused:1", {"by": "me"})
    book.take_in()

    async def start() -> None:
        with movement.moving():
            await doorway.until_open(movement)
            opened.set()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(start)
            await movement.all_still()
            assert not opened.is_set()
            ground.tell(RUN, "resumed:1", {"by": "me"})
            book.take_in()
            await opened.wait()


@pytest.mark.anyio
async def test_what_a_person_says_reaches_the_ledger_also_when_nobody_was_at_work(ground: Ground) -> None:
    ground.tell(ISSUE, "said:1", {"text": "use the old name"})
    _, book = ground.doorway()
    said = ground.folder / "ledger.db"
    with sqlite3.connect(said) as db:
        assert db.execute("select number, text from words").fetchall() == [(1, "use the old name")]
    doorway, book = ground.doorway()
    ground.tell(ISSUE, "said:2", {"text": "and test it"})
    book.take_in()
    doorway.told(book.all(ISSUE, "said")[1])
    with sqlite3.connect(said) as db:
        assert [row[0] for row in db.execute("select number from words order by number")] == [1, 2]


@pytest.mark.anyio
async def test_a_question_becomes_a_fact_once_and_its_answer_goes_back(ground: Ground) -> None:
    doorway, book = ground.doorway()
    ground.ledger.key_for(Pass(run=RUN_ID, issue=ISSUE, attempt=1))
    ground.write(
        "insert into question (run, issue, attempt, what, wanted_until) values (?, ?, 1, 'run rm', 1e12)",
        *(RUN_ID, ISSUE),
    )
    await doorway.take_in()
    await doorway.take_in()
    (asked,) = book.all(ISSUE, "asked")
    assert (asked.data["what"], asked.data["attempt"]) == ("run rm", 1)
    ground.tell(ISSUE, f"answered:{asked.number}", {"ok": True, "by": "me"})
    book.take_in()
    doorway.told(book.all(ISSUE, "answered")[0])
    assert ground.ledger.questions(RUN_ID) == []
    with sqlite3.connect(ground.folder / "ledger.db") as db:
        assert db.execute("select answer from question").fetchall() == [(1,)]
