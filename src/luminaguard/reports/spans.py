"""How long things took: the bars of a task, the wall time of a run, the bounds that it is measured against."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from luminaguard.model.facts import Fact
from luminaguard.model.ids import IssueId
from luminaguard.reports.readings import flag_at, number_at

_AGENT_ENDS = frozenset({"agent", "held", "failed", "cancelled"})
_QUEUE_ENDS = frozenset({"landed", "conflict", "checks", "attempt", "held", "failed", "rejected", "cancelled", "retry"})
"""What takes a change out of the queue; of checks, only red ones do."""
_BY_PERSON = frozenset({"approved", "rejected", "retry", "cancelled", "released", "paused", "resumed"})


Named = Mapping[str, Sequence[Fact]]
"""The facts of one task by their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Something that took time; `start` and `end` are seconds since the epoch."""

    kind: Literal["agent", "review", "queue", "checks"]
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Where the time of a task went. `queue` is without the checks inside it."""

    waited: float
    agent: float
    checks: float
    review: float
    queue: float


def seconds_of(named: Named, spans: Sequence[Span]) -> Seconds:
    """Sum up one task. A verdict that was known already took no time."""
    ready, first = _first_time(named, "ready"), _first_time(named, "attempt")
    queued = [span for span in spans if span.kind == "queue"]
    checks = [span for span in spans if span.kind == "checks"]
    inside = sum((_shared(span, check) for span in queued for check in checks), 0.0)
    return Seconds(
        waited=max(first - ready, 0.0) if ready is not None and first is not None else 0.0,
        agent=_sum(named, "agent"),
        checks=_sum(named, "checks"),
        review=_sum(named, "review"),
        queue=max(sum((span.end - span.start for span in queued), 0.0) - inside, 0.0),
    )


def _first_time(named: Named, name: str) -> float | None:
    return named[name][0].time if name in named else None


def _sum(named: Named, name: str) -> float:
    return sum((number_at(fact.data, "seconds") for fact in named.get(name, ()) if not _known(fact, name)), 0.0)


def _known(fact: Fact, name: str) -> bool:
    return name == "checks" and flag_at(fact.data, "cached")


def _shared(one: Span, other: Span) -> float:
    return max(min(one.end, other.end) - max(one.start, other.start), 0.0)


def spans_of(facts: Sequence[Fact], named: Named, *, at: float) -> tuple[Span, ...]:
    """Give the bars of one task, by start; what is under way ends at `at`."""
    found = [
        *(Span(kind="agent", start=start, end=end) for start, end in _stretches(facts, "attempt", _AGENT_ENDS, at)),
        *(Span(kind="queue", start=start, end=end) for start, end in _stretches(facts, "queued", _QUEUE_ENDS, at)),
        *(_backwards("checks", fact) for fact in named.get("checks", ()) if not _known(fact, "checks")),
        *(_backwards("review", fact) for fact in named.get("review", ())),
    ]
    return tuple(sorted(found, key=lambda span: (span.start, span.end, span.kind)))


def _backwards(kind: Literal["checks", "review"], fact: Fact) -> Span:
    return Span(kind=kind, start=fact.time - number_at(fact.data, "seconds"), end=fact.time)


def _stretches(facts: Sequence[Fact], begins: str, ends: frozenset[str], at: float) -> Iterator[tuple[float, float]]:
    begun = None
    for fact in facts:
        name = fact.name
        if begun is None:
            begun = fact.time if name == begins else None
        elif name in ends and not (name == "checks" and flag_at(fact.data, "ok")):
            yield begun, max(fact.time, begun)
            begun = None
    if begun is not None:
        yield begun, max(at, begun)


def wall_seconds(facts: Sequence[Fact], *, now: float | None) -> float:
    """Sum the sessions of a run, so that time when nothing ran does not count.

    A session that was killed ends with the last fact that it wrote; the last one goes on to `now` where that is given.
    What people typed between sessions is no sign of life.
    """
    total, begun, last = 0.0, None, 0.0
    for fact in facts:
        name = fact.name
        if name == "session":
            total += max(last - begun, 0.0) if begun is not None else 0.0
            begun = fact.time
        if name not in _BY_PERSON:
            last = fact.time
        if name == "session_ended" and begun is not None:
            total, begun = total + max(fact.time - begun, 0.0), None
    if begun is None:
        return total
    return total + max((last if now is None else now) - begun, 0.0)


def critical_path(seconds: Mapping[IssueId, float], needs: Mapping[IssueId, Sequence[IssueId]]) -> float:
    """Give the longest chain of needs in seconds. Issues that wait for each other in a circle are left out."""
    left = {issue: sum(need in seconds for need in set(needs.get(issue, ()))) for issue in seconds}
    after: dict[IssueId, list[IssueId]] = {}
    for issue in seconds:
        for need in set(needs.get(issue, ())):
            after.setdefault(need, []).append(issue)
    begins = dict.fromkeys(seconds, 0.0)
    free, longest = [issue for issue, count in left.items() if not count], 0.0
    while free:
        issue = free.pop()
        end = begins[issue] + seconds[issue]
        longest = max(longest, end)
        for follower in after.get(issue, ()):
            begins[follower] = max(begins[follower], end)
            left[follower] -= 1
            if not left[follower]:
                free.append(follower)
    return longest
