"""The ledger in SQLite, as the orchestrator holds it: dummy keys, budgets, what was spent, words and questions.

What the gateway writes into it stands in `book`. Reading is quick, so that it can be asked several times a second: what
ended calls cost is kept as a sum for each holder.
"""

import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from luminaguard.gateway.base import Budget, Limited, Pass, Question, Role, Spent
from luminaguard.gateway.schema import faults, opened, writing
from luminaguard.model.ids import IssueId, RunId

KEY_PREFIX = "lg-"
PARTS_TOLD = 8
SPENT = """
select h.issue, h.attempt, h.role, h.calls + count(c.id), h.input + coalesce(sum(c.input), 0),
    h.output + coalesce(sum(c.output), 0), h.usd + coalesce(sum(c.usd), 0)
from holder h left join call c on c.holder = h.id and c.ended is null
where h.run = ? group by h.id order by h.id
"""
NOTED = """
select c.provider, c.model, c.priced, c.estimated, c.status, count(*), sum(c.input + c.output), sum(c.output)
from call c join holder h on h.id = c.holder
where h.run = ? and c.ended is not null and (c.priced = 0 or c.estimated = 1 or c.status >= 400)
group by c.provider, c.model, c.priced, c.estimated, c.status
"""
Row = tuple[str, int, Role, int, int, int, float]


class SqliteLedger:
    """The ledger of all runs of one repository. Use as a context manager; several processes may hold it."""

    def __init__(self, path: Path) -> None:
        """Open it, made if need be.

        Raises:
            HostFault: the file cannot be opened, is no ledger, or was written by a newer version.
        """
        self._path = path
        self._turn = threading.Lock()
        self._db = opened(path, durable=True)

    def __enter__(self) -> "SqliteLedger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def key_for(self, holder: Pass) -> str:
        """Give the dummy key of an attempt: always the same one for the same holder."""
        names = (holder.run, holder.issue, holder.attempt, holder.role)
        find = "select key from holder where run = ? and issue = ? and attempt = ? and role = ?"
        with self._held() as db:
            found = db.execute(find, names).fetchone()
            if found is None:
                with writing(db):
                    db.execute(
                        "insert or ignore into holder (run, issue, attempt, role, key) values (?, ?, ?, ?, ?)",
                        (*names, KEY_PREFIX + secrets.token_urlsafe(24)),
                    )
                found = db.execute(find, names).fetchone()
        return str(found[0])

    def allow(self, run: RunId, budget: Budget) -> None:
        """Say what the run may spend from now on."""
        self._write(
            "insert or replace into budget values (?, ?, ?, ?, ?)",
            run,
            budget.usd_per_issue,
            budget.usd_per_run,
            budget.tokens_per_issue,
            budget.tokens_per_run,
        )

    def spent(self, run: RunId) -> Mapping[Pass, Spent]:
        """Tell what was spent, by who spent it; calls under way count as far as they are known."""
        with self._held() as db:
            return spent_in(db, run)

    def refusal(self, run: RunId, issue: IssueId) -> str | None:
        """Say which budget of the issue or the run is spent, how much and on what; None where none is."""
        with self._held() as db:
            return refusal_in(db, run, issue)

    def limits(self, run: RunId) -> Sequence[Limited]:
        """List what providers said of limits during the run, oldest first."""
        rows = self._read("select provider, since, until, why from limited where run = ? order by id", run)
        return [Limited(provider=row[0], since=row[1], until=row[2], why=row[3]) for row in rows]

    def notes(self, run: RunId) -> Sequence[str]:
        """Say in sentences what a person must know of the numbers: prices unknown, counts guessed, keys refused."""
        return list(_notes(self._read(NOTED, run)))

    def say(self, run: RunId, issue: IssueId, *, number: int, text: str) -> None:
        """Leave a person's words for the agent at work on an issue; the same number again does nothing."""
        self._write("insert or ignore into words values (?, ?, ?, ?)", run, issue, number, text)

    def heard(self, run: RunId, issue: IssueId) -> int:
        """Give the number of the last words that an agent has taken in; 0 where none."""
        rows = self._read("select number from heard where run = ? and issue = ?", run, issue)
        return int(rows[0][0]) if rows else 0

    def questions(self, run: RunId) -> Sequence[Question]:
        """List what agents asked, nobody has answered, and an agent still waits for."""
        rows = self._read(
            "select id, issue, attempt, what from question where run = ? and answer is null and wanted_until > ?"
            " order by id",
            run,
            time.time(),
        )
        return [Question(id=row[0], issue=IssueId(row[1]), attempt=row[2], what=row[3], answer=None) for row in rows]

    def answer(self, question: int, *, ok: bool) -> None:
        """Answer a question; the first answer stands."""
        self._write("update question set answer = ? where id = ? and answer is null", int(ok), question)

    @contextmanager
    def _held(self) -> Iterator[sqlite3.Connection]:
        with self._turn, faults(self._path):
            yield self._db

    def _read(self, query: str, *values: str | float) -> list[tuple[Any, ...]]:
        with self._held() as db:
            return db.execute(query, values).fetchall()

    def _write(self, statement: str, *values: str | float | None) -> None:
        with self._held() as db, writing(db):
            db.execute(statement, values)


