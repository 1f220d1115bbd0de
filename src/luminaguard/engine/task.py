"""One issue's way through a session, replayed from the top: what the journal remembers is not done again."""

import time
from collections.abc import Mapping
from dataclasses import replace

import anyio

from luminaguard.engine.assignment import assignment_of
from luminaguard.engine.gating import Gating
from luminaguard.engine.orders import Orders
from luminaguard.engine.record import number, text
from luminaguard.engine.results import GOES_ON, Again, HeldError, Hold, Over, Parked
from luminaguard.engine.session import Session
from luminaguard.engine.words import is_cancelled, is_over, is_stopped
from luminaguard.model.facts import Fact
from luminaguard.model.faults import Fault, Unreachable
from luminaguard.model.ids import IssueId, Json, Oid
from luminaguard.model.work import Change

UNCOUNTED = ("limited", "remarks", "commits")
"""Why an attempt follows that is not the agent's fault."""


class _NotWantedError(Exception):
    """A person stopped the issue before its agent was started."""


class Task:
    """One issue of the run."""

    def __init__(self, session: Session, issue: IssueId, *, rank: float) -> None:
        self._session = session
        self._book = session.book
        self.rank = rank
        self._asked = assignment_of(session.book, issue)
        self._orders = Orders(session, self._asked)
        self._gating = Gating(session, self._asked, rank=rank)
        self._down_since: float | None = None
        self.id = issue
        self.issue = self._asked.issue

    def _fact(self, kind: str) -> Fact:
        found = self._book.get(self.id, kind)
        assert found is not None, kind
        return found

    @property
    def is_finished(self) -> bool:
        """Tell whether nothing at all is left to do."""
        return self._book.get(self.id, "closed") is not None or (self._is_over() and not self._has_landed)

    @property
    def _has_landed(self) -> bool:
        return self._book.get(self.id, "landed") is not None

    @property
    def is_under_way(self) -> bool:
        """Tell whether an agent was started whose outcome is not known yet."""
        last = self._book.last(self.id, "placed", "agent")
        return last is not None and last.name == "placed"

    async def run(self) -> None:
        """Go on until the issue is landed and closed, over, or the session ends."""
        with self._session.movement.moving():
            if not self._has_landed:
                await self._until_needs_landed()
                await self._until_trusted()
                await self._work()
            if self._has_landed:
                self._session.landed[self.id].set()
                await self._until_closed()

    async def _until_needs_landed(self) -> None:
        for need in self._asked.needs:
            if not (event := self._session.landed[need]).is_set():
                with self._session.movement.parked():
                    await event.wait()

    async def _until_trusted(self) -> None:
        while not self._is_trusted() and not self._is_over():
            why = f"the author '{self.issue.author or 'unknown'}' ({self.issue.association or 'no association'}) "
            how = f"read it, then: luminaguard approve {self.id}"
            hold = Hold(why=why + "is not trusted by [trust]", who="you", how=how, group="trust")
            await self._hold("held", hold)
            await self._until_lifted()

    def _is_trusted(self) -> bool:
        trusted = self._session.policy.trusted(self.issue.author, self.issue.association)
        return trusted or self._book.get(self.id, "released") is not None

    def _is_over(self) -> bool:
        return is_over(self._book, self.id)

    def _is_stopped(self) -> bool:
        return is_stopped(self._book, self.id)

    async def _work(self) -> None:
        if not self._is_over():
            await self._book.add(self.id, "ready", {})
        while not self._is_over():
            if self._is_stopped():
                await self._until_lifted()
                continue
            try:
                result = await self._attempt(self._orders.next())
            except Unreachable as fault:
                if await self._has_waited(fault):
                    continue
                result = self._hold_of(fault)
            except Fault as fault:
                result = self._hold_of(fault)
            self._down_since = None
            if isinstance(result, Over):
                return
            if not isinstance(result, Parked):
                await self._settle(result)

    async def _has_waited(self, fault: Unreachable) -> bool:
        """Wait for another try at what does not answer; False where the time for that is over."""
        now, policy = time.monotonic(), self._session.policy
        if self._down_since is None:
            self._down_since = now
            count = len(self._book.all(self.id, "attempt"))
            await self._book.add_next(self.id, "waiting", count, {"why": f"waits: {fault.message}"})
        if now - self._down_since > policy.wait_minutes * 60:
            self._down_since = None
            return False
        with anyio.move_on_after(policy.poll_s):
            await self._book.news(self.id)
        return True

    def _hold_of(self, fault: Fault, *, what: str = "") -> Hold:
        how = f"{fault.hint + '; then' if fault.hint else 'then'}: luminaguard retry {self.id}"
        return Hold(why=f"{what}{fault.message}", who="you", how=how, group=GOES_ON)

    async def _until_lifted(self) -> None:
        with self._session.movement.parked():
            while self._is_stopped() and not self._is_over():
                await self._book.news(self.id)

    async def _hold(self, name: str, hold: Hold) -> None:
        if self._is_stopped():
            return
        data: dict[str, Json] = {
            "why": hold.why,
            "who": hold.who,
            "how": hold.how,
            "group": hold.group,
            "log": hold.log,
        }
        await self._book.add_another(self.id, name, data)

    async def _settle(self, result: Again | Hold) -> None:
        if isinstance(result, Hold):
            await self._hold("held", result)
            return
        if result.why == "review" and self._since_retry("again", why="review") >= self._session.policy.review_rounds:
            await self._hold("held", self._no_more_rounds(result))
            return
        attempts = self._book.all(self.id, "attempt")
        tried = self._since_retry("attempt") - sum(self._since_retry("again", why=why) for why in UNCOUNTED)
        is_spent = self._session.doorway.stop(self.id) is not None  # the next start says it, and what to type
        if is_spent or result.why in UNCOUNTED or tried < self._session.policy.attempts:
            said: dict[str, Json] = {"why": result.why, "what": result.what, "feedback": result.feedback}
            made: dict[str, Json] = {"commit": result.commit} if result.commit else {}
            await self._book.add(self.id, f"again:{attempts[-1].number}", {**said, **made})
            return
        times = "once" if tried == 1 else f"{tried} times"
        how = f"luminaguard logs {self.id}; then: luminaguard retry {self.id}"
        if result.has_work:
            how = f"luminaguard diff {self.id}; then: luminaguard retry {self.id}"
        why = f"tried {times}; last: {result.what}"
        hold = Hold(why=why, who="you", how=how, group="work", log=result.feedback)
        await self._hold("held" if result.has_work else "failed", hold)

    def _since_retry(self, name: str, *, why: str | None = None) -> int:
        """Count facts since a person last asked for another try."""
        lift = self._book.last(self.id, "retry")
        facts = self._book.all(self.id, name)
        return sum(
            1
            for fact in facts
            if (lift is None or fact.seq > lift.seq) and (why is None or text(fact.data, "why") == why)
        )

    def _no_more_rounds(self, result: Again) -> Hold:
        rounds = self._session.policy.review_rounds
        times = "once" if rounds == 1 else f"{rounds} times"
        why = f"{result.what}; findings went back {times}" if rounds else result.what
        how = f"luminaguard diff {self.id}; then: luminaguard retry {self.id}"
        return Hold(why=why, who="you", how=how, group="review", log=result.feedback)

    async def _attempt(self, count: int) -> Again | Hold | Over | Parked:
        if await self._session.lander.merged_before(self.id) is not None:
            return Over()
        try:
            made = await self._agent(count)
        except HeldError as held:
            return held.hold
        self._book.take_in()  # whoever stopped the agent wrote it down first
        if not made or self._is_over() or self._is_stopped():
            await self._leave(count, made)
            return Parked()
        opened = self._fact(f"attempt:{count}").data
        start, target = Oid(text(opened, "start")), Oid(text(opened, "target"))
        commit = text(made, "commit") or (start if start != target else "")
        if (cut := await self._cut_short(count, made, has_work=bool(commit))) is not None:
            return cut
        if problem := text(made, "problem"):
            return Again(why="retry", what=problem, feedback=self._log(problem, made), has_work=bool(commit))
        if not commit or (text(made, "commit") and not made["files"]):
            left = "left commits that change nothing" if commit else "left no commit and no change"
            what = f"nothing changed: the agent {said_of(made)} and {left}"
            return Again(why="retry", what=what, feedback=self._log(what, made), has_work=False)
        change = Change(issue=self.id, attempt=count, commit=Oid(commit), title=self.issue.title)
        if await self._session.lander.merged_before(self.id) is not None:  # while its agent was at work
            return Over()
        await self._session.pulls.publish(change)
        try:
            return await self._gating.let_through(change, base=target)
        except HeldError as held:
            return replace(held.hold, group=GOES_ON)

    async def _cut_short(self, count: int, made: Mapping[str, Json], *, has_work: bool) -> Again | None:
        """Tell an attempt that the gateway ended from one that was done: what it left is to be gone on with."""
        if has_work and number(made, "exit_code") == 0:
            return None
        doorway = self._session.doorway
        await doorway.take_in()
        placed = next((it for it in self._book.all(self.id, "placed") if it.number == count), None)
        if placed is not None and doorway.was_limited(placed.time):
            what = "a provider's limit ended it before it was done"
            return Again(why="limited", what=what, feedback=self._log(what, made), has_work=has_work)
        if (hold := doorway.stop(self.id)) is not None:
            what = text(made, "problem") or hold.why
            return Again(why="retry", what=what, feedback=self._log(what, made), has_work=has_work)
        return None

    async def _leave(self, count: int, made: Mapping[str, Json]) -> None:
        """Leave what was made on the issue's branch, for whoever takes it up again."""
        if text(made, "commit") and not made.get("refused") and self._book.get(self.id, f"published:{count}") is None:
            await self._session.drivers.trunk.publish(self._asked.branch, Oid(text(made, "commit")))

    def _log(self, what: str, made: Mapping[str, Json]) -> str:
        return f"{what}\n\n{text(made, 'tail')}"

    async def _agent(self, count: int) -> Mapping[str, Json]:
        fact = self._book.get(self.id, f"agent:{count}")
        if (others := self._orders.of_others(count)) is not None:
            return (fact or await self._orders.take_over(count, others)).data
        if fact is None:
            async with self._session.slots.take(self.rank):
                fact = await self._place(count)
        # Work that could not be brought out is nowhere but in its workspace.
        if fact is not None and (fact.data["commit"] is not None or not fact.data["refused"]):
            await self._session.drivers.placement.clean(self._orders.order(count))
        return {} if fact is None else fact.data

    async def _place(self, count: int) -> Fact | None:
        """Have the attempt made, with a slot held; None where a person does not want it any more."""
        if self._is_over() or self._is_stopped():
            return None
        await self._session.doorway.until_open(self._session.movement)
        if (hold := self._session.doorway.stop(self.id)) is not None:
            raise HeldError(hold)
        # Opened no sooner than this: what landed while it waited for a slot is in its base.
        await self._orders.open(count)
        order = self._orders.order(count)
        placement = self._session.drivers.placement
        try:
            outcome = await placement.place(order, starting=lambda k: self._starting(count, k))
        except _NotWantedError:
            # What a start that was lost has left is nowhere but in the workspace.
            if not any(fact.number == count for fact in self._book.all(self.id, "placed")):
                await placement.clean(order)
            return None
        return await self._book.add(self.id, f"agent:{count}", await self._orders.outcome(order, outcome))

    async def _starting(self, count: int, k: int) -> None:
        # Whoever stopped it while its workspace was made found no agent to stop.
        if self._is_over() or self._is_stopped():
            raise _NotWantedError
        policy, placement = self._session.policy, self._session.drivers.placement
        data: dict[str, Json] = {"agent": policy.agent, "isolation": placement.isolation}
        await self._book.add(self.id, f"placed:{count}.{k}", data)

    async def _until_closed(self) -> None:
        while self._book.get(self.id, "closed") is None:
            try:
                await self._session.pulls.close(self.id)
            except Unreachable as fault:
                if not await self._has_waited(fault):
                    await self._hold_closing(fault)
            except Fault as fault:
                await self._hold_closing(fault)
            if is_cancelled(self._book, self.id):
                return

    async def _hold_closing(self, fault: Fault) -> None:
        await self._hold("held", self._hold_of(fault, what="landed, but not closed: "))
        with self._session.movement.parked():
            while self._is_stopped() and not is_cancelled(self._book, self.id):
                await self._book.news(self.id)


def said_of(made: Mapping[str, Json]) -> str:
    """Say how an agent ended."""
    if made.get("ended") == "exited":
        return f"ended with exit code {int(number(made, 'exit_code'))}"
    return f"was stopped ({made.get('ended')})"
