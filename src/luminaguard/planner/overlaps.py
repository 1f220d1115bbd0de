"""Which issues may get in each other's way: at work at the same time, on the same files."""

import heapq
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Notice
from luminaguard.model.plan import Overlap, Touch
from luminaguard.planner.waves import levels_of

_MOST = 200
_PAIRS = 200_000
"""Pairs that are looked at, those of the rarest files first: a bound on time, not on truth."""

_HOT_SHARE, _HOT_ISSUES = 0.15, 4
_HOT_NAMES = re.compile(
    r"(?:changelog|changes|history|news|release[_-]?notes)(?:\.(?:md|rst|txt))?"
    r"|(?:package-lock|npm-shrinkwrap|packages\.lock)\.json|pnpm-lock\.yaml|bun\.lockb|go\.sum|pipfile\.lock"
    r"|(?:yarn|bun|cargo|poetry|uv|pdm|gemfile|composer|flake|mix|pubspec)\.lock",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlaps:
    """The overlaps, most probable first, and what had to be left out."""

    overlaps: tuple[Overlap, ...]
    notices: tuple[Notice, ...]


def overlaps_of(touches: Mapping[IssueId, Sequence[Touch]], needs: Mapping[IssueId, frozenset[IssueId]]) -> Overlaps:
    """Pair the issues that share predicted files and do not wait for each other.

    Hot files (changelogs, lock files, those of more than 15% of the issues) say nothing and are left out.

    Args:
        touches: issue -> its predicted files; every issue is a key, in the order of the ids.
        needs: issue -> the issues it waits for; every issue is a key; no circles.
    """
    shared, unseen = _shared(_by_path(touches))
    order = _Order({issue for pair in shared for issue in pair}, needs)
    rank = {issue: place for place, issue in enumerate(touches)}
    apart = {pair: _apart(paths) for pair, paths in shared.items() if not order.holds(*pair)}
    best = heapq.nsmallest(_MOST, apart, key=lambda pair: (apart[pair], rank[pair[0]], rank[pair[1]]))
    return Overlaps(
        overlaps=tuple(
            Overlap(a=a, b=b, paths=tuple(sorted(shared[a, b])), probability=round(1.0 - apart[a, b], 3))
            for a, b in best
        ),
        notices=_notices(len(apart) - len(best), unseen),
    )


_Shared = dict[tuple[IssueId, IssueId], dict[str, float]]
"""A pair, in the order of the ids -> each shared path with the probability that both change it."""


class _Order:
    """Tells whether one issue waits for another, for the issues that share a file: a bit for each of these."""

    def __init__(self, issues: Iterable[IssueId], needs: Mapping[IssueId, frozenset[IssueId]]) -> None:
        self._bit = {issue: 1 << place for place, issue in enumerate(sorted(issues))}
        self._before: dict[IssueId, int] = {}
        for issue in levels_of(needs) if self._bit else ():
            before = 0
            for needed in needs[issue]:
                before |= self._before[needed] | self._bit.get(needed, 0)
            self._before[issue] = before

    def holds(self, a: IssueId, b: IssueId) -> bool:
        return bool(self._before[a] & self._bit[b] or self._before[b] & self._bit[a])


def _by_path(touches: Mapping[IssueId, Sequence[Touch]]) -> list[tuple[str, list[tuple[IssueId, float]]]]:
    """Index by path, rarest first, without hot files."""
    index: dict[str, list[tuple[IssueId, float]]] = defaultdict(list)
    for issue, files in touches.items():
        for touch in files:
            index[touch.path].append((issue, touch.confidence))
    bound = max(_HOT_ISSUES - 1, int(len(touches) * _HOT_SHARE))
    rows = [
        (path, users)
        for path, users in index.items()
        if 1 < len(users) <= bound and not _HOT_NAMES.fullmatch(path.rpartition("/")[2])
    ]
    return sorted(rows, key=lambda row: (len(row[1]), row[0]))


def _shared(rows: Iterable[tuple[str, list[tuple[IssueId, float]]]]) -> tuple[_Shared, int]:
    """Give the pairs with what they share, and how many pairs of too common files nobody looked at."""
    shared: _Shared = defaultdict(dict)
    looked, unseen = 0, 0
    for path, users in rows:
        pairs = len(users) * (len(users) - 1) // 2
        if looked + pairs > _PAIRS:
            unseen += pairs
            continue
        looked += pairs
        for (a, sure_a), (b, sure_b) in combinations(users, 2):
            shared[a, b][path] = sure_a * sure_b
    return shared, unseen


def _apart(paths: Mapping[str, float]) -> float:
    """Give the probability that two issues share none of these files after all."""
    apart = 1.0
    for both in sorted(paths.values()):
        apart *= 1.0 - both
    return apart


def _notices(less_probable: int, unseen: int) -> tuple[Notice, ...]:
    if not less_probable and not unseen:
        return ()
    more = f" and up to {unseen} on files that very many issues name" if unseen else ""
    return (
        Notice(
            text=f"{less_probable} less probable overlaps{more} are not listed; the merge queue sees to all of them"
        ),
    )
