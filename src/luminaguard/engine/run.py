"""A session of a run: every issue as far as it goes, then the proof that what was said is so."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import anyio

from luminaguard.engine.base import Drivers, Policy
from luminaguard.engine.book import Book
from luminaguard.engine.doorway import Doorway
from luminaguard.engine.herald import Herald, last_words
from luminaguard.engine.lander import Lander
from luminaguard.engine.record import issue_json, number, text, texts
from luminaguard.engine.slots import Movement, Slots
from luminaguard.engine.task import Session, Task
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
    tracker says are closed, so that nobody works on what somebody else has done.
    """

    run: RunId
    plan: Plan
    about: Mapping[str, Json]
    session: Mapping[str, Json]
    closed: frozenset[IssueId] = frozenset()


async def run_session(drivers: Drivers, policy: Policy, request: Request) -> bool:
    """Work until everything that was asked for is landed, or waits for a person; say whether all of it landed.

    Call it with the orchestrator's lock held. Killed at any point and called again, it goes on.
    """
    book = Book(drivers.journal, request.run)
    asked = await _open(book, request)
    session = len(book.all(RUN, "session")) + 1
    await book.add(RUN, f"session:{session}", {**request.session, "asked": list(asked)})
    outcome = "interrupted"
    try:
        await drivers.trunk.catch_up()
        await _work(drivers, policy, book, asked, closed=request.closed)
        await drivers.trunk.catch_up()
        is_proven = await verify(drivers, book, asked, session=session)
        is_done = is_proven and all(book.get(issue, "landed") or issue in request.closed for issue in asked)
        outcome = "done" if is_done else "held"
    finally:
        with anyio.move_on_after(5, shield=True):
            notes: list[Json] = [*drivers.ledger.notes(request.run)] if drivers.ledger else []
            await book.add(RUN, f"session_ended:{session}", {"outcome": outcome, "notes": notes})
    return is_done


async def _open(book: Book, request: Request) -> tuple[IssueId, ...]:
    """Write what is planned; name the issues of this session, those that an earlier plan of the run holds included."""
    await book.add(RUN, "started", request.about)
    waves = {issue: number for number, wave in enumerate(request.plan.waves, start=1) for issue in wave}
    async with anyio.create_task_group() as group:
        for planned in request.plan.issues:
            group.start_soon(book.add, planned.issue.id, "planned", _planned(planned, waves[planned.issue.id]))
        for subject in book.subjects():
            word = book.last(subject, "landed", "cancelled", "retry")
            is_over = word is not None and word.name != "retry"
            if IssueId(subject) in request.closed and not is_over:
                count = len(book.all(subject, "cancelled")) + 1
                group.start_soon(book.add, subject, f"cancelled:{count}", {"by": "the tracker: it is closed there"})
    asked = {it.issue.id for it in request.plan.issues}
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


async def _work(
    drivers: Drivers, policy: Policy, book: Book, asked: tuple[IssueId, ...], *, closed: frozenset[IssueId]
) -> None:
    lander = Lander(drivers, policy, book)
    await lander.recover()
    landed = {issue: anyio.Event() for issue in asked}
    doorway = Doorway(drivers.ledger, policy, book)
    session = Session(
        drivers=drivers,
        policy=policy,
        book=book,
        lander=lander,
        doorway=doorway,
        slots=Slots(policy.slots),
        movement=Movement(),
        landed=landed,
    )
    for issue in asked:
        # What somebody else has closed is there as well for those that need it.
        if book.get(issue, "landed") is not None or issue in closed:
            landed[issue].set()
    ranks = _ranks(book, asked)
    tasks = [Task(session, issue, rank=ranks[issue]) for issue in asked]
    if all(task.is_finished for task in tasks):
        return

    def told(fact: Fact) -> None:
        if fact.name == "cancelled":
            drivers.placement.stop(book.run, IssueId(fact.subject))
        if fact.name in ("cancelled", "rejected"):
            lander.withdraw(IssueId(fact.subject))
        doorway.told(fact)

    # Agents that are still at work from before get the first slots: otherwise more than `slots` would be.
    async with anyio.create_task_group() as group:
        group.start_soon(lander.serve)
        group.start_soon(book.follow, told)
        group.start_soon(doorway.watch)
        if (herald := _herald(drivers, book)) is not None:
            group.start_soon(herald.serve)
        for task in sorted(tasks, key=lambda task: (not task.is_under_way, -ranks[task.id], natural(task.id))):
            group.start_soon(task.run)
        await session.movement.all_still()
        if herald is not None:
            await last_words(herald, within_s=LAST_WORDS_S)
        group.cancel_scope.cancel()


def _herald(drivers: Drivers, book: Book) -> Herald | None:
    has_ears = drivers.reviewing or drivers.checking or drivers.commenting
    return Herald(drivers, book) if has_ears else None


def _ranks(book: Book, asked: tuple[IssueId, ...]) -> dict[IssueId, float]:
    planned = {issue: fact.data for issue in asked if (fact := book.get(issue, "planned")) is not None}
    needs = {issue: frozenset(map(IssueId, texts(data, "needs"))) for issue, data in planned.items()}
    return remaining_path(needs, {issue: number(data, "estimate_s") for issue, data in planned.items()})
