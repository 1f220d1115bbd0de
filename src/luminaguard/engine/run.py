"""A session of a run: every issue as far as it goes, then the proof that what was said is so."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from luminaguard.engine.base import Drivers, Policy
from luminaguard.engine.book import Book
from luminaguard.engine.doorway import Doorway
from luminaguard.engine.herald import Herald, last_words
from luminaguard.engine.lander import Lander
from luminaguard.engine.pulls import Pulls
from luminaguard.engine.record import issue_json, number, text, texts
from luminaguard.engine.remarks import Ear
from luminaguard.engine.session import Session
from luminaguard.engine.slots import Movement, Slots
from luminaguard.engine.task import Task
from luminaguard.engine.verify import verify
from luminaguard.model.facts import RUN, Fact
from luminaguard.model.ids import IssueId, Json, RunId, natural
from luminaguard.model.plan import Plan, PlannedIssue
from luminaguard.planner.schedule import remaining_path

LONGEST_NAME = 50
LAST_WORDS_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a session is asked to do: the plan's issues, in a run that may have begun before.

    `about` goes into the `started` fact as it is; `session` into this session's. `closed` names issues that the
    tracker says are closed, so that nobody works on what somebody else has done. With `arrivals` the session goes on
    for ever: it waits there for plans with more issues, and calls `proven` each time when all is done that can be.
    """

    run: RunId
    plan: Plan
    about: Mapping[str, Json]
    session: Mapping[str, Json]
    closed: frozenset[IssueId] = frozenset()
    arrivals: Callable[[], Awaitable["Arrived"]] | None = None
    proven: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A later plan, and what the tracker says is closed by then."""

    plan: Plan
    closed: frozenset[IssueId] = frozenset()


async def run_session(drivers: Drivers, policy: Policy, request: Request) -> bool:
    """Work until everything that was asked for is landed, or waits for a person; say whether all of it landed.

    Call it with the orchestrator's lock held. Killed at any point and called again, it goes on.
    """
    book = Book(drivers.journal, request.run)
    await book.add(RUN, "started", request.about)
    asked = await _open(book, request.plan, request.closed)
    session = len(book.all(RUN, "session")) + 1
    await book.add(RUN, f"session:{session}", {**request.session, "asked": list(asked)})
    outcome = "interrupted"
    work = _Work(drivers, policy, book, request, session=session)
    try:
        await drivers.trunk.catch_up()
        is_done = await work.until_still(asked)
        outcome = "done" if is_done else "held"
    finally:
        with anyio.move_on_after(5, shield=True):
            notes: list[Json] = [*drivers.ledger.notes(request.run)] if drivers.ledger else []
            await book.add(
                RUN, f"session_ended:{session}", {"outcome": outcome, "notes": notes, "told": work.told_up_to}
            )
    return is_done


async def _open(book: Book, plan: Plan, closed: frozenset[IssueId]) -> tuple[IssueId, ...]:
    """Write what is planned; name the issues of this session, those that an earlier plan of the run holds included."""
    waves = {issue: number for number, wave in enumerate(plan.waves, start=1) for issue in wave}
    async with anyio.create_task_group() as group:
        for planned in plan.issues:
            group.start_soon(book.add, planned.issue.id, "planned", _planned(planned, waves[planned.issue.id]))
        for subject in book.subjects():
            word = book.last(subject, "landed", "cancelled", "retry")
            is_over = word is not None and word.name != "retry"
            if IssueId(subject) in closed and not is_over:
                count = len(book.all(subject, "cancelled")) + 1
                group.start_soon(book.add, subject, f"cancelled:{count}", {"by": "the tracker: it is closed there"})
    asked = {it.issue.id for it in plan.issues}
    asked |= _needs_of(book, asked)
    asked |= {IssueId(it) for it in book.subjects() if book.get(it, "landed") and not _is_proven(book, it)}
    return tuple(sorted(asked, key=natural))


def _is_proven(book: Book, subject: str) -> bool:
    """Tell whether what landed is closed, and verified by a session that came to its end.

    The tracker may know an issue as closed before we have written it down, and then nobody plans it any more.
    """
    last = book.last(RUN, "session", "session_ended")
    was_cut_short = last is not None and (last.name == "session" or text(last.data, "outcome") == "interrupted")
    return book.get(subject, "closed") is not None and not was_cut_short


def _needs_of(book: Book, issues: set[IssueId]) -> set[IssueId]:
    found: set[IssueId] = set()
    todo = list(issues)
    while todo:
        planned = book.get(todo.pop(), "planned")
        assert planned is not None
        fresh = set(map(IssueId, texts(planned.data, "needs"))) - found
        found |= fresh
        todo.extend(fresh)
    return found


def _planned(planned: PlannedIssue, wave: int) -> dict[str, Json]:
    issue = planned.issue
    return {
        "title": issue.title,
        "kind": planned.kind,
        "needs": list(planned.needs),
        "wave": wave,
        "estimate_s": planned.estimate_s,
        "priority": issue.priority,
        "risk": planned.risk,
        "branch": planned.present.branch or branch_of(issue.id),
        "deliverables": list(planned.deliverables),
        "issue": issue_json(issue),
    }


def branch_of(issue: IssueId) -> str:
    """Name an issue's work branch."""
    safe = "".join(char if char.isalnum() or char in "-_." else "-" for char in issue)[:LONGEST_NAME].strip(".-")
    safe = safe.replace("..", ".")
    if safe and safe == issue and not issue.endswith(".lock"):
        return f"feature/issue-{issue}"
    # '+' stands in no name that was taken as it is, so no two issues ever share a branch.
    told_apart = hashlib.sha256(issue.encode(errors="surrogatepass")).hexdigest()[:12]
    return f"feature/issue-{safe}+{told_apart}"


