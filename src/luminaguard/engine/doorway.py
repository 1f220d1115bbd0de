"""A session's side of the gateway: budgets before a start, limits and pauses to wait for, words and questions."""

import time
from collections.abc import Callable

import anyio

from luminaguard.engine.base import Policy
from luminaguard.engine.book import Book
from luminaguard.engine.record import number, text
from luminaguard.engine.results import Hold
from luminaguard.engine.slots import Movement
from luminaguard.gateway.base import Ledger, Limited, Pass, Question, Role, Spent
from luminaguard.model.facts import RUN, Fact
from luminaguard.model.ids import IssueId, Json

LOOK_EVERY_S = 0.5
NOTHING = Spent()


class Doorway:
    """What stands between an issue and its next start. `ledger` is None where no agent calls a model through us."""

    def __init__(
        self, ledger: Ledger | None, policy: Policy, book: Book, *, now: Callable[[], float] = time.time
    ) -> None:
        self._ledger = ledger
        self._policy = policy
        self._book = book
        self._now = now
        self._began = now()
        if ledger is not None:
            ledger.allow(book.run, policy.budget)
            # What was said while no session was there; what the ledger has already stays as it is.
            for subject in book.subjects():
                for fact in book.all(subject, "said", "answered"):
                    self.told(fact)

    async def watch(self) -> None:
        """Write down for ever what comes from the ledger."""
        while self._ledger is not None:
            await self.take_in()
            await anyio.sleep(LOOK_EVERY_S)

    async def take_in(self) -> None:
        """Write down what the ledger knows by now."""
        if self._ledger is not None:
            for subject, kind, data in self._news(self._ledger):
                await self._book.add(subject, kind, data)

    def _news(self, ledger: Ledger) -> list[tuple[str, str, dict[str, Json]]]:
        """Look what is new: limits of providers, questions of agents. Kinds are the ledger's own numbers."""
        limits = [
            (RUN, f"limited:{count}", _limit(limited))
            for count, limited in enumerate(ledger.limits(self._book.run), start=1)
        ]
        asked = [(it.issue, f"asked:{it.id}", _question(it)) for it in ledger.questions(self._book.run)]
        found: list[tuple[str, str, dict[str, Json]]] = [*limits, *asked]
        return [one for one in found if self._book.get(one[0], one[1]) is None]

    def told(self, fact: Fact) -> None:
        """Pass on what a person says to an agent, or answers it."""
        if self._ledger is None:
            return
        if fact.name == "said":
            issue = IssueId(fact.subject)
            self._ledger.say(self._book.run, issue, number=fact.number, text=text(fact.data, "text"))
        elif fact.name == "answered":
            self._ledger.answer(fact.number, ok=fact.data.get("ok") is True)

    def heard(self, issue: IssueId) -> int:
        """Give the number of the last words that an agent took in while it worked."""
        return 0 if self._ledger is None else self._ledger.heard(self._book.run, issue)

    # Pauses: a person's parks whoever waits, as only a person ends it; a provider's has an end of its own.

    def is_paused(self) -> bool:
        """Tell whether a person has paused the run."""
        word = self._book.last(RUN, "paused", "resumed")
        return word is not None and word.name == "paused"

    async def until_open(self, movement: Movement) -> None:
        """Wait until an agent may start: no pause by a person, no limit of a provider."""
        while True:
            await self.take_in()
            self._book.take_in()  # a pause counts from the moment in which it was written down
            if self.is_paused():
                with movement.parked():
                    while self.is_paused():
                        await self._book.news(RUN)
            wait = self.limited_until() - self._now()
            if wait > 0:
                await anyio.sleep(min(wait, LOOK_EVERY_S))
            elif not self.is_paused():
                return

    def limited_until(self) -> float:
        """Give the time, in seconds since the epoch, before which no provider takes calls; 0.0 where none said so."""
        return max((number(fact.data, "until") for fact in self._limits()), default=0.0)

    def was_limited(self, since: float) -> bool:
        """Tell whether a provider took no calls at some moment since a time."""
        return any(number(fact.data, "until") >= since for fact in self._limits())

    def _limits(self) -> list[Fact]:
        return self._book.all(RUN, "limited")

    # Budgets.

    def spent(self, issue: IssueId, attempt: int, role: Role) -> dict[str, Json]:
        """Say what an attempt's calls have cost, as facts do; nothing where no calls go through us."""
        if self._ledger is None:
            return {}
        holder = Pass(run=self._book.run, issue=issue, attempt=attempt, role=role)
        spent = self._ledger.spent(self._book.run).get(holder, NOTHING)
        if not spent.calls:
            return {}
        return {"input_tokens": spent.input_tokens, "output_tokens": spent.output_tokens, "usd": spent.usd}

    def minutes_left(self, issue: IssueId) -> float:
        """Give the minutes that agents may still work on an issue."""
        worked = sum(number(fact.data, "seconds") for fact in self._book.all(issue, "agent"))
        return self._policy.minutes_per_issue - worked / 60

    def stop(self, issue: IssueId) -> Hold | None:
        """Say which budget is spent, and what to type to go on; None where there is something left."""
        why = self._refusal(issue)
        if why is None:
            return None
        key = why.partition(":")[0]
        how = f"luminaguard retry {issue}, then, with more to spend: luminaguard run {self._raised(key)}"
        return Hold(why=f"budget spent: {why}", who="you", how=how, group="budget")

    def _refusal(self, issue: IssueId) -> str | None:
        policy = self._policy
        if (left := self.minutes_left(issue)) <= 0:
            attempts = self._book.all(issue, "agent")
            parts = ", ".join(f"attempt {it.number}: {number(it.data, 'seconds') / 60:.1f}" for it in attempts)
            used, most = policy.minutes_per_issue - left, policy.minutes_per_issue
            return f"minutes_per_issue: {used:.1f} of {most:g} minutes worked ({parts})"
        session = (self._now() - self._began) / 60
        if policy.minutes_per_run is not None and session >= policy.minutes_per_run:
            return f"minutes_per_run: {session:.1f} of {policy.minutes_per_run:g} minutes since this session began"
        return None if self._ledger is None else self._ledger.refusal(self._book.run, issue)

    def _raised(self, key: str) -> str:
        now = {
            "minutes_per_issue": self._policy.minutes_per_issue,
            "minutes_per_run": self._policy.minutes_per_run,
            "usd_per_issue": self._policy.budget.usd_per_issue,
            "usd_per_run": self._policy.budget.usd_per_run,
            "tokens_per_issue": self._policy.budget.tokens_per_issue,
            "tokens_per_run": self._policy.budget.tokens_per_run,
        }.get(key)
        doubled = f"{2 * now:g}" if now else "N"
        return f"--{key.replace('_', '-')} {doubled}"


def _limit(limited: Limited) -> dict[str, Json]:
    return {"provider": limited.provider, "since": limited.since, "until": limited.until, "why": limited.why}


def _question(question: Question) -> dict[str, Json]:
    return {"attempt": question.attempt, "what": question.what}
