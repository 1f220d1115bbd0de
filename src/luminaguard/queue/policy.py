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
    """A person or a fault took an issue's change out."""

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


Event = Enqueued | Withdrawn | Composed | Clashed | Judged | BaseJudged | Landed | Moved


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


Action = Compose | Judge | JudgeBase | Land | HandBack | BlameBase | Accepted


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The queue between two events. `first_red` is the verdict that the second run of the same tree is held against."""

    waiting: tuple[Entry, ...] = ()
    arrivals: int = 0
    testing: Entry | None = None
    candidate: Candidate | None = None
    first_red: Verdict | None = None
    red: Verdict | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The new state, and what to do in order."""

    state: State
    actions: tuple[Action, ...] = field(default=())


def decide(state: State, event: Event) -> Decision:
    """Answer an event. Never raises; an event that the state does not wait for changes nothing."""
    match event:
        case Enqueued():
            return _enqueue(state, event)
        case Withdrawn():
            kept = tuple(entry for entry in state.waiting if entry.change.issue != event.issue)
            return Decision(state=replace(state, waiting=kept))
        case _ if state.testing is None:
            return Decision(state=state)
        case Composed():
            asked = Judge(changes=(state.testing.change,), candidate=event.candidate)
            return Decision(state=replace(state, candidate=event.candidate), actions=(asked,))
        case Clashed():
            return _next(state, HandBack(change=state.testing.change, because=event.conflict))
        case Judged():
            return _judged(state, state.testing, event.verdict)
        case BaseJudged():
            return _base_judged(state, state.testing, event.verdict)
        case Landed():
            return _next(state, Accepted(change=state.testing.change))
        case Moved():
            afresh = replace(state, candidate=None, first_red=None, red=None)
            return Decision(state=afresh, actions=(Compose(changes=(state.testing.change,)),))


def _enqueue(state: State, event: Enqueued) -> Decision:
    entry = Entry(change=event.change, rank=event.rank, arrival=state.arrivals)
    waiting = sorted((*state.waiting, entry), key=lambda entry: (-entry.rank, entry.arrival))
    state = replace(state, waiting=tuple(waiting), arrivals=state.arrivals + 1)
    return _next(state) if state.testing is None else Decision(state=state)


def _next(state: State, *settled: Action) -> Decision:
    clean = replace(state, testing=None, candidate=None, first_red=None, red=None)
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
