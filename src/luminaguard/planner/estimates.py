"""How long an issue will take: by its field, a label, its text, or what its kind usually takes."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from luminaguard.model.issue import Issue, Kind
from luminaguard.planner.prose import Line, one_line

_MINUTE, _HOUR = 60.0, 3600.0
_BY_KIND = {
    Kind.RESEARCH: 30 * _MINUTE,
    Kind.DESIGN: 45 * _MINUTE,
    Kind.IMPLEMENTATION: 75 * _MINUTE,
    Kind.BUG: 40 * _MINUTE,
    Kind.DOCS: 20 * _MINUTE,
    Kind.TEST: 30 * _MINUTE,
    Kind.CHORE: 20 * _MINUTE,
}
_BY_SIZE = {"xs": 15 * _MINUTE, "s": 30 * _MINUTE, "m": _HOUR, "l": 2 * _HOUR, "xl": 4 * _HOUR, "xxl": 8 * _HOUR}
_BY_WORD = {"small": "s", "medium": "m", "large": "l", "tiny": "xs", "huge": "xl", "extra-large": "xl"}
_POINT_S = 30 * _MINUTE
_UNITS = {"m": _MINUTE, "h": _HOUR, "d": 8 * _HOUR, "w": 40 * _HOUR}
"""A day and a week are working days: that is how people estimate."""

_AMOUNT = (
    r"~?\s*(?P<from>\d+(?:\.\d+)?)(?:\s*(?:-|\u2013|to)\s*(?P<to>\d+(?:\.\d+)?))?\s*"
    r"(?P<unit>m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)\b"
)
_POINTS = r"(?P<points>\d+(?:\.\d+)?)\s*(?:points?|pts?|sp)?\b(?!\s*\w)"
_SIZE = r"(?P<size>xs|s|m|l|xl|xxl|tiny|small|medium|large|huge|extra-large)\b(?![-\w/])"
_TIMED = r"(?:time\s+)?estimate[sd]?(?:\s+(?:time|effort|duration|size))?|effort|duration|time|t-shirt|size"
_LABEL = re.compile(
    rf"(?:(?:{_TIMED})\s*[:/=-]\s*(?:{_AMOUNT}|{_SIZE})|(?:story[-_ ]?)?(?:points?|sp)\s*[:/=-]\s*{_POINTS})\s*",
    re.IGNORECASE,
)
_TEXT = re.compile(
    rf"[\s*_+-]*(?:(?:{_TIMED})[\s*_]*[:=][\s*_]*(?:{_AMOUNT}|{_SIZE})"
    rf"|story\s+points?[\s*_]*[:=][\s*_]*{_POINTS})",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Seconds of work, and where the number is from."""

    seconds: float
    source: str


def estimate_of(issue: Issue, kind: Kind, lines: Iterable[Line]) -> Estimate:
    """Estimate an issue. A number that is not above zero counts as none."""
    if issue.estimate_s is not None and math.isfinite(issue.estimate_s) and issue.estimate_s > 0:
        return Estimate(seconds=issue.estimate_s, source="field")
    for label in issue.labels:
        seconds = _amount(_LABEL.fullmatch(label.strip()))
        if seconds:
            return Estimate(seconds=seconds, source=f"label {one_line(label)}")
    for line in lines:
        if (":" not in line.text and "=" not in line.text) or line.code or line.quoted:
            continue
        found = _TEXT.match(line.text)
        seconds = _amount(found)
        if found is not None and seconds:
            return Estimate(seconds=seconds, source=f'text "{one_line(found[0]).strip(" *_-+")}"')
    return Estimate(seconds=_BY_KIND[kind], source=f"kind {kind.value}")


def _amount(found: re.Match[str] | None) -> float:
    """Turn "2-3h", "S", "5 points" into seconds: of a range the far end, 0 for nothing."""
    if found is None:
        return 0.0
    if found["points"]:
        return float(found["points"]) * _POINT_S
    if found["size"]:
        size = found["size"].lower()
        return _BY_SIZE[_BY_WORD.get(size, size)]
    return float(found["to"] or found["from"]) * _UNITS[found["unit"][0].lower()]
