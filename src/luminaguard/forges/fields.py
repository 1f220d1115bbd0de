"""The keys of one entry of a backlog file, taken out one by one; what nobody took is the issue's `extra`."""

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from luminaguard.forges.reading import broken
from luminaguard.forges.words import kind_of, priority_of, seconds_of, state_of
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json
from luminaguard.model.issue import IssueState, Kind, Notice, Origin

STATE_KEYS = ("status", "state")
NEEDS_KEYS = ("depends_on", "dependencies", "blocked_by", "deps", "needs", "dependson", "blockedby")

_ID = re.compile(r"[^\s\x00-\x1f\x7f,\"'`]{1,120}")
_NO_ID = frozenset({"", "none", "n/a", "-", "null", "[]"})
_T = TypeVar("_T")


def issue_id(text: str) -> IssueId | None:
    """Give the id that a person wrote, without '#'; None where it cannot be one."""
    bare = text.strip().removeprefix("#")
    return IssueId(bare) if _ID.fullmatch(bare) and not bare.startswith("-") and bare.isprintable() else None


def one_line(text: str) -> str:
    """Give a title as one line without control characters."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())


def shown(value: Json) -> str:
    """Quote a value in an error, shortened."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def text_of(value: Json) -> str | None:
    """Give a scalar as the text that it was written as; None where it is no scalar."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


class Fields:
    """One entry. A key matches whatever its case, and with '-' or ' ' for '_'. Wrong types are a UserFault.

    `notices` gathers what could not be taken at its word.
    """

    def __init__(self, raw: Mapping[str, Json], origin: Origin) -> None:
        self.origin = origin
        self.notices: list[Notice] = []
        self._left = dict(raw)
        self._keys: dict[str, str] = {}
        for key in raw:
            self._keys.setdefault(re.sub(r"[-\s]", "_", key.strip().lower()), key)

    @property
    def extra(self) -> Mapping[str, Json]:
        """The keys that nobody took."""
        return dict(self._left)

    def key_of(self, *names: str) -> str | None:
        """Give the key, as it is spelled, of the first of `names` that has a value; else the first that is there."""
        there = [self._keys[name] for name in names if self._keys.get(name) in self._left]
        return next((key for key in there if self._left[key] is not None), there[0] if there else None)

    def look(self, *names: str) -> Json:
        """Give the value of the first of `names` that has one, and leave it where it is."""
        key = self.key_of(*names)
        return None if key is None else self._left[key]

    def take(self, *names: str) -> Json:
        """Take out the value of the first of `names` that has one."""
        key = self.key_of(*names)
        return None if key is None else self._left.pop(key)

    def keep(self, key: str, value: Json) -> None:
        """Put something back for `extra`."""
        self._left[key] = value

    def wrong(self, key: str, value: Json, wanted: str) -> UserFault:
        """Give the error for a value of the wrong type or form."""
        what = f"{key}: wanted {wanted}, got {shown(value)}"
        return broken(self.origin.path, self.origin.line, what, hint=f"write {key} as {wanted}")

    def note(self, text: str) -> None:
        """Tell of something that could not be taken at its word."""
        self.notices.append(Notice(text=f"{self.origin.path}:{self.origin.line}: {text}", origin=self.origin))

    def text(self, *names: str) -> str | None:
        """Take a text; a number counts as the text that it was written as."""
        value = self.take(*names)
        if value is None:
            return None
        text = text_of(value)
        if text is None:
            raise self.wrong(names[0], value, "a text")
        return text

    def texts(self, *names: str) -> tuple[str, ...]:
        """Take a list of texts; a text with commas counts as a list."""
        value = self.take(*names)
        if value is None:
            return ()
        items = value if isinstance(value, list) else (text_of(value) or "").split(",")
        if isinstance(value, dict):
            raise self.wrong(names[0], value, "a list of texts")
        texts = [self._item(names[0], item) for item in items]
        return tuple(dict.fromkeys(text.strip() for text in texts if text.strip()))

    def id(self, *names: str) -> IssueId | None:
        """Take an issue's id."""
        value = self.take(*names)
        text = text_of(value)
        if value is None or (text is not None and text.strip().lower() in _NO_ID):
            return None
        found = None if text is None else issue_id(text)
        if found is None:
            raise self.wrong(names[0], value, "an issue's id")
        return found

    def ids(self, *names: str) -> tuple[IssueId, ...]:
        """Take issue ids from all of `names` together; a text with commas or spaces counts as a list."""
        found: list[IssueId] = []
        for name in names:
            value = self.take(name)
            texts = re.split(r"[,\s]+", value) if isinstance(value, str) else self._items(name, value)
            found += [self._id(name, text) for text in texts if text.strip().lower() not in _NO_ID]
        return tuple(dict.fromkeys(found))

    def state(self, *names: str, known: Callable[[str], IssueState | None] = state_of) -> IssueState:
        """Take the state; a word that nobody knows counts as open, and is told."""
        return self._meaning(known, "counts as open", *names) or IssueState.OPEN

    def priority(self, *names: str) -> int | None:
        """Take the priority."""
        return self._meaning(priority_of, "is no priority (0 to 4, P0 to P4, high, medium, low)", *names)

    def seconds(self, *names: str) -> float | None:
        """Take a duration; a bare number is minutes."""
        return self._meaning(seconds_of, 'is no duration ("2h", "30m", or minutes)', *names)

    def kind(self, *names: str) -> Kind | None:
        """Read the kind; the word stays in `extra` where the kind does not say it all."""
        key = self.key_of(*names)
        word = text_of(self.look(*names))
        if key is None or word is None:
            return None
        kind = kind_of(word)
        if kind is not None and kind.value == word:
            del self._left[key]
        return kind

    def _meaning(self, known: Callable[[str], _T | None], otherwise: str, *names: str) -> _T | None:
        word = self.text(*names)
        if word is None or not word.strip():
            return None
        meaning = known(word)
        if meaning is None:
            self.note(f"{names[0]} {shown(word)} {otherwise}")
        return meaning

    def _items(self, name: str, value: Json) -> list[str]:
        if value is None:
            return []
        items = value if isinstance(value, list) else [value]
        return [self._item(name, item) for item in items]

    def _item(self, name: str, item: Json) -> str:
        if item is None:
            return ""
        text = text_of(item)
        if text is None:
            raise self.wrong(name, item, "a list of texts")
        return text

    def _id(self, name: str, text: str) -> IssueId:
        found = issue_id(text)
        if found is None:
            raise self.wrong(name, text, "a list of issue ids")
        return found
