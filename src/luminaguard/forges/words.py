"""What the words and numbers of a field mean: states, priorities, kinds, durations. None means: not known."""

import math
import re
from collections.abc import Mapping

from luminaguard.model.issue import IssueState, Kind

_STATES: Mapping[IssueState, tuple[str, ...]] = {
    IssueState.CLOSED: (
        *("closed", "done", "complete", "completed", "resolved", "fixed", "finished", "merged", "shipped", "released"),
        *("cancelled", "canceled", "wontfix", "wont fix", "wont do", "not planned", "duplicate", "obsolete", "invalid"),
        *("rejected", "archived", "abandoned", "superseded"),
    ),
    IssueState.OPEN: (
        *("open", "opened", "reopened", "new", "todo", "to do", "backlog", "ready", "pending", "planned", "proposed"),
        *("in progress", "inprogress", "doing", "wip", "active", "started", "hooked", "review", "in review", "testing"),
        *("blocked", "waiting", "on hold", "paused", "deferred", "draft", "triage", "next", "accepted", "approved"),
    ),
}
_STATE_OF = {word: state for state, words in _STATES.items() for word in words}

_PRIORITIES: Mapping[int, tuple[str, ...]] = {
    0: ("critical", "urgent", "highest", "blocker"),
    1: ("high", "important", "major"),
    2: ("medium", "normal", "med", "moderate", "default"),
    3: ("low", "minor"),
    4: ("lowest", "trivial", "backlog", "someday"),
}
_PRIORITY_OF = {word: number for number, words in _PRIORITIES.items() for word in words}

_KINDS: Mapping[Kind, tuple[str, ...]] = {
    Kind.RESEARCH: ("research", "spike", "investigation"),
    Kind.DESIGN: ("design", "architecture", "rfc"),
    Kind.IMPLEMENTATION: ("implementation", "feature", "enhancement", "story", "refactor"),
    Kind.BUG: ("bug", "fix", "defect", "regression"),
    Kind.DOCS: ("docs", "doc", "documentation"),
    Kind.TEST: ("test", "tests", "testing"),
    Kind.CHORE: ("chore", "maintenance", "ci", "build"),
}
_KIND_OF = {word: kind for kind, words in _KINDS.items() for word in words}

_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 8 * 3600.0, "w": 40 * 3600.0}
"""Days and weeks of work, not of the calendar."""

_DURATION = re.compile(
    r"(\d{1,9}(?:\.\d{1,9})?)\s*"
    r"(weeks?|w|days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s)",
    re.IGNORECASE,
)
_YEAR_S = 365 * 24 * 3600.0


def plain(word: str) -> str:
    """Bring a word to the form that the tables use: "Won't-Do" and "✅ won’t do" are "wont do"."""  # noqa: RUF002
    letters = re.sub(r"['’]", "", word.lower())  # noqa: RUF001 typographic apostrophes are written too
    return re.sub(r"[^a-z0-9]+", " ", letters).strip()


def state_of(word: str) -> IssueState | None:
    """Tell what a status word means: "In Progress" is open, "Done" is closed."""
    return _STATE_OF.get(plain(word))


def kind_of(word: str) -> Kind | None:
    """Tell what a type word means: "feature" is implementation; "task" and "epic" say nothing."""
    return _KIND_OF.get(plain(word))


def priority_of(word: str) -> int | None:
    """Tell the priority from 0 (most urgent) to 4: "P1", "1", "high"."""
    found = re.fullmatch(r"\s*[pP]?([0-4])\s*", word)
    return int(found[1]) if found else _PRIORITY_OF.get(plain(word))


def seconds_of(text: str) -> float | None:
    """Tell the seconds of "2h", "1h 30m", "1.5 days" or "45", which is minutes; a day has 8 hours of work."""
    bare = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*", text)
    if bare:
        return _sane(float(bare[1]) * 60)
    if re.sub(r"[\s,]|and", "", _DURATION.sub("", text)):
        return None
    parts = _DURATION.findall(text)
    return _sane(sum(float(number) * _UNIT_S[unit[0].lower()] for number, unit in parts))


def _sane(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) and 0 < seconds <= _YEAR_S else None