def spent_in(db: sqlite3.Connection, run: RunId) -> Mapping[Pass, Spent]:
    """Read what a run has spent, by who spent it."""
    rows: list[Row] = db.execute(SPENT, (run,)).fetchall()
    return {
        Pass(run=run, issue=IssueId(issue), attempt=attempt, role=role): Spent(
            calls=calls, input_tokens=input_tokens, output_tokens=output_tokens, usd=usd
        )
        for issue, attempt, role, calls, input_tokens, output_tokens, usd in rows
        if calls
    }


def refusal_in(db: sqlite3.Connection, run: RunId, issue: IssueId) -> str | None:
    """Read the budgets of a run, and say which of them is spent."""
    found = db.execute(
        "select usd_per_issue, usd_per_run, tokens_per_issue, tokens_per_run from budget where run = ?", (run,)
    ).fetchone()
    if found is None or all(limit is None for limit in found):
        return None
    usd_per_issue, usd_per_run, tokens_per_issue, tokens_per_run = found
    of_run = spent_in(db, run)
    of_issue = {holder: spent for holder, spent in of_run.items() if holder.issue == issue}
    return (
        _over("usd_per_issue", of_issue, usd_per_issue, _usd, _attempt)
        or _over("tokens_per_issue", of_issue, tokens_per_issue, _tokens, _attempt)
        or _over("usd_per_run", of_run, usd_per_run, _usd, _issue)
        or _over("tokens_per_run", of_run, tokens_per_run, _tokens, _issue)
    )


def _over(
    name: str,
    spent: Mapping[Pass, Spent],
    limit: float | None,
    amount: Callable[[Spent], float],
    part: Callable[[Pass], str],
) -> str | None:
    if limit is None:
        return None
    total = sum(amount(one) for one in spent.values())
    # Sums of cents: 0.1 ten times must be 1.
    if total + 1e-9 < limit:
        return None
    say = f"{name}: {_said(amount, total)} of {_said(amount, limit)} {'USD' if amount is _usd else 'tokens'} spent"
    parts: dict[str, float] = {}
    for holder, one in spent.items():
        parts[part(holder)] = parts.get(part(holder), 0) + amount(one)
    told = [f"{what}: {_said(amount, much)}" for what, much in parts.items() if much]
    if len(told) > PARTS_TOLD:
        most = sorted(parts, key=lambda what: -parts[what])[:PARTS_TOLD]
        told = [*(f"{what}: {_said(amount, parts[what])}" for what in most), f"{len(told) - PARTS_TOLD} more"]
    return f"{say} ({', '.join(told)})" if told else say


def _usd(spent: Spent) -> float:
    return spent.usd


def _tokens(spent: Spent) -> float:
    return spent.tokens


def _said(amount: Callable[[Spent], float], much: float) -> str:
    return f"{much:.2f}" if amount is _usd else f"{much:,.0f}"


def _attempt(holder: Pass) -> str:
    return f"{'attempt' if holder.role == 'work' else 'review'} {holder.attempt}"


def _issue(holder: Pass) -> str:
    return f"issue {holder.issue}"


def _notes(rows: list[tuple[Any, ...]]) -> Iterator[str]:
    unpriced: dict[str, tuple[int, int]] = {}
    guessed_calls = guessed_tokens = 0
    refused: dict[str, int] = {}
    for provider, model, priced, estimated, status, calls, tokens, output in rows:
        if not priced:
            before = unpriced.get(model, (0, 0))
            unpriced[model] = (before[0] + calls, before[1] + tokens)
        if estimated:
            guessed_calls, guessed_tokens = guessed_calls + calls, guessed_tokens + output
        if status in (401, 403):
            refused[provider] = refused.get(provider, 0) + calls
    for model, (calls, tokens) in unpriced.items():
        yield f"the price of the model '{model}' is not known: {tokens:,} tokens in {_calls(calls)} count as 0 USD"
    if guessed_calls:
        they = "it should: its" if guessed_calls == 1 else "they should: their"
        yield f"{_calls(guessed_calls)} did not end as {they} {guessed_tokens:,} tokens out are an estimate"
    for provider, calls in refused.items():
        yield f"the provider '{provider}' refused the key in {_calls(calls)}"


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count:,} calls"
