"""The view that a person plans with: who can work side by side."""

from collections.abc import Mapping

from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, natural
from luminaguard.model.plan import Wave


def waves(needs: Mapping[IssueId, frozenset[IssueId]]) -> tuple[Wave, ...]:
    """Put each issue in the first wave where all that it needs is done.

    Args:
        needs: issue -> the issues it waits for; every issue is a key. Order does not matter.

    Returns:
        Waves in working order; the issues of a wave sorted by id.

    Raises:
        UserFault: the needs go round in a circle; names the issues that can never start.

    Source: Kahn 1962, level by level.
    """
    levels = levels_of(needs)
    stuck = sorted(needs.keys() - levels.keys(), key=natural)
    if stuck:
        raise UserFault(f"these issues wait for each other: {', '.join(stuck)}", hint="remove one of their needs")
    rows: list[list[IssueId]] = [[] for _ in range(max(levels.values(), default=-1) + 1)]
    for issue in sorted(levels, key=natural):
        rows[levels[issue]].append(issue)
    return tuple(tuple(row) for row in rows)


def levels_of(needs: Mapping[IssueId, frozenset[IssueId]]) -> dict[IssueId, int]:
    """Number each issue by its wave, from 0, in working order; issues in or behind a circle are left out."""
    dependents = dependents_of(needs)
    open_needs = {issue: len(needed) for issue, needed in needs.items()}
    levels: dict[IssueId, int] = {}
    row, number = [issue for issue, count in open_needs.items() if count == 0], 0
    while row:
        following: list[IssueId] = []
        for issue in row:
            levels[issue] = number
            for dependent in dependents[issue]:
                open_needs[dependent] -= 1
                if open_needs[dependent] == 0:
                    following.append(dependent)
        row, number = following, number + 1
    return levels


def dependents_of(needs: Mapping[IssueId, frozenset[IssueId]]) -> dict[IssueId, list[IssueId]]:
    """Turn the needs round: issue -> the issues that wait for it."""
    dependents: dict[IssueId, list[IssueId]] = {issue: [] for issue in needs}
    for issue, needed in needs.items():
        for other in needed:
            dependents[other].append(issue)
    return dependents
