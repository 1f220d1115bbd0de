"""The ledger as the gateway writes it: calls under way and ended, limits, what agents heard and asked.

A call is written before it goes upstream, without waiting for the disk: that survives the death of the process. What it
cost is written before the answer's last byte goes out, and waits for the disk. What a gateway that was killed left
under way counts as far as it was known; the next one closes it.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from luminaguard.gateway.base import Limited, Pass
from luminaguard.gateway.counting import Usage
from luminaguard.gateway.ledger import refusal_in
from luminaguard.gateway.schema import faults, opened, writing
from luminaguard.model.ids import IssueId, RunId

QUESTIONS_AT_ONCE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who a dummy key belongs to."""

    id: int
    key: str
    who: Pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a call used as far as is known. `estimated`: the provider did not say it all."""

    model: str
    usage: Usage
    usd: float
    priced: bool
    estimated: bool


@dataclass(slots=True, kw_only=True, eq=False)
class _Ending:
    call: int
    cost: Cost
    status: int
    limited: tuple[RunId, Limited] | None = None
    is_written: bool = False
    failed: Exception | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A person's words for an agent."""

    number: int
    text: str


@dataclass(slots=True, kw_only=True)
class _State:
    holders: dict[str, Holder] = field(default_factory=dict)
    endings: list[_Ending] = field(default_factory=list)


