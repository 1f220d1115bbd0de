"""One issue's way through a session, replayed from the top: what the journal remembers is not done again."""

from collections.abc import Mapping
from dataclasses import replace

from luminaguard.engine.assignment import assignment_of
from luminaguard.engine.lander import Blamed, Gone, Ticket
from luminaguard.engine.orders import Orders
from luminaguard.engine.record import findings_json, number, text
from luminaguard.engine.remarks import remarks_text, unanswered, wishes
from luminaguard.engine.results import GOES_ON, Again, Hold, Over, Parked
from luminaguard.engine.session import Session
from luminaguard.gates.base import Gate, Subject
from luminaguard.model.facts import Fact
from luminaguard.model.faults import Fault
from luminaguard.model.ids import IssueId, Json, Oid
from luminaguard.model.work import Change, Conflict, Verdict


class _NotWantedError(Exception):
    """A person stopped the issue before its agent was started."""


class _HeldError(Exception):
    """No agent may be started for the issue."""

    def __init__(self, hold: Hold) -> None:
        super().__init__(hold.why)
        self.hold = hold


class Task:
    """One issue of the run."""

    def __init__(self, session: Session, issue: IssueId, *, rank: float) -> None:
        self._session = session
        self._book = session.book
        self.rank = rank
        self._asked = assignment_of(session.book, issue)
        self._orders = Orders(session, self._asked)
        self.id = issue
        self.issue = self._asked.issue

    def _fact(self, kind: str) -> Fact:
        found = self._book.get(self.id, kind)
        assert found is not None, kind
        return found

    @property
    def is_finished(self) -> bool:
        """Tell whether nothing at all is left to do."""
        return self._book.get(self.id, "closed") is not None or self._is_over()

    @property
    def is_under_way(self) -> bool:
        """Tell whether an agent was started whose outcome is not known yet."""
        last = self._book.last(self.id, "placed", "agent")
        return last is not None and last.name == "placed"

    async def run(self) -> None:
        """Go on until the issue is landed and closed, over, or the session ends."""
        with self._session.movement.moving():
            if self._book.get(self.id, "landed") is None:
                await self._until_needs_landed()
                await self._until_trusted()
                await self._work()
            if self._book.get(self.id, "landed") is not None:
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
        word = self._book.last(self.id, "cancelled", "retry")
        return word is not None and word.name == "cancelled"

    async def _work(self) -> None:
        if not self._is_over():
            await self._book.add(self.id, "ready", {})
        while not self._is_over():
            if self._is_stopped():
                await self._until_lifted()
                continue
            try:
                result = await self._attempt(self._orders.next())
            except Fault as fault:
                how = f"{fault.hint + '; then' if fault.hint else 'then'}: luminaguard retry {self.id}"
                result = Hold(why=fault.message, who="you", how=how, group=GOES_ON)
            if isinstance(result, Over):
                return
            if not isinstance(result, Parked):
                await self._settle(result)

    def _is_stopped(self) -> bool:
        stop, lift = self._orders.stop(), self._book.last(self.id, "retry", "released", "cancelled")
        return stop is not None and (lift is None or lift.seq < stop.seq)

    async def _until_lifted(self) -> None:
        with self._session.movement.parked():
            while self._is_stopped() and not self._is_over():
                await self._book.news(self.id)

    async def _hold(self, name: str, hold: Hold) -> None:
        if self._is_stopped():
            return
        count = len(self._book.all(self.id, name)) + 1
        data: dict[str, Json] = {
            "why": hold.why,
            "who": hold.who,
            "how": hold.how,
            "group": hold.group,
            "log": hold.log,
        }
        await self._book.add(self.id, f"{name}:{count}", data)

    async def _settle(self, result: Again | Hold) -> None:
        if isinstance(result, Hold):
            await self._hold("held", result)
            return
        if result.why == "review" and self._since_retry("again", why="review") >= self._session.policy.review_rounds:
            await self._hold("held", self._no_more_rounds(result))
            return
        attempts = self._book.all(self.id, "attempt")
        others = self._since_retry("again", why="limited") + self._since_retry("again", why="remarks")
        tried = self._since_retry("attempt") - others
        is_spent = self._session.doorway.stop(self.id) is not None  # the next start says it, and what to type
        if is_spent or result.why in ("limited", "remarks") or tried < self._session.policy.attempts:
            said: dict[str, Json] = {"why": result.why, "what": result.what, "feedback": result.feedback}
            await self._book.add(self.id, f"again:{attempts[-1].number}", said)
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
        try:
            made = await self._agent(count)
        except _HeldError as held:
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
        await self._session.pulls.publish(change)
        try:
            return await self._gates(change, base=target)
        except _HeldError as held:
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
            raise _HeldError(hold)
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

    # Gates, then the queue.

    async def _gates(self, change: Change, *, base: Oid) -> Again | Hold | Over | Parked:
        ticket = self._ticket(change)
        if (wished := self._wished()) is not None:
            return wished
        if (sent_back := await self._review(change, ticket, base)) is not None:
            return sent_back
        if self._session.policy.human and (answer := await self._approval(change, ticket)) is not None:
            return answer
        if self._is_over() or self._is_stopped():
            return Parked()
        if (wished := self._wished()) is not None:
            return wished
        await self._book.add(self.id, f"queued:{change.attempt}", {"commit": change.commit})
        return await self._queue(ticket)

    def _wished(self) -> Again | None:
        """Send it back to the agent where people want something changed on the pull request."""
        if not wishes(self._book, self.id):
            return None
        remarks = unanswered(self._book, self.id)
        people = ", ".join(dict.fromkeys(text(remark.data, "author") for remark in remarks))
        what = f"{people} asked for changes on the pull request"
        return Again(why="remarks", what=what, feedback=remarks_text(remarks), has_work=True)

    def _ticket(self, change: Change) -> Ticket:
        # The commit's date is the time of a fact, so that a replay composes the very same commit.
        when = self._fact(f"agent:{change.attempt}").time
        return Ticket(
            change=change,
            issue=self.issue,
            message=self._session.pulls.message(self._asked, closes=True),
            when=when,
            rank=self.rank,
        )

    async def _review(self, change: Change, ticket: Ticket, base: Oid) -> Again | Hold | None:
        review = self._session.drivers.review
        if review is None:
            return None
        kind = f"review:{change.attempt}"
        if self._book.get(self.id, kind) is None:
            # A review costs money: nobody is asked to read what the checks refuse.
            early = await self._session.lander.judge_early(change, ticket)
            if isinstance(early, Blamed):
                return self._blamed(early)
            if isinstance(early, Conflict) or not early.ok:
                return self._sent_back(early)
            await self._ask_review(review, kind, change, base, early)
        said = self._fact(kind).data
        if said["ok"]:
            return None
        what = f"the review holds it back: {text(said, 'why')}"
        return Again(why="review", what=what, feedback=text(said, "log"), has_work=True)

    async def _ask_review(self, review: Gate, kind: str, change: Change, base: Oid, early: Verdict) -> None:
        doorway = self._session.doorway
        await doorway.until_open(self._session.movement)
        if (hold := doorway.stop(self.id)) is not None:
            raise _HeldError(hold)
        subject = Subject(issue=self.issue, commit=change.commit, base=base, attempt=change.attempt, checks=early)
        verdict = await review.judge(subject)
        data: dict[str, Json] = {
            "ok": verdict.ok,
            "why": verdict.why,
            "findings": findings_json(verdict.findings),
            "grade": verdict.grade,
            "seconds": verdict.seconds,
            "log": verdict.log,
            **doorway.spent(self.id, change.attempt, "review"),
        }
        await self._book.add(self.id, kind, data)

    async def _approval(self, change: Change, ticket: Ticket) -> Again | Hold | Parked | None:
        kind = f"approval_asked:{change.attempt}"
        if self._book.get(self.id, kind) is None:
            early = await self._session.lander.judge_early(change, ticket)
            if isinstance(early, Blamed):
                return self._blamed(early)
            if isinstance(early, Conflict) or not early.ok:
                return self._sent_back(early)
            await self._book.add(self.id, kind, {"why": "the checks passed; landing.approve is 'human'"})
        asked = self._fact(kind)
        with self._session.movement.parked():
            while not self._answered(asked) and not self._is_over() and not wishes(self._book, self.id):
                await self._book.news(self.id)
        if (wished := self._wished()) is not None:
            return wished
        # An older answer was about an earlier attempt.
        answer = self._book.last(self.id, "approved", "rejected") if self._answered(asked) else None
        return None if answer is not None and answer.name == "approved" else Parked()

    def _answered(self, asked: Fact) -> bool:
        answer = self._book.last(self.id, "approved", "rejected")
        return answer is not None and answer.seq > asked.seq

    async def _queue(self, ticket: Ticket) -> Again | Hold | Over | Parked:
        result = await self._session.lander.submit(ticket)
        match result:
            case Fact():
                return Over()
            case Gone():
                return Parked()
            case Blamed():
                return self._blamed(result)
            case _:
                return self._sent_back(result)

    def _blamed(self, blamed: Blamed) -> Hold:
        why = f"'{self._session.policy.target}' itself fails: {blamed.base_verdict.why}"
        how = f"mend the target, then: luminaguard retry {self.id}"
        return Hold(why=why, who="you", how=how, group=GOES_ON)

    def _sent_back(self, result: Conflict | Verdict) -> Again:
        if isinstance(result, Conflict):
            what = f"it conflicts with '{self._session.policy.target}' in {', '.join(result.paths)}"
            feedback = f"{self._intents(result)}\n\n{result.hunks}"
            return Again(why="conflict", what=what, feedback=feedback, has_work=True)
        return Again(why="checks", what=result.why, feedback=f"{result.why}\n\n{result.log}", has_work=True)

    def _intents(self, conflict: Conflict) -> str:
        """Say what the other side wanted: the issues that landed on the same paths."""
        lines = []
        for subject in self._book.subjects():
            landed, planned = self._book.get(subject, "landed"), self._book.get(subject, "planned")
            if landed is None or planned is None:
                continue
            files = landed.data["files"]
            assert isinstance(files, list)
            touched = {str(it["path"]) for it in files if isinstance(it, dict)}
            if touched & set(conflict.paths):
                lines.append(f"#{subject} landed: {text(planned.data, 'title')}")
        return "\n".join(lines)

    async def _until_closed(self) -> None:
        while True:
            try:
                await self._session.pulls.close(self.id)
            except Fault as fault:
                how = f"{fault.hint + '; then' if fault.hint else 'then'}: luminaguard retry {self.id}"
                hold = Hold(why=f"landed, but not closed: {fault.message}", who="you", how=how, group=GOES_ON)
                await self._hold("held", hold)
                if self._is_over():
                    return
                await self._until_lifted()
            else:
                return


def said_of(made: Mapping[str, Json]) -> str:
    """Say how an agent ended."""
    if made.get("ended") == "exited":
        return f"ended with exit code {int(number(made, 'exit_code'))}"
    return f"was stopped ({made.get('ended')})"
