"""Needs that go round in a circle: loose ones give way, firm ones are the user's to mend."""

import heapq
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, natural
from luminaguard.model.issue import Notice
from luminaguard.planner.edges import Bond, Claim
from luminaguard.planner.waves import dependents_of, levels_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Claims without a circle, and a notice for each that gave way."""

    claims: tuple[Claim, ...]
    notices: tuple[Notice, ...]


def settled(ids: Iterable[IssueId], claims: Sequence[Claim]) -> Settled:
    """Drop hints and parent edges until no circle is left.

    Args:
        ids: every issue that a claim names, and the others.
        claims: at most one for a pair in a direction.

    Raises:
        UserFault: firm needs alone make a circle; names all of it, each edge with its reason.
    """
    needs = _needs(ids, claims)
    if len(levels_of(needs)) == len(needs):
        return Settled(claims=tuple(claims), notices=())
    _require_no_firm_circle(needs, claims)
    dropped: set[tuple[IssueId, IssueId]] = set()
    for group in _knots(needs):
        inside = [claim for claim in claims if claim.edge.before in group and claim.edge.after in group]
        dropped.update(_given_up(group, inside))
    return Settled(
        claims=tuple(claim for claim in claims if _pair(claim) not in dropped),
        notices=tuple(_notice(claim) for claim in claims if _pair(claim) in dropped),
    )


def _pair(claim: Claim) -> tuple[IssueId, IssueId]:
    return claim.edge.before, claim.edge.after


def _notice(claim: Claim) -> Notice:
    edge = claim.edge
    text = f"{edge.why}: not followed, or the needs would go in a circle: {edge.before} itself waits for {edge.after}"
    return Notice(text=text, issue=edge.after)


def _needs(ids: Iterable[IssueId], claims: Iterable[Claim]) -> dict[IssueId, frozenset[IssueId]]:
    needs: dict[IssueId, set[IssueId]] = {issue: set() for issue in ids}
    for claim in claims:
        needs[claim.edge.after].add(claim.edge.before)
    return {issue: frozenset(needed) for issue, needed in needs.items()}


def _require_no_firm_circle(needs: Mapping[IssueId, frozenset[IssueId]], claims: Iterable[Claim]) -> None:
    firm = [claim for claim in claims if claim.bond is Bond.NEED]
    circle = _circle(_needs(needs, firm))
    if not circle:
        return
    why = {_pair(claim): claim.edge.why for claim in firm}
    steps = [
        f"{after} needs {before} ({why[before, after]})"
        for after, before in zip(circle, [*circle[1:], circle[0]], strict=True)
    ]
    raise UserFault(
        f"the needs go round in a circle: {'; '.join(steps)}",
        hint=f"remove one of these {len(steps)} needs from the field or the text that it is quoted from",
    )


def _circle(needs: Mapping[IssueId, frozenset[IssueId]]) -> list[IssueId]:
    """Find a shortest circle through the first issue that is in one; each issue needs the next, the last the first."""
    groups = sorted((min(group, key=natural) for group in _knots(needs)), key=natural)
    if not groups:
        return []
    start = groups[0]
    came_from: dict[IssueId, IssueId] = {}
    reached = deque([start])
    while reached:
        issue = reached.popleft()
        for needed in sorted(needs[issue], key=natural):
            if needed == start:
                return _path(start, issue, came_from)
            if needed not in came_from:
                came_from[needed] = issue
                reached.append(needed)
    raise AssertionError(f"{start} is in a knot and in no circle")


def _path(start: IssueId, end: IssueId, came_from: Mapping[IssueId, IssueId]) -> list[IssueId]:
    path = [end]
    while path[-1] != start:
        path.append(came_from[path[-1]])
    return path[::-1]


def _knots(needs: Mapping[IssueId, frozenset[IssueId]]) -> list[frozenset[IssueId]]:
    """Group the issues that reach each other; groups of one are left out. Source: Kosaraju 1978."""
    dependents = dependents_of(needs)
    seen: set[IssueId] = set()
    groups: list[frozenset[IssueId]] = []
    for root in reversed(_finished(needs)):
        if root in seen:
            continue
        group, reached = {root}, [root]
        while reached:
            fresh = [other for other in dependents[reached.pop()] if other not in seen and other not in group]
            group.update(fresh)
            reached.extend(fresh)
        seen |= group
        if len(group) > 1:
            groups.append(frozenset(group))
    return groups


def _finished(needs: Mapping[IssueId, frozenset[IssueId]]) -> list[IssueId]:
    """List the issues as a walk along the needs leaves them."""
    seen: set[IssueId] = set()
    order: list[IssueId] = []
    for root in needs:
        walk = [(root, iter(needs[root]))] if root not in seen else []
        seen.add(root)
        while walk:
            issue, rest = walk[-1]
            fresh = next((needed for needed in rest if needed not in seen), None)
            if fresh is None:
                order.append(issue)
                walk.pop()
                continue
            seen.add(fresh)
            walk.append((fresh, iter(needs[fresh])))
    return order


def _given_up(group: frozenset[IssueId], claims: Sequence[Claim]) -> set[tuple[IssueId, IssueId]]:
    """Choose the loose claims that give way: work the knot off, and where all wait, take who waits for the least.

    Hints go before parent edges. Firm needs alone make no circle, so there is always somebody to take.
    """
    waits = {issue: [0, 0, 0] for issue in group}
    behind: dict[IssueId, list[Claim]] = {issue: [] for issue in group}
    for claim in claims:
        waits[claim.edge.after][claim.bond] += 1
        behind[claim.edge.before].append(claim)
    place: dict[IssueId, int] = {}
    free = [_turn(issue, waits) for issue in group if not waits[issue][Bond.NEED]]
    heapq.heapify(free)
    while free:
        turn = heapq.heappop(free)
        if turn.issue in place:
            continue
        place[turn.issue] = len(place)
        for claim in behind[turn.issue]:
            after = claim.edge.after
            waits[after][claim.bond] -= 1
            if after not in place and not waits[after][Bond.NEED]:
                heapq.heappush(free, _turn(after, waits))
    return {_pair(claim) for claim in claims if place[claim.edge.before] > place[claim.edge.after]}


class _Turn(NamedTuple):
    """The order of a heap: a tuple because it is compared field by field."""

    family: int
    hints: int
    sort: tuple[tuple[int, int, str], ...]
    issue: IssueId


def _turn(issue: IssueId, waits: Mapping[IssueId, Sequence[int]]) -> _Turn:
    counts = waits[issue]
    return _Turn(counts[Bond.FAMILY], counts[Bond.HINT], natural(issue), issue)
