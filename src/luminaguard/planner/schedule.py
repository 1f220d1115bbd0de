"""Who starts next, and how long it all takes: list scheduling by longest remaining path."""

import heapq
from collections.abc import Iterable, Mapping

from luminaguard.model.ids import IssueId, natural
from luminaguard.model.plan import Forecast
from luminaguard.planner.waves import dependents_of, levels_of

_ORDINARY = 2
"""The priority of an issue that has none: between 0, most urgent, and 4."""


def remaining_path(
    needs: Mapping[IssueId, frozenset[IssueId]], estimate_s: Mapping[IssueId, float]
) -> dict[IssueId, float]:
    """Measure, for each issue, the longest chain of work that begins with it, in seconds.

    Args:
        needs: issue -> the issues it waits for; every issue is a key; no circles.
        estimate_s: seconds of work for every issue.
    """
    order = list(levels_of(needs))
    remaining = {issue: estimate_s[issue] for issue in needs}
    for issue in reversed(order):
        for needed in needs[issue]:
            remaining[needed] = max(remaining[needed], estimate_s[needed] + remaining[issue])
    return remaining


def start_order(
    needs: Mapping[IssueId, frozenset[IssueId]],
    estimate_s: Mapping[IssueId, float],
    priority: Mapping[IssueId, int | None],
) -> tuple[IssueId, ...]:
    """Sort issues as they should start where several could: longest remaining path, then priority, then id.

    Args:
        needs: issue -> the issues it waits for; every issue is a key; no circles.
        estimate_s: seconds of work for every issue.
        priority: 0, most urgent, to 4; an issue without one counts as 2.
    """
    by_id = {issue: needs[issue] for issue in sorted(needs, key=natural)}
    return _ranked(by_id, remaining_path(by_id, estimate_s), priority)


def forecast(
    needs: Mapping[IssueId, frozenset[IssueId]],
    estimate_s: Mapping[IssueId, float],
    priority: Mapping[IssueId, int | None],
    *,
    slots: int,
) -> Forecast:
    """Foretell the whole run, as if every estimate were right and nothing else took time.

    Args:
        needs: issue -> the issues it waits for; every issue is a key, in the order of the ids; no circles.
        estimate_s: seconds of work for every issue.
        priority: 0, most urgent, to 4; an issue without one counts as 2.
        slots: agents at work at once.

    Source: Graham 1969; the makespan is at most (2 - 1/slots) times the lower bound's optimum.
    """
    work = sum((estimate_s[issue] for issue in needs), 0.0)
    remaining = remaining_path(needs, estimate_s)
    critical = max(remaining.values(), default=0.0)
    return Forecast(
        slots=slots,
        makespan_s=_makespan(needs, estimate_s, _ranked(needs, remaining, priority), slots=slots),
        lower_bound_s=max(critical, work / slots),
        sequential_s=work,
    )


def _ranked(
    issues: Iterable[IssueId], remaining: Mapping[IssueId, float], priority: Mapping[IssueId, int | None]
) -> tuple[IssueId, ...]:
    """Rank issues; those of the same rank keep their order."""

    def rank(issue: IssueId) -> tuple[float, int]:
        urgency = priority.get(issue)
        return -remaining[issue], _ORDINARY if urgency is None else urgency

    return tuple(sorted(issues, key=rank))


def _makespan(
    needs: Mapping[IssueId, frozenset[IssueId]],
    estimate_s: Mapping[IssueId, float],
    order: tuple[IssueId, ...],
    *,
    slots: int,
) -> float:
    rank = {issue: place for place, issue in enumerate(order)}
    dependents = dependents_of(needs)
    open_needs = {issue: len(needed) for issue, needed in needs.items()}
    ready = [rank[issue] for issue, count in open_needs.items() if count == 0]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < slots:
            place = heapq.heappop(ready)
            heapq.heappush(running, (now + estimate_s[order[place]], place))
        now, place = heapq.heappop(running)
        for dependent in dependents[order[place]]:
            open_needs[dependent] -= 1
            if open_needs[dependent] == 0:
                heapq.heappush(ready, rank[dependent])
    return now
