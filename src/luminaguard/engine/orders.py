"""What an attempt is ordered to do, and what its outcome is written down as."""

from collections.abc import Mapping, Sequence

from luminaguard.engine.assignment import Assignment
from luminaguard.engine.base import Order, Outcome
from luminaguard.engine.prompt import Around, prompt_for
from luminaguard.engine.record import files_json, number, text, texts
from luminaguard.engine.remarks import remarks_text, unanswered
from luminaguard.engine.results import GOES_ON
from luminaguard.engine.session import Session
from luminaguard.model.brief import Brief
from luminaguard.model.facts import Fact
from luminaguard.model.ids import Json, Oid, natural
from luminaguard.model.work import FileChange
from luminaguard.workspaces.base import Start

LEAST_S = 1.0


class Orders:
    """The attempts of one issue: the next one's fact is written with what went wrong before it."""

    def __init__(self, session: Session, asked: Assignment) -> None:
        self._session = session
        self._book = session.book
        self._asked = asked
        self.id = asked.id

    def next(self) -> int:
        """Number the attempt that is to be made, or gone on with."""
        last = self._book.last(self.id, "attempt")
        if last is None:
            return 1
        is_spent = self._book.get(self.id, f"again:{last.number}") is not None or self._asked_again() is not None
        return last.number + 1 if is_spent else last.number

    def stop(self) -> Fact | None:
        """Find what stopped the issue last."""
        return self._book.last(self.id, "held", "failed", "rejected")

    def _asked_again(self) -> Fact | None:
        """Find a person's wish for another try that no attempt has followed yet."""
        last, retry, stop = self._book.last(self.id, "attempt"), self._book.last(self.id, "retry"), self.stop()
        if retry is None or stop is None or text(stop.data, "group") in (GOES_ON, "budget"):
            return None
        return retry if last is not None and retry.seq > last.seq else None

    async def open(self, count: int) -> None:
        """Fix where the attempt begins, on the target as it is now; what a replay finds written stays."""
        trunk = self._session.drivers.trunk
        target = await trunk.tip()
        begin = self._work_so_far() or await trunk.branch(self._asked.branch) or target
        if await trunk.is_in(begin, target):
            begin = target
        why, feedback = self._why(count)
        words, asked, remarks = self._words(), self._words_of_retry(), unanswered(self._book, self.id)
        if why == "remarks":
            feedback = remarks_text(remarks)  # with what was said since the work was sent back
        said = [*asked, *(text(fact.data, "text") for fact in words)]
        data: dict[str, Json] = {
            "start": begin,
            "target": target,
            "why": why,
            "feedback": feedback,
            "words": [*said, remarks_text(remarks)] if remarks and why != "remarks" else [*said],
            "words_up_to": max((fact.number for fact in words), default=0),
            "remarks_up_to": max((fact.number for fact in remarks), default=0),
        }
        await self._book.add(self.id, f"attempt:{count}", data)

    def of_others(self, count: int) -> Oid | None:
        """Give the commits of others that are this attempt; None where an agent is to make it."""
        again = self._book.get(self.id, f"again:{count - 1}")
        return Oid(text(again.data, "commit")) if again is not None and again.data.get("commit") else None

    async def take_over(self, count: int, commit: Oid) -> Fact:
        """Write an attempt down that others made upon ours. What people said, nobody has heard by it."""
        trunk, before = self._session.drivers.trunk, self._opened(count - 1)
        tip, last = await trunk.tip(), Oid(text(before, "target"))
        target = tip if await trunk.is_in(tip, commit) else last
        heard = {name: before[name] for name in ("words_up_to", "remarks_up_to") if name in before}
        begin: dict[str, Json] = {"start": commit, "target": target, "why": "commits", "feedback": "", "words": []}
        await self._book.add(self.id, f"attempt:{count}", {**begin, **heard})
        made = Outcome(
            ended="taken_over",
            exit_code=0,
            seconds=0.0,
            commit=commit,
            committed_for_agent=False,
            problem=None,
            refused=False,
            log="",
            tail="",
        )
        return await self._book.add(self.id, f"agent:{count}", await self._outcome(made, base=target, attempt=count))

    def _work_so_far(self) -> Oid | None:
        for fact in reversed(self._book.all(self.id, "agent")):
            if fact.data["commit"] and not fact.data.get("refused"):
                return Oid(str(fact.data["commit"]))
        return None

    def _words(self) -> list[Fact]:
        """List what a person has said and no agent has heard: neither at its work nor in its prompt."""
        told = [int(number(it.data, "words_up_to")) for it in self._book.all(self.id, "attempt")]
        heard = max([*told, self._session.doorway.heard(self.id)])
        return [fact for fact in self._book.all(self.id, "said") if fact.number > heard]

    def _words_of_retry(self) -> list[str]:
        """Give what was said with a `retry` that only lets the work go on: no feedback of its own tells it."""
        last, retry = self._book.last(self.id, "attempt"), self._book.last(self.id, "retry")
        is_told = retry is None or self._asked_again() is not None or (last is not None and retry.seq < last.seq)
        said = "" if is_told or retry is None else text(retry.data, "text")
        return [said] if said else []

    def _why(self, count: int) -> tuple[str, str]:
        retry, stop = self._asked_again(), self.stop()
        if retry is not None and stop is not None:
            said = (text(retry.data, "text"), "", text(stop.data, "why"), text(stop.data, "log"))
            return "person", "\n".join(said).strip()
        again = self._book.get(self.id, f"again:{count - 1}")
        return (text(again.data, "why"), text(again.data, "feedback")) if again is not None else ("first", "")

    def order(self, count: int) -> Order:
        """Write the order of an attempt that is open: the same each time."""
        policy, asked = self._session.policy, self._asked
        opened = self._opened(count)
        start, target = Oid(text(opened, "start")), Oid(text(opened, "target"))
        prompt = prompt_for(
            asked.issue,
            branch=asked.branch,
            target=policy.target,
            checks=policy.checks,
            why=text(opened, "why"),
            feedback=text(opened, "feedback"),
            is_begun=start != target,
            around=self._around(count),
            rules=policy.rules,
            tools=policy.tools,
            words=texts(opened, "words") if "words" in opened else (),
            template=policy.template,
        )
        timeout_s = max(self._session.doorway.minutes_left(self.id) * 60, LEAST_S)
        words_after = max(int(number(it.data, "words_up_to")) for it in self._book.all(self.id, "attempt"))
        brief = Brief(issue=self.id, attempt=count, prompt=prompt, timeout_s=timeout_s, words_after=words_after)
        return Order(
            run=self._book.run,
            brief=brief,
            start=Start(branch=asked.branch, commit=start, merge=target if start != target else None),
            message=self._session.pulls.message(asked, closes=False),
        )

    def _opened(self, count: int) -> Mapping[str, Json]:
        fact = self._book.get(self.id, f"attempt:{count}")
        assert fact is not None, count
        return fact.data

    def _around(self, count: int) -> Around:
        begun, opened = self._book.get(self.id, "attempt:1"), self._book.get(self.id, f"attempt:{count}")
        assert opened is not None
        needs = self._asked.needs
        landed = [(it, at) for it in self._book.subjects() if (at := self._book.get(it, "landed")) is not None]
        since = [it for it, at in landed if begun and begun.seq < at.seq < opened.seq and it not in needs]
        waiting = [
            it
            for it in self._book.subjects()
            if (planned := self._book.get(it, "planned")) and self.id in texts(planned.data, "needs")
        ]
        return Around(landed=self._titled(needs), since=self._titled(since), waiting=self._titled(waiting))

    def _titled(self, issues: Sequence[str]) -> list[str]:
        found = [(issue, self._book.get(issue, "planned")) for issue in sorted(issues, key=natural)]
        return [f"#{issue} {text(planned.data, 'title') if planned else ''}".rstrip() for issue, planned in found]

    async def outcome(self, order: Order, outcome: Outcome) -> dict[str, Json]:
        """Give the data of the `agent` fact."""
        base = order.start.merge or order.start.commit
        return await self._outcome(outcome, base=base, attempt=order.brief.attempt)

    async def _outcome(self, outcome: Outcome, *, base: Oid, attempt: int) -> dict[str, Json]:
        trunk = self._session.drivers.trunk
        commit, files, is_alien = outcome.commit, tuple[FileChange, ...](), False
        if commit is not None:
            files = await trunk.files(base, commit)
            is_alien = not await trunk.is_related(commit, base)
        alien = f"its commits share no history with '{self._session.policy.target}'" if is_alien else None
        return {
            "ended": outcome.ended,
            "exit_code": outcome.exit_code,
            "seconds": outcome.seconds,
            "commit": commit,
            "problem": outcome.problem or alien,
            "refused": outcome.refused or is_alien,
            "committed_for_agent": outcome.committed_for_agent,
            "files": files_json(files),
            "log": outcome.log,
            "tail": outcome.tail,
            **self._session.doorway.spent(self.id, attempt, "work"),
        }