class _Work:
    """The tasks of a session, and those who serve them."""

    def __init__(self, drivers: Drivers, policy: Policy, book: Book, request: Request, *, session: int) -> None:
        self._drivers = drivers
        self._book = book
        self._request = request
        self._number = session
        self._verified = 0
        lander = Lander(drivers, policy, book)
        self._session = Session(
            drivers=drivers,
            policy=policy,
            book=book,
            lander=lander,
            pulls=Pulls(drivers, policy, book),
            doorway=Doorway(drivers.ledger, policy, book),
            slots=Slots(policy.slots),
            movement=Movement(),
            landed={},
        )
        self._herald = _herald(drivers, book)
        reviewing = drivers.reviewing
        self._ear = Ear(reviewing, policy, book, lander.withdraw) if reviewing else None

    async def until_still(self, asked: tuple[IssueId, ...]) -> bool:
        """Work until nothing moves any more; with arrivals for ever. Say whether all landed, proven and closed."""
        await self._session.lander.recover()
        tasks = self._tasks(asked, self._request.closed)
        if all(task.is_finished for task in tasks) and self._request.arrivals is None:
            await self._tell()
            return await self._prove(asked)
        if self._ear is not None:
            await self._ear.take_in()
        async with anyio.create_task_group() as group:
            self._serve(group)
            self._start(group, tasks)
            if self._request.arrivals is not None:
                group.start_soon(self._take_in_arrivals, group, self._request.arrivals)
                await self._watch()
            await self._session.movement.all_still()
            await self._tell()
            group.cancel_scope.cancel()
        return await self._prove(asked)

    @property
    def told_up_to(self) -> int:
        """The seq up to which the forge was told of all."""
        return self._herald.told_up_to if self._herald else 0

    async def _tell(self) -> None:
        if self._herald is not None:
            await last_words(self._herald, within_s=LAST_WORDS_S)

    def _serve(self, group: TaskGroup) -> None:
        group.start_soon(self._session.lander.serve)
        group.start_soon(self._book.follow, self._told)
        group.start_soon(self._session.doorway.watch)
        if self._herald is not None:
            group.start_soon(self._herald.serve)
        if self._ear is not None:
            group.start_soon(self._ear.listen)

    def _told(self, fact: Fact) -> None:
        if fact.name == "cancelled":
            self._drivers.placement.stop(self._book.run, IssueId(fact.subject))
        if fact.name in ("cancelled", "rejected"):
            self._session.lander.withdraw(IssueId(fact.subject))
        self._session.doorway.told(fact)

    def _tasks(self, asked: Sequence[IssueId], closed: frozenset[IssueId]) -> list[Task]:
        """Make the tasks of issues that have none yet."""
        book, landed = self._book, self._session.landed
        fresh = [issue for issue in asked if issue not in landed]
        for issue in fresh:
            landed[issue] = anyio.Event()
        for issue, event in landed.items():
            # What somebody else has closed is there as well for those that need it.
            if book.get(issue, "landed") is not None or issue in closed:
                event.set()
        ranks = _ranks(book, asked)
        return [Task(self._session, issue, rank=ranks[issue]) for issue in fresh]

    def _start(self, group: TaskGroup, tasks: Sequence[Task]) -> None:
        # Agents that are still at work from before get the first slots: otherwise more than `slots` would be.
        for task in sorted(tasks, key=lambda task: (not task.is_under_way, -task.rank, natural(task.id))):
            group.start_soon(task.run)

    async def _take_in_arrivals(self, group: TaskGroup, arrivals: Callable[[], Awaitable[Arrived]]) -> None:
        while True:
            arrived = await arrivals()
            asked = await _open(self._book, arrived.plan, arrived.closed)
            self._start(group, self._tasks(asked, arrived.closed))

    async def _watch(self) -> None:
        """Prove for ever what landed, each time that nothing moves."""
        while True:
            await self._session.movement.all_still()
            await self._tell()
            await self._drivers.trunk.catch_up()
            landed = sum(self._book.get(issue, "closed") is not None for issue in self._session.landed)
            if landed > self._verified:
                self._verified = landed
                await self._prove(tuple(self._session.landed))
            await self._session.movement.stirred()

    async def _prove(self, asked: tuple[IssueId, ...]) -> bool:
        await self._drivers.trunk.catch_up()
        is_proven = await verify(self._drivers, self._book, asked, session=self._number)
        if self._request.proven is not None:
            await self._request.proven()
        return is_proven and all(self._book.get(it, "landed") or it in self._request.closed for it in asked)


def _herald(drivers: Drivers, book: Book) -> Herald | None:
    has_ears = drivers.reviewing or drivers.checking or drivers.commenting
    return Herald(drivers, book) if has_ears else None


def _ranks(book: Book, asked: Sequence[IssueId]) -> dict[IssueId, float]:
    planned = {issue: fact.data for issue in asked if (fact := book.get(issue, "planned")) is not None}
    needs = {issue: frozenset(map(IssueId, texts(data, "needs"))) for issue, data in planned.items()}
    return remaining_path(needs, {issue: number(data, "estimate_s") for issue, data in planned.items()})
