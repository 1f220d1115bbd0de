"""A lander on a target that is a line of names, with checks and a forge that answer what a test told them."""

from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Literal, cast

import anyio
import anyio.lowlevel

from luminaguard.engine.base import Drivers, EditsOf, Placement, Policy, Style
from luminaguard.engine.book import Book
from luminaguard.engine.doorway import Doorway
from luminaguard.engine.lander import Lander, Result, Ticket
from luminaguard.engine.pulls import Pulls
from luminaguard.engine.session import Session
from luminaguard.engine.slots import Movement, Slots
from luminaguard.forges.base import (
    CheckState,
    Fate,
    ForeignCheck,
    Forge,
    Merged,
    NotMerged,
    Pull,
    PullDraft,
    Remark,
    ReviewNote,
    Rules,
)
from luminaguard.gates.base import Subject
from luminaguard.journal.sqlite import SqliteJournal
from luminaguard.model.faults import HostFault, UserFault
from luminaguard.model.ids import IssueId, Oid, RunId
from luminaguard.model.issue import Issue
from luminaguard.model.plan import Plan
from luminaguard.model.work import Beside, Candidate, Change, Conflict, FileChange, Verdict
from luminaguard.planner.plan import plan
from luminaguard.reports import messages

RUN_ID = RunId("r1")
GREEN, RED = Verdict(ok=True, why="all checks passed"), Verdict(ok=False, why="`make test` failed", log="assert")


class LineTrunk:
    """A target as a line of names: each commit is told by what is on it."""

    def __init__(self) -> None:
        self.history = [Oid("base")]
        self.clashing: set[str] = set()
        self.moves: list[Oid] = []
        self.fault: HostFault | UserFault | None = None
        self.shown: list[tuple[str, Oid]] = []

    async def tip(self, *, is_fresh: bool = False) -> Oid:
        await anyio.lowlevel.checkpoint()
        if self.fault is not None:
            raise self.fault
        return self.history[-1]

    async def compose(
        self, change: Oid, *, onto: Oid, style: Style, message: str, when: float, edits: EditsOf | None = None
    ) -> Candidate | Conflict:
        await anyio.lowlevel.checkpoint()
        if change in self.clashing:
            return Conflict(base=onto, paths=("a.txt",), hunks="<<<<<<<")
        return Candidate(commit=Oid(f"{onto}+{change}"), tree=Oid(f"tree of {onto}+{change}"), base=onto)

    async def land(self, candidate: Candidate) -> tuple[str, ...] | None:
        await anyio.lowlevel.checkpoint()
        if self.moves:
            self.history.append(self.moves.pop())
        if self.history[-1] != candidate.base:
            return None
        self.history.append(candidate.commit)
        return ()

    async def holds(self, commit: Oid) -> bool:
        await anyio.lowlevel.checkpoint()
        return commit in self.history

    async def files(self, older: Oid, newer: Oid) -> tuple[FileChange, ...]:
        return (FileChange(path="a.txt", added=1, removed=0),)

    async def tree(self, commit: Oid) -> Oid:
        return Oid(f"tree of {commit}")

    async def beside(self) -> Beside | None:
        return None

    async def catch_up(self) -> tuple[str, ...]:
        return ()

    async def first_parents(self, older: Oid) -> tuple[tuple[Oid, Oid], ...]:
        return ()

    async def is_in(self, older: Oid, newer: Oid) -> bool:
        return older in (self.history[0], newer) or older in newer.split("+")

    async def is_related(self, one: Oid, other: Oid) -> bool:
        return True

    async def fork(self, one: Oid, other: Oid) -> Oid:
        return other

    async def branch(self, name: str) -> Oid | None:
        return None

    async def of_others(self, branch: str, commit: Oid, *, ours: AbstractSet[Oid] = frozenset()) -> Oid | None:
        return None

    async def publish(self, branch: str, commit: Oid) -> str:
        self.shown.append((branch, commit))
        return ""

    async def stage(self, commit: Oid, *, branch: str) -> None:
        self.shown.append((branch, commit))

    async def remove_branch(self, branch: str, *, commit: Oid) -> str:
        return ""

    async def parent(self, commit: Oid) -> Oid:
        return self.history[self.history.index(commit) - 1]