class Book:
    """The ledger in the gateway's hands, on its event loop."""

    def __init__(self, path: Path) -> None:
        """Open it, and close the calls of gateways that are no more.

        Raises:
            HostFault: it cannot be opened.
        """
        self._path = path
        self._state = _State()
        self._turn = anyio.Lock()
        self._lives = os.open(path.with_suffix(".lives"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._quick = opened(path, durable=False)
        self._durable = opened(path, durable=True)
        with faults(path):
            with writing(self._durable) as db:
                began = db.execute("insert into gateway (pid, began) values (?, ?)", (os.getpid(), time.time()))
            self._id = int(began.lastrowid or 0)
            # A lock on the byte of our number: whoever can take it knows that we are no more.
            fcntl.lockf(self._lives, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._id)
            self._close_calls_of_the_dead()

    def close(self) -> None:
        """Let go of the file."""
        self._quick.close()
        self._durable.close()
        os.close(self._lives)

    def _close_calls_of_the_dead(self) -> None:
        with writing(self._durable) as db:
            for (gateway,) in db.execute("select distinct gateway from call where ended is null").fetchall():
                if self._is_dead(gateway):
                    db.execute(
                        "update holder set calls = calls + c.n, input = input + c.i, output = output + c.o,"
                        " usd = usd + c.u from (select holder, count(*) n, sum(input) i, sum(output) o, sum(usd) u"
                        " from call where ended is null and gateway = ? group by holder) c where holder.id = c.holder",
                        (gateway,),
                    )
                    db.execute(
                        "update call set ended = ?, status = 0 where ended is null and gateway = ?",
                        (time.time(), gateway),
                    )

    def _is_dead(self, gateway: int) -> bool:
        if gateway == self._id:
            return False
        try:
            fcntl.lockf(self._lives, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, gateway)
        except OSError:
            return False
        fcntl.lockf(self._lives, fcntl.LOCK_UN, 1, gateway)
        return True

    def holder_of(self, key: str) -> Holder | None:
        """Find who holds a dummy key."""
        known = self._state.holders.get(key)
        if known is not None:
            return known
        with faults(self._path):
            found = self._quick.execute(
                "select id, run, issue, attempt, role from holder where key = ?", (key,)
            ).fetchone()
        if found is None:
            return None
        who = Pass(run=RunId(found[1]), issue=IssueId(found[2]), attempt=found[3], role=found[4])
        self._state.holders[key] = Holder(id=found[0], key=key, who=who)
        return self._state.holders[key]

    def refusal(self, who: Pass) -> str | None:
        """Say which budget is spent, calls under way included."""
        with faults(self._path):
            return refusal_in(self._quick, who.run, who.issue)

    async def begin(self, holder: Holder, *, provider: str, cost: Cost) -> int:
        """Write that a call goes upstream, with what it will cost at least; give its number."""
        usage = cost.usage
        async with self._turn:
            with faults(self._path), writing(self._quick) as db:
                made = db.execute(
                    "insert into call (holder, gateway, provider, model, began, input, output, usd, priced)"
                    " values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        *(holder.id, self._id, provider, cost.model, time.time()),
                        *(usage.input, usage.output, cost.usd, int(cost.priced)),
                    ),
                )
        return int(made.lastrowid or 0)

    async def progress(self, known: Sequence[tuple[int, Cost]]) -> None:
        """Write what is known by now of calls under way."""
        rows = [(cost.model, cost.usage.input, cost.usage.output, cost.usd, call) for call, cost in known]
        async with self._turn:
            with faults(self._path), writing(self._quick) as db:
                db.executemany(
                    "update call set model = ?, input = ?, output = ?, usd = ? where id = ? and ended is null", rows
                )

    async def end(self, call: int, cost: Cost, *, status: int, limited: tuple[RunId, Limited] | None = None) -> None:
        """Write what a call has cost, and the limit that it met; it is on the disk when this returns."""
        ending = _Ending(call=call, cost=cost, status=status, limited=limited)
        self._state.endings.append(ending)
        while not ending.is_written:
            async with self._turn:
                if ending not in self._state.endings:
                    break  # whoever had the turn has written it
                # Whoever has the turn writes for all who wait: one wait for the disk instead of many.
                batch, self._state.endings = self._state.endings, []
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(self._end_all, batch)
        if ending.failed is not None:
            raise ending.failed

    def _end_all(self, batch: Sequence[_Ending]) -> None:
        try:
            with faults(self._path), writing(self._durable) as db:
                for ending in batch:
                    _end_one(db, ending)
        except Exception as exc:  # noqa: BLE001 each of the batch is told, and raises it in its own call
            for ending in batch:
                ending.failed = exc
        for ending in batch:
            ending.is_written = True

    def limits_in_force(self, now: float) -> dict[str, Limited]:
        """Read which providers said "not before" a time that is still to come: the latest for each."""
        with faults(self._path):
            rows = self._quick.execute(
                "select provider, since, until, why from limited where until > ? order by until", (now,)
            ).fetchall()
        return {row[0]: Limited(provider=row[0], since=row[1], until=row[2], why=row[3]) for row in rows}

    def changes(self) -> int:
        """Give a number that differs when another process has changed the ledger."""
        with faults(self._path):
            return int(self._quick.execute("pragma data_version").fetchone()[0])

    def words(self, who: Pass, *, after: int) -> list[Words]:
        """Read the words for an issue's agent that come after a number."""
        with faults(self._path):
            rows = self._quick.execute(
                "select number, text from words where run = ? and issue = ? and number > ? order by number",
                (who.run, who.issue, after),
            ).fetchall()
        return [Words(number=row[0], text=row[1]) for row in rows]

    async def hear(self, who: Pass, number: int) -> None:
        """Write that an agent has taken in words up to a number."""
        async with self._turn:
            with faults(self._path), writing(self._quick) as db:
                db.execute(
                    "insert into heard values (?, ?, ?) on conflict (run, issue) do update"
                    " set number = max(number, excluded.number)",
                    (who.run, who.issue, number),
                )

    async def ask(self, who: Pass, what: str, *, wanted_s: float) -> int | None:
        """Write down what an agent asks and give its number; None where it has asked too much already."""
        now = time.time()
        async with self._turn:
            with faults(self._path), writing(self._quick) as db:
                waiting = db.execute(
                    "select count(*) from question where run = ? and issue = ? and attempt = ? and answer is null"
                    " and wanted_until > ?",
                    (who.run, who.issue, who.attempt, now),
                ).fetchone()[0]
                if waiting >= QUESTIONS_AT_ONCE:
                    return None
                made = db.execute(
                    "insert into question (run, issue, attempt, what, wanted_until) values (?, ?, ?, ?, ?)",
                    (who.run, who.issue, who.attempt, what, now + wanted_s),
                )
        return int(made.lastrowid or 0)

    async def still_wanted(self, who: Pass, question: int, *, wanted_s: float) -> bool:
        """Write that an agent goes on waiting for an answer; False where it is not its question."""
        async with self._turn:
            with faults(self._path), writing(self._quick) as db:
                done = db.execute(
                    "update question set wanted_until = max(wanted_until, ?)"
                    " where id = ? and run = ? and issue = ? and attempt = ?",
                    (time.time() + wanted_s, question, who.run, who.issue, who.attempt),
                )
        return done.rowcount == 1

    def answer_to(self, question: int) -> bool | None:
        """Read the answer to a question; None where there is none yet."""
        with faults(self._path):
            found = self._quick.execute("select answer from question where id = ?", (question,)).fetchone()
        return None if found is None or found[0] is None else bool(found[0])


def _end_one(db: sqlite3.Connection, ending: _Ending) -> None:
    """Close a call, or mend the cost of one that was closed; the holder's sums follow."""
    cost, usage = ending.cost, ending.cost.usage
    before = db.execute(
        "select holder, ended is not null, input, output, usd from call where id = ?", (ending.call,)
    ).fetchone()
    holder, was_closed, *counted = before
    old = counted if was_closed else (0, 0, 0.0)
    db.execute(
        "update call set model = ?, ended = ?, status = ?, input = ?, output = ?, usd = ?, priced = ?, estimated = ?"
        " where id = ?",
        (
            *(cost.model, time.time(), ending.status, usage.input, usage.output, cost.usd),
            *(int(cost.priced), int(cost.estimated), ending.call),
        ),
    )
    db.execute(
        "update holder set calls = calls + ?, input = input + ?, output = output + ?, usd = usd + ? where id = ?",
        (0 if was_closed else 1, usage.input - old[0], usage.output - old[1], cost.usd - old[2], holder),
    )
    if ending.limited is not None:
        run, limited = ending.limited
        db.execute(
            "insert into limited (run, provider, since, until, why) values (?, ?, ?, ?, ?)",
            (run, limited.provider, limited.since, limited.until, limited.why),
        )
