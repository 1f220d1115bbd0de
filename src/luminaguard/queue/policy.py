"""The merge queue's decisions, without its deeds: feed it events, do what it says, feed it what came of that.

One change is tested at a time, on the tip that it would land on. The events and actions name sets of changes where a
window of several will come, so that the policy can grow without its callers.
"""

from dataclasses import dataclass, field, replace

from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.work import Candidate, Change, Conflict, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A change in the queue. Higher `rank` goes first, `arrival` decides between equals."""

    change: Change
    rank: float
    arrival: int


# Events: what happened.


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueued:
    """A change wants to land."""

    change: Change
    rank: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """A person or a fault took an issue's change out; one under test goes when what it waits for is answered."""

    issue: IssueId


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """The candidate that was asked for stands."""

    candidate: Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Clashed:
    """The change does not fit the target."""

    conflict: Conflict


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The checks answered for the candidate under test."""

    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseJudged:
    """The checks answered for the tree that the candidate stands on."""

    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """The candidate is the target's tip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Somebody else moved the target first; nothing was landed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundered:
    """What was asked for could not be done: a fault of the machine, for which the change is not to blame."""


Answer = Composed | Clashed | Judged | BaseJudged | Landed | Moved | Foundered
"""What came of an action."""

Event = Enqueued | Withdrawn | Answer


# Actions: what to do now.


@dataclass(frozen=True, slots=True, kw_only=True)
class Compose:
    """Make the candidate of these changes, in order, on the target's tip."""

    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Run the checks on the candidate; `afresh` even where a verdict is known."""

    changes: tuple[Change, ...]
    candidate: Candidate
    afresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeBase:
    """Find out whether the target itself passes the checks."""

    base: Oid


@dataclass(frozen=True, slots=True, kw_only=True)
class Land:
    """Make the candidate the target's tip, if the target still is where the candidate stands on."""

    changes: tuple[Change, ...]
    candidate: Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class HandBack:
    """The change must be mended by its author: it clashes, or it fails where its base passes."""

    change: Change
    because: Conflict | Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class BlameBase:
    """The change fails, but so does the target without it: a person must look."""

    change: Change
    verdict: Verdict
    base_verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The change landed."""

    change: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """The change was withdrawn, or the machine failed it, before it could land."""

    change: Change


Asking = Compose | Judge | JudgeBase | Land
"""The actions that something comes of."""

Action = Asking | HandBack | BlameBase | Accepted | Dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The queue between two events. `first_red` is the verdict that the second run of the same tree is held against.

    `is_withdrawn` says that the change under test is not wanted any more: it goes when what it waits for is answered,
    because an answer does not say whom it is about. `asked` is the action whose answer the state waits for.
    """

    waiting: tuple[Entry, ...] = ()
    arrivals: int = 0
    testing: Entry | None = None
    candidate: Candidate | None = None
    first_red: Verdict | None = None
    red: Verdict | None = None
    is_withdrawn: bool = False
    asked: Asking | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The new state, and what to do in order."""

    state: State
    actions: tuple[Action, ...] = field(default=())


def decide(state: State, event: Event) -> Decision:
    """Answer an event. Never raises; an event that the state does not wait for changes nothing."""
    if not _is_awaited(state, event):
        return Decision(state=state)
    decision = _decide(state, event)
    asked = next((action for action in decision.actions if isinstance(action, Asking)), None)
    return replace(decision, state=replace(decision.state, asked=asked)) if asked else decision


def _is_awaited(state: State, event: Event) -> bool:
    match event:
        case Enqueued() | Withdrawn():
            return True
        case Composed() | Clashed():
            return isinstance(state.asked, Compose)
        case Judged():
            return isinstance(state.asked, Judge)
        case BaseJudged():
            return isinstance(state.asked, JudgeBase)
        case Landed() | Moved():
            return isinstance(state.asked, Land)
        case Foundered():
            return state.asked is not None


def _decide(state: State, event: Event) -> Decision:
    match event:
        case Enqueued():
            return _enqueue(state, event)
        case Withdrawn():
            return _withdraw(state, event.issue)
        case _ if state.testing is None:
            return Decision(state=state)
        case Landed():
            return _next(state, Accepted(change=state.testing.change))
        case _ if state.is_withdrawn:
            return _next(state, Dropped(change=state.testing.change))
        case _:
            return _go_on(state, state.testing, event)


def _go_on(
    state: State, testing: Entry, answer: Composed | Clashed | Judged | BaseJudged | Moved | Foundered
) -> Decision:
    match answer:
        case Composed():
            asked = Judge(changes=(testing.change,), candidate=answer.candidate)
            return Decision(state=replace(state, candidate=answer.candidate), actions=(asked,))
        case Clashed():
            return _next(state, HandBack(change=testing.change, because=answer.conflict))
        case Judged():
            return _judged(state, testing, answer.verdict)
        case BaseJudged():
            return _base_judged(state, testing, answer.verdict)
        case Moved():
            afresh = replace(state, candidate=None, first_red=None, red=None)
            return Decision(state=afresh, actions=(Compose(changes=(testing.change,)),))
        case Foundered():
            return _next(state, Dropped(change=testing.change))


def _enqueue(state: State, event: Enqueued) -> Decision:
    entry = Entry(change=event.change, rank=event.rank, arrival=state.arrivals)
    waiting = sorted((*state.waiting, entry), key=lambda entry: (-entry.rank, entry.arrival))
    state = replace(state, waiting=tuple(waiting), arrivals=state.arrivals + 1)
    return _next(state) if state.testing is None else Decision(state=state)


def _withdraw(state: State, issue: IssueId) -> Decision:
    gone = tuple(Dropped(change=entry.change) for entry in state.waiting if entry.change.issue == issue)
    kept = tuple(entry for entry in state.waiting if entry.change.issue != issue)
    is_tested = state.testing is not None and state.testing.change.issue == issue
    return Decision(state=replace(state, waiting=kept, is_withdrawn=state.is_withdrawn or is_tested), actions=gone)


def _next(state: State, *settled: Action) -> Decision:
    clean = State(waiting=state.waiting, arrivals=state.arrivals)
    if not clean.waiting:
        return Decision(state=clean, actions=settled)
    first, *rest = clean.waiting
    taken = replace(clean, testing=first, waiting=tuple(rest))
    return Decision(state=taken, actions=(*settled, Compose(changes=(first.change,))))


def _judged(state: State, testing: Entry, verdict: Verdict) -> Decision:
    if state.candidate is None:
        return Decision(state=state)
    if verdict.ok:
        # Also when the same tree was red a moment ago: a flake is no reason to send work back.
        return Decision(state=state, actions=(Land(changes=(testing.change,), candidate=state.candidate),))
    if state.first_red is None:
        again = Judge(changes=(testing.change,), candidate=state.candidate, afresh=True)
        return Decision(state=replace(state, first_red=verdict), actions=(again,))
    return Decision(state=replace(state, red=verdict), actions=(JudgeBase(base=state.candidate.base),))


def _base_judged(state: State, testing: Entry, base_verdict: Verdict) -> Decision:
    if state.red is None:
        return Decision(state=state)
    if base_verdict.ok:
        return _next(state, HandBack(change=testing.change, because=state.red))
    return _next(state, BlameBase(change=testing.change, verdict=state.red, base_verdict=base_verdict))
