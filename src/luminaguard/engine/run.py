"""A session of a run: every issue as far as it goes, then the proof that what was said is so."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from luminaguard.engine.base import Drivers, Policy
from luminaguard.engine.book import Book
from luminaguard.engine.doorway import Doorway
from luminaguard.engine.herald import Herald, last_words
from luminaguard.engine.lander import Lander
from luminaguard.engine.opening import asked_of, write_closed, write_plan
from luminaguard.engine.pulls import Pulls
from luminaguard.engine.record import number, texts
from luminaguard.engine.remarks import Ear
from luminaguard.engine.session import Session
from luminaguard.engine.slots import Movement, Slots
from luminaguard.engine.task import Task
from luminaguard.engine.verify import verify
from luminaguard.engine.words import is_over
from luminaguard.model.facts import RUN, Fact
from luminaguard.model.faults import Fault
from luminaguard.model.ids import IssueId, Json, RunId, natural
from luminaguard.model.plan import Plan
from luminaguard.planner.schedule import remaining_path

LAST_WORDS_S = 60.0
ASK_EVERY_S = 0.5


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
    await write_plan(book, request.plan)
    session = len(book.all(RUN, "session")) + 1
    await book.add(RUN, f"session:{session}", {**request.session, "asked": list(asked_of(book, request.plan))})
    outcome = "interrupted"
    work = _Work(drivers, policy, book, request, session=session)
    try:
        await drivers.trunk.catch_up()
        is_done = await work.until_still()
        outcome = "done" if is_done else "held"
    finally:
        with anyio.move_on_after(5, shield=True):
            notes: list[Json] = [*drivers.ledger.notes(request.run)] if drivers.ledger else []
            ended: dict[str, Json] = {"outcome": outcome, "notes": notes, "told": work.told_up_to}
            await book.add(RUN, f"session_ended:{session}", ended)
    return is_done


class _Work:
    """The tasks of a session, and those who serve them."""

    def __init__(self, drivers: Drivers, policy: Policy, book: Book, request: Request, *, session: int) -> None:
        self._drivers = drivers
        self._policy = policy
        self._book = book
        self._request = request
        self._number = session
        self._at_work: set[IssueId] = set()
        self._proven: set[IssueId] = set()
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
        self._ear = Ear(drivers.reviewing, policy, book, lander, self._told) if drivers.reviewing else None

    async def until_still(self) -> bool:
        """Work until nothing moves any more; with arrivals for ever. Say whether all landed, proven and closed."""
        # What was merged closed its issue: that is looked up before an issue that is closed counts as nobody's wish.
        await self._session.lander.recover()
        asked, tasks = await self._taken_in(self._request.plan, self._request.closed)
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
        group.start_soon(self._stop_unwanted)
        group.start_soon(self._session.doorway.watch)
        if self._herald is not None:
            group.start_soon(self._herald.serve)
        if self._ear is not None:
            group.start_soon(self._ear.listen)

    def _told(self, fact: Fact) -> None:
        """Let an agent stop, and a change leave the queue, that nobody wants any more."""
        if fact.name in ("cancelled", "landed"):
            self._drivers.placement.stop(self._book.run, IssueId(fact.subject))
        if fact.name in ("cancelled", "rejected", "landed"):
            self._session.lander.withdraw(IssueId(fact.subject))
        self._session.doorway.told(fact)

    async def _stop_unwanted(self) -> None:
        """Ask for ever: an agent that was about to start when nobody wanted it any more was not there to be asked."""
        while True:
            await anyio.sleep(ASK_EVERY_S)
            for issue in self._at_work:
                if is_over(self._book, issue):
                    self._drivers.placement.stop(self._book.run, issue)

    async def _taken_in(self, plan: Plan, closed: frozenset[IssueId]) -> tuple[tuple[IssueId, ...], list[Task]]:
        """Write down what was closed; give who is asked for, and the tasks of those that have none at work."""
        for fact in await write_closed(self._book, closed):
            self._told(fact)
        asked = asked_of(self._book, plan)
        landed = self._session.landed
        for issue in asked:
            landed.setdefault(issue, anyio.Event())
        for issue, event in landed.items():
            # What somebody else has closed is there as well for those that need it.
            if self._book.get(issue, "landed") is not None or issue in closed:
                event.set()
        ranks = _ranks(self._book, asked)
        return asked, [Task(self._session, it, rank=ranks[it]) for it in asked if it not in self._at_work]

    def _start(self, group: TaskGroup, tasks: Sequence[Task]) -> None:
        # Agents that are still at work from before get the first slots: otherwise more than `slots` would be.
        for task in sorted(tasks, key=lambda task: (not task.is_under_way, -task.rank, natural(task.id))):
            self._at_work.add(task.id)
            group.start_soon(self._run, task)

    async def _run(self, task: Task) -> None:
        await task.run()
        self._at_work.discard(task.id)

    async def _take_in_arrivals(self, group: TaskGroup, arrivals: Callable[[], Awaitable[Arrived]]) -> None:
        while True:
            arrived = await arrivals()
            await write_plan(self._book, arrived.plan)
            merged = [it for it in arrived.closed if it in self._at_work and await self._has_merged(it)]
            _, tasks = await self._taken_in(arrived.plan, arrived.closed.difference(merged))
            self._start(group, tasks)

    async def _has_merged(self, issue: IssueId) -> bool:
        """Tell whether a merge closed the issue, and so none of it is nobody's wish; a doubt counts as one."""
        try:
            landed = await self._session.lander.merged_before(issue)
        except Fault:
            return True
        if landed is not None:
            self._told(landed)
        return landed is not None

    async def _watch(self) -> None:
        """Prove for ever what landed, each time that nothing moves."""
        movement = self._session.movement
        while True:
            await movement.all_still()
            stirs = movement.stirs
            await self._tell()
            closed = {it for it in self._session.landed if self._book.get(it, "closed") is not None}
            if (fresh := closed - self._proven) and await self._prove(tuple(sorted(fresh, key=natural))):
                self._proven |= fresh
            await movement.stirred(since=stirs)

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
