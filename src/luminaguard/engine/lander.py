"""Does what the queue's policy decides: composes candidates, has them judged, lands them; one deed at a time."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio

from luminaguard.engine.base import Drivers, EditsOf, Policy
from luminaguard.engine.book import Book
from luminaguard.engine.foreign import Foreign, Passage
from luminaguard.engine.pulls import Pulls
from luminaguard.engine.record import files_json, text, verdict_json
from luminaguard.gates.base import Subject
from luminaguard.model.facts import RUN, Fact
from luminaguard.model.faults import Fault, HostFault
from luminaguard.model.ids import IssueId, Json, Oid
from luminaguard.model.issue import Issue
from luminaguard.model.work import Candidate, Change, Conflict, Verdict
from luminaguard.queue.policy import (
    Accepted,
    Action,
    Answer,
    Asking,
    BaseJudged,
    BlameBase,
    Clashed,
    Compose,
    Composed,
    Dropped,
    Enqueued,
    Event,
    Foundered,
    HandBack,
    Judge,
    JudgeBase,
    Judged,
    Land,
    Landed,
    Moved,
    State,
    Withdrawn,
    decide,
)

SKIPPED = Verdict(ok=True, why="no checks are configured")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blamed:
    """The change is red, and so is the target without it."""

    verdict: Verdict
    base_verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """The change was taken out of the queue."""


Result = Fact | Conflict | Verdict | Blamed | Gone
"""What becomes of a change: the `landed` fact, or why it did not land."""


@dataclass(slots=True, kw_only=True)
class Ticket:
    """A change on its way, and who waits for it. `when` is the date of its landing commit."""

    change: Change
    issue: Issue
    message: str
    when: float
    rank: float
    result: Result | Fault | None = None
    done: anyio.Event = field(default_factory=anyio.Event)


class Lander:
    """The only one who moves the target. `serve` runs for the whole session."""

    def __init__(self, drivers: Drivers, policy: Policy, book: Book) -> None:
        self._drivers = drivers
        self._policy = policy
        self._book = book
        self._pulls = Pulls(drivers, policy, book)
        self._foreign = Foreign(drivers, policy, book, self._pulls)
        self._refused: dict[Oid, Verdict] = {}
        self._state = State()
        self._tickets: dict[IssueId, Ticket] = {}
        self._events: deque[Event] = deque()
        self._ring = anyio.Event()
        self._green: dict[Oid, Verdict] = {}
        self._remember_greens()

    def _remember_greens(self) -> None:
        for subject in self._book.subjects():
            for fact in self._book.all(subject, "checks", "base_checks"):
                if fact.data["ok"] and fact.data.get("fingerprint") == self._drivers.checks_fingerprint:
                    verdict = Verdict(ok=True, why=str(fact.data["why"]), cached=True)
                    self._green[Oid(str(fact.data["tree"]))] = verdict

    async def submit(self, ticket: Ticket) -> Result:
        """Queue a change and wait for what becomes of it.

        Raises:
            Fault: what stood in the way of composing, judging or landing it; it may be submitted again.
        """
        issue = ticket.change.issue
        if (landed := await self.landed(issue)) is not None:
            return landed
        # No await from here to the queue: a withdrawal is either seen here, or comes behind the change.
        self._book.take_in()
        if self._is_unwanted(issue):
            return Gone()
        self._tickets[issue] = ticket
        self._tell(Enqueued(change=ticket.change, rank=ticket.rank))
        try:
            await ticket.done.wait()
        except BaseException:
            self._tell(Withdrawn(issue=issue))
            raise
        assert ticket.result is not None
        if isinstance(ticket.result, Fault):
            raise ticket.result
        return ticket.result

    def _is_unwanted(self, issue: IssueId) -> bool:
        said = self._book.last(issue, "cancelled", "rejected", "retry", "approved", "released", "landed")
        return said is not None and said.name in ("cancelled", "rejected", "landed")

    async def landed(self, issue: IssueId) -> Fact | None:
        """Look whether the issue has landed already, by us or by the forge, and record it."""
        return await self._landed_before(issue) or await self.merged_before(issue)

    async def _landed_before(self, issue: IssueId) -> Fact | None:
        """Look an intended landing up: a kill may have come between the deed and its fact."""
        if (fact := self._book.get(issue, "landed")) is not None:
            return fact
        for intent in reversed(self._book.all(issue, "landing")):
            commit, tree, base = (Oid(str(intent.data[key])) for key in ("candidate", "tree", "base"))
            if await self._drivers.trunk.holds(commit):
                candidate = Candidate(commit=commit, tree=tree, base=base)
                by = text(intent.data, "by") or "push"
                return await self._record_landing(issue, candidate, attempt=intent.number, by=by)
        return None

    async def merged_before(self, issue: IssueId) -> Fact | None:
        """Look whether the forge has merged the issue's pull request, by our wish or by a person's, and record it."""
        reviewing, pull = self._drivers.reviewing, self._pulls.of(issue)
        if (fact := self._book.get(issue, "landed")) is not None or reviewing is None or not pull:
            return fact
        fate = await reviewing.fate(pull)
        if fate.state != "merged" or fate.commit is None:
            return None
        return await self.found(issue, fate.commit)

    async def found(self, issue: IssueId, commit: Oid) -> Fact | None:
        """Record what somebody merged for an issue; None where the target does not show it."""
        published = self._book.last(issue, "published")
        assert published is not None
        return await self._record_merge(issue, commit, attempt=published.number)

    async def recover(self) -> None:
        """Record what landed and is not yet written down; take back what was handed over and nobody wants any more."""
        for subject in self._book.subjects():
            issue = IssueId(subject)
            if subject == RUN or await self._landed_before(issue) is not None:
                continue
            landed = await self.merged_before(issue)
            is_handed_over = any(text(intent.data, "by") == "forge" for intent in self._book.all(issue, "landing"))
            if landed is None and is_handed_over and self._is_unwanted(issue):
                await self._foreign.leave(issue)

    def withdraw(self, issue: IssueId) -> None:
        """Take an issue's change out, unless it is being landed already; `submit` tells what became of it."""
        self._tell(Withdrawn(issue=issue))

    def _tell(self, event: Event) -> None:
        self._events.append(event)
        self._ring.set()

    async def serve(self) -> None:
        """Answer events for ever."""
        while True:
            while self._events:
                decision = decide(self._state, self._events.popleft())
                self._state = decision.state
                for action in decision.actions:
                    await self._do(action)
            self._ring = anyio.Event()
            if not self._events:
                await self._ring.wait()

    async def _do(self, action: Action) -> None:
        # What came of an action is told behind what arrived meanwhile: a withdrawal counts before the next step, and
        # whoever arrived with a higher rank is seen before the next change is taken.
        match action:
            case Compose() | Judge() | JudgeBase() | Land():
                self._tell(await self._answer(action))
            case HandBack():
                self._settle(action.change.issue, action.because)
            case BlameBase():
                blamed = Blamed(verdict=action.verdict, base_verdict=action.base_verdict)
                self._settle(action.change.issue, blamed)
            case Accepted():
                landed = self._book.get(action.change.issue, "landed")
                assert landed is not None
                self._settle(action.change.issue, landed)
            case Dropped():
                self._settle(action.change.issue, Gone())

    async def _answer(self, action: Asking) -> Answer:
        assert self._state.testing is not None
        issue = self._state.testing.change.issue
        # A person's no counts from the moment it is written, not from when somebody happens to look.
        self._book.take_in()
        if isinstance(action, Land) and self._is_unwanted(issue):
            self._settle(issue, Gone())
            return Foundered()
        try:
            return await self._come_of(action)
        except Fault as fault:
            # It stands in the way of this change; whether it does of the next one is seen there.
            self._settle(issue, fault)
            return Foundered()

    async def _come_of(self, action: Asking) -> Answer:
        match action:
            case Compose():
                return await self._compose(action)
            case Judge():
                return Judged(verdict=await self._judge(action))
            case JudgeBase():
                return BaseJudged(verdict=await self._judge_base(action.base))
            case Land():
                return await self._land(action)

    def _settle(self, issue: IssueId, result: Result | Fault) -> None:
        ticket = self._tickets.pop(issue, None)
        if ticket is not None:
            ticket.result = result
            ticket.done.set()

    async def _compose(self, action: Compose) -> Composed | Clashed:
        (change,) = action.changes
        ticket = self._tickets.get(change.issue)
        onto = await self._drivers.trunk.tip()
        made = await self._drivers.trunk.compose(
            change.commit,
            onto=onto,
            style=self._policy.style,
            message=ticket.message if ticket else change.title,
            when=ticket.when if ticket else 0.0,
            edits=self._edits_of(change.issue),
        )
        if isinstance(made, Conflict):
            data: dict[str, Json] = {"base": onto, "paths": list(made.paths), "hunks": made.hunks}
            await self._next(change, "conflict", data)
            return Clashed(conflict=made)
        await self._next(change, "candidate", {"commit": made.commit, "tree": made.tree, "base": made.base})
        return Composed(candidate=made)

    def _edits_of(self, issue: IssueId) -> EditsOf | None:
        closing = self._drivers.closing_edits
        return None if closing is None else lambda read: closing(issue, read)

    async def _judge(self, action: Judge) -> Verdict:
        (change,) = action.changes
        if action.afresh and (refused := self._refused.get(action.candidate.commit)) is not None:
            return refused  # ours passed, and those of others do not run again by our asking
        known = None if action.afresh else self._green.get(action.candidate.tree)
        ticket = self._tickets.get(change.issue)
        verdict = known or await self._ask(action.candidate.commit, action.candidate.base, ticket)
        data = self._verdict_data(verdict, action.candidate.tree)
        await self._next(change, "checks", {**data, "again": action.afresh})
        if not verdict.ok:
            return verdict
        await self._pulls.passed(change)
        foreign = await self._foreign.judge(self._passage(change, action.candidate))
        if foreign is None or foreign.ok:
            return verdict
        self._refused[action.candidate.commit] = foreign
        return foreign

    def _passage(self, change: Change, candidate: Candidate) -> Passage:
        ticket = self._tickets.get(change.issue)
        return Passage(
            change=change,
            candidate=candidate,
            message=ticket.message if ticket else change.title,
            when=ticket.when if ticket else 0.0,
            is_wanted=lambda: self._is_wanted(change.issue),
        )

    def _is_wanted(self, issue: IssueId) -> bool:
        self._book.take_in()
        is_withdrawn = any(isinstance(event, Withdrawn) and event.issue == issue for event in self._events)
        return not is_withdrawn and not self._is_unwanted(issue)

    async def _judge_base(self, base: Oid) -> Verdict:
        tree = await self._drivers.trunk.tree(base)
        verdict = self._green.get(tree) or await self._ask(base, base, None)
        await self._book.add_another(RUN, "base_checks", self._verdict_data(verdict, tree))
        return verdict

    def _verdict_data(self, verdict: Verdict, tree: Oid) -> dict[str, Json]:
        if verdict.ok:
            self._green[tree] = Verdict(ok=True, why=verdict.why, cached=True)
        return {**verdict_json(verdict), "tree": tree, "fingerprint": self._drivers.checks_fingerprint}

    async def _ask(self, commit: Oid, base: Oid, ticket: Ticket | None) -> Verdict:
        if not self._policy.checks:
            return SKIPPED
        issue = ticket.issue if ticket else Issue(id=IssueId("target"), title="the target itself")
        return await self._drivers.checks.judge(Subject(issue=issue, commit=commit, base=base))

    async def wants_approval(self) -> str:
        """Say that the target wants approvals on the pull request before the forge merges it, "" where it does not."""
        return await self._foreign.wants_approval()

    async def judge_early(self, change: Change, ticket: Ticket) -> Verdict | Conflict | Blamed:
        """Judge a change on today's tip before a person is asked; a green answer is used again at the landing.

        Red is asked for once more, and then the tip itself, as in the queue.
        """
        onto = await self._drivers.trunk.tip()
        made = await self._drivers.trunk.compose(
            change.commit,
            onto=onto,
            style=self._policy.style,
            message=ticket.message,
            when=ticket.when,
            edits=self._edits_of(change.issue),
        )
        if isinstance(made, Conflict):
            return made
        verdict = self._green.get(made.tree)
        for again in () if verdict else (False, True):
            verdict = await self._ask(made.commit, onto, ticket)
            await self._next(change, "checks", {**self._verdict_data(verdict, made.tree), "again": again})
            if verdict.ok:
                break
        assert verdict is not None
        if verdict.ok:
            await self._pulls.passed(change)
        base = verdict if verdict.ok else await self._judge_base(onto)
        return verdict if base.ok else Blamed(verdict=verdict, base_verdict=base)

    async def _land(self, action: Land) -> Landed | Moved:
        (change,) = action.changes
        candidate = action.candidate
        assert candidate.tree in self._green, "a tree that no check passed on must not land"
        by = "forge" if await self._foreign.merges() else "push"
        said: dict[str, Json] = {"candidate": candidate.commit, "tree": candidate.tree, "base": candidate.base}
        await self._next(change, "landing", {**said, "by": by})
        if by == "forge":
            return await self._land_there(change, candidate)
        checkouts = await self._drivers.trunk.land(candidate)
        if checkouts is None:
            return Moved()
        await self._record_landing(change.issue, candidate, attempt=change.attempt, checkouts=checkouts)
        return Landed()

    async def _land_there(self, change: Change, candidate: Candidate) -> Landed | Moved:
        commit = await self._foreign.merge(self._passage(change, candidate), style=self._policy.style)
        if commit is None:
            return Moved()
        if await self._record_merge(change.issue, commit, attempt=change.attempt) is None:
            raise HostFault(
                f"{self._drivers.forge.name} says that it merged as {commit[:12]}, which is not on the target here",
                hint="try again when the remote shows it",
            )
        return Landed()

    async def _record_merge(self, issue: IssueId, commit: Oid, *, attempt: int) -> Fact | None:
        """Compare what the forge made of it with what was tested; another tree is tested now, and told."""
        trunk = self._drivers.trunk
        await trunk.tip(is_fresh=True)
        if not await trunk.holds(commit):
            return None
        tree, base = await trunk.tree(commit), await trunk.parent(commit)
        if tree not in self._green:
            verdict = await self._ask(commit, base, self._tickets.get(issue))
            data = {**self._verdict_data(verdict, tree), "again": False, "merged": True}
            await self._book.add_next(issue, "checks", attempt, data)
        candidate = Candidate(commit=commit, tree=tree, base=base)
        return await self._record_landing(issue, candidate, attempt=attempt, by="forge")

    async def _record_landing(
        self,
        issue: IssueId,
        candidate: Candidate,
        *,
        attempt: int,
        checkouts: tuple[str, ...] = (),
        by: str = "push",
    ) -> Fact:
        files = await self._drivers.trunk.files(candidate.base, candidate.commit)
        data: dict[str, Json] = {
            "commit": candidate.commit,
            "tree": candidate.tree,
            "base": candidate.base,
            "files": files_json(files),
            "checkouts": list(checkouts),
            "attempt": attempt,
            "by": by,
        }
        return await self._book.add(issue, "landed", data)

    async def _next(self, change: Change, name: str, data: Mapping[str, Json]) -> None:
        await self._book.add_next(change.issue, name, change.attempt, data)