@dataclass
class SaidChecks:
    """Answers as it was told, change by change; held where a test says so."""

    name: str = "checks"
    answers: dict[str, list[Verdict | HostFault]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    held: dict[str, anyio.Event] = field(default_factory=dict)
    begun: dict[str, anyio.Event] = field(default_factory=dict)

    def missing(self) -> str | None:
        return None

    async def judge(self, subject: Subject) -> Verdict:
        what = str(subject.commit.rpartition("+")[2])
        self.asked.append(what)
        self.begun.setdefault(what, anyio.Event()).set()
        if what in self.held:
            await self.held[what].wait()
        await anyio.lowlevel.checkpoint()
        answers = self.answers.get(what, [])
        answer = answers.pop(0) if answers else GREEN
        if isinstance(answer, HostFault):
            raise answer
        return answer


@dataclass
class SaidForge:
    """A forge with rules, whose checks and merges come out as a test says, look by look; the last answer stays."""

    trunk: LineTrunk
    name: str = "saidforge"
    demands: Rules = field(default_factory=Rules)
    looks: list[tuple[ForeignCheck, ...]] = field(default_factory=list)
    outcomes: list[Merged | NotMerged] = field(default_factory=list)
    done: Oid | None = None
    reported: list[tuple[Oid, str, CheckState]] = field(default_factory=list)
    drafts: list[PullDraft] = field(default_factory=list)
    asked: list[Oid] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    waits: anyio.Event = field(default_factory=anyio.Event)

    async def rules(self, target: str) -> Rules:
        return self.demands

    async def report_check(self, commit: Oid, *, name: str, state: CheckState, text: str) -> None:
        self.reported.append((commit, name, state))

    async def checks(self, commit: Oid) -> tuple[ForeignCheck, ...]:
        self.asked.append(commit)
        self.waits.set()
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    async def merge(
        self, pull: str, *, head: Oid, style: Literal["squash", "merge"], message: str
    ) -> Merged | NotMerged:
        self.asked.append(head)
        self.waits.set()
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Merged):
            self.did(outcome.commit)
        return outcome

    def did(self, commit: Oid) -> None:
        self.done = commit
        self.trunk.history.append(commit)

    async def fate(self, pull: str) -> Fate:
        return Fate(state="merged", commit=self.done) if self.done else Fate(state="open")

    async def leave(self, pull: str) -> None:
        self.left.append(pull)

    async def post_review(self, pull: str, note: ReviewNote) -> None:
        raise AssertionError(note)

    async def remarks(self, pull: str) -> tuple[Remark, ...]:
        return ()

    async def open_pull(self, draft: PullDraft) -> Pull:
        self.drafts.append(draft)
        return Pull(id="7", branch=draft.branch, issue=draft.issue, title=draft.title, body=draft.body)


@dataclass
class Scene:
    journal: SqliteJournal
    trunk: LineTrunk = field(default_factory=LineTrunk)
    checks: SaidChecks = field(default_factory=SaidChecks)
    commands: tuple[str, ...] = ("make test",)
    said: SaidForge | None = None
    wait_minutes: float = 1.0
    can_merge: bool = True

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        """Begin, or begin again after a kill: only the journal and the trunk are as they were."""
        drivers = Drivers(
            journal=self.journal,
            forge=cast("Forge", None),
            trunk=self.trunk,
            placement=cast("Placement", None),
            checks=self.checks,
            checks_fingerprint="same",
            review=None,
            messages=messages,
        )
        if self.said is not None:
            forge = cast("Forge", self.said)
            merging = self.said if self.can_merge else None
            drivers = replace(drivers, forge=forge, checking=self.said, merging=merging, reviewing=self.said)
        self.policy = Policy(
            target="main",
            slots=4,
            agent="a",
            attempts=3,
            minutes_per_issue=60,
            style="squash",
            human=False,
            checks=self.commands,
            trusted=lambda _author, _association: True,
            drafts=self.said is not None,
            wait_minutes=self.wait_minutes,
            poll_s=0.01,
        )
        self.book = Book(self.journal, RUN_ID)
        self.lander = Lander(drivers, self.policy, self.book)
        self.session = Session(
            drivers=drivers,
            policy=self.policy,
            book=self.book,
            lander=self.lander,
            pulls=Pulls(drivers, self.policy, self.book),
            doorway=Doorway(None, self.policy, self.book),
            slots=Slots(1),
            movement=Movement(),
            landed={},
        )

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(self.lander.serve)
                yield
                group.cancel_scope.cancel()

    async def submit(self, issue: str, *, rank: float = 1.0, attempt: int = 1) -> Result:
        change = Change(issue=IssueId(issue), attempt=attempt, commit=Oid(f"c{issue}"), title=issue)
        ticket = Ticket(change=change, issue=Issue(id=IssueId(issue), title=issue), message=issue, when=1e9, rank=rank)
        return await self.lander.submit(ticket)

    async def submitted(self, *issues: str, ranks: Sequence[float] = ()) -> dict[str, Result]:
        results: dict[str, Result] = {}

        async def one(issue: str, rank: float) -> None:
            results[issue] = await self.submit(issue, rank=rank)

        async with anyio.create_task_group() as group:
            for issue, rank in zip(issues, ranks or [1.0] * len(issues), strict=True):
                group.start_soon(one, issue, rank)
        return results

    async def say(self, issue: str, kind: str) -> None:
        await self.book.add(issue, kind, {"by": "me"})
        if kind.partition(":")[0] in ("cancelled", "rejected"):
            self.lander.withdraw(IssueId(issue))

    def kinds(self, issue: str) -> list[str]:
        return [fact.kind for fact in self.book.all(issue)]


def issue_planned(*issues: str) -> Plan:
    """A plan of open issues that need nothing."""
    asked = [Issue(id=IssueId(issue), title=f"Issue {issue}", body="") for issue in issues]
    return plan(asked, base=Oid("base"), tracked=frozenset(), present={}, slots=1)
