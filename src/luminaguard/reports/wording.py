"""Words for a person: safe to print on a terminal, never longer than said. No emoji, plain letters for marks."""

import math
import re
import unicodedata
from datetime import UTC, datetime

# They turn the reading order round, so that a title shows other than it is.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
_BREAKS = re.compile(r"[\s\u2028\u2029\x85]+")
_FIRST_S, _LAST_S = 0.0, 253402300799.0
"""The seconds that a date of four digits can say: 1970 to 9999."""


def plain(text: str) -> str:
    """Make one line of the text, without control characters, turned reading order or broken surrogates."""
    line = _BREAKS.sub(" ", text)
    if not (line.isascii() and line.isprintable()):
        line = "".join(char for char in line if _harmless(char))
    return line.strip()


def plain_lines(text: str) -> str:
    """Do as `plain` for each line, and keep the lines."""
    return "\n".join("".join(char for char in line if _harmless(char)).rstrip() for line in text.splitlines())


def _harmless(char: str) -> bool:
    return char not in _BIDI and unicodedata.category(char) not in {"Cc", "Cs"}


def columns(text: str) -> int:
    """Count the columns that a terminal gives to the text."""
    return len(text) if text.isascii() else sum(_columns_of(char) for char in text)


def _columns_of(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def cut(text: str, *, width: int) -> str:
    """Shorten the text to `width` columns; three dots say that something is missing."""
    if columns(text) <= width:
        return text
    dots = "..."[: max(width, 0)]
    kept, used = [], len(dots)
    for char in text:
        used += _columns_of(char)
        if used > width:
            break
        kept.append(char)
    return "".join(kept).rstrip() + dots


def fitted(text: str, *, width: int) -> str:
    """Cut or fill the text to exactly `width` columns."""
    short = cut(text, width=width)
    return short + " " * max(width - columns(short), 0)


def counted(count: int, noun: str) -> str:
    """Say how many: "1 file", "2 files", "2 branches"."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


def ids(issues: tuple[str, ...]) -> str:
    """Name issues: "#152, #154"."""
    return ", ".join(f"#{plain(issue)}" for issue in issues)


def clock(seconds: float) -> str:
    """Give a place on the timeline as h:mm:ss.s."""
    tenths = round(max(seconds, 0.0) * 10)
    return f"{tenths // 36000}:{tenths // 600 % 60:02d}:{tenths // 10 % 60:02d}.{tenths % 10}"


def lasting(seconds: float) -> str:
    """Say how long something took: "0.4 s", "41 s", "4 min 05 s", "2 h 03 min"."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole // 60 % 60:02d} min"


def stamp(time: float) -> str:
    """Write seconds since the epoch as UTC in ISO 8601 with a Z."""
    inside = min(max(time, _FIRST_S), _LAST_S) if math.isfinite(time) else _FIRST_S
    return datetime.fromtimestamp(inside, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
