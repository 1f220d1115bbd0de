"""JSON read strictly, and one value in it changed without touching the rest.

What Python's reader would let through and a database or a terminal would choke on is refused here: NaN, infinity,
lone surrogates, NUL, nesting without end, a key that stands there twice.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from luminaguard.forges.reading import broken
from luminaguard.model.ids import Json

_MAX_DEPTH = 64
_SPACE = re.compile(r"[ \t\r\n]*")
_HINT = "mend the JSON there, or export the file again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a value stands in the text: characters `start` to `end`."""

    start: int
    end: int


class _RefusedError(ValueError):
    """Says what is not taken, where JSON itself is silent."""


def load(text: str, *, path: str, line: int = 1) -> Json:
    """Read a JSON text whose first line is `line` of the file.

    Raises:
        UserFault: it is not JSON, or holds what is refused.
    """
    try:
        value: Json = _DECODER.decode(f" {text[1:]}" if text.startswith("\ufeff") else text)
        _check(value)
    except json.JSONDecodeError as exc:
        what = f"is not JSON: {exc.msg} (column {exc.colno})"
        raise broken(path, line + exc.lineno - 1, what, hint=_HINT) from None
    except (RecursionError, ValueError) as exc:
        what = (
            str(exc)
            if isinstance(exc, _RefusedError)
            else "is JSON that cannot be taken (nested too deep, or a huge number)"
        )
        raise broken(path, line, what, hint=_HINT) from None
    return value


def elements(text: str, place: Place) -> Iterator[Place]:
    """Give the places of an array's elements. The text must have been read before."""
    at = _after_space(text, place.start + 1)
    while text[at] != "]":
        end = _DECODER.raw_decode(text, at)[1]
        yield Place(start=at, end=end)
        at = _after_space(text, end)
        at = _after_space(text, at + 1) if text[at] == "," else at


def members(text: str, place: Place) -> dict[str, Place]:
    """Give the places of an object's values by key. The text must have been read before."""
    found: dict[str, Place] = {}
    at = _after_space(text, place.start + 1)
    while text[at] != "}":
        key, end = _DECODER.raw_decode(text, at)
        start = _after_space(text, _after_space(text, end) + 1)
        end = _DECODER.raw_decode(text, start)[1]
        found[str(key)] = Place(start=start, end=end)
        at = _after_space(text, end)
        at = _after_space(text, at + 1) if text[at] == "," else at
    return found


def whole(text: str) -> Place:
    """Give the place of the one value that the text is."""
    start = _after_space(text, 1 if text.startswith("\ufeff") else 0)
    return Place(start=start, end=len(text.rstrip(" \t\r\n")))


def with_member(text: str, place: Place, key: str, value: str) -> str:
    """Give the text with the object's `key` set to the text `value`; a new key comes first."""
    written = json.dumps(value)
    there = members(text, place).get(key)
    if there is not None:
        return f"{text[: there.start]}{written}{text[there.end :]}"
    start = _after_space(text, place.start + 1)
    gap = text[place.start + 1 : start]
    comma = "" if text[start] == "}" else f",{gap or ' '}"
    return f"{text[: place.start + 1]}{gap}{json.dumps(key)}: {written}{comma}{text[start:]}"


def line_at(text: str, at: int) -> int:
    """Tell the line, from 1, of a place in the text."""
    return text.count("\n", 0, at) + 1


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _check(root: Json) -> None:
    level: list[Json] = [root]
    depth = 0
    while level:
        depth += 1
        if depth > _MAX_DEPTH:
            raise _RefusedError(f"is nested deeper than {_MAX_DEPTH}")
        level = [inner for value in level for inner in _inside(value)]


def _inside(value: Json) -> list[Json]:
    if isinstance(value, str):
        _check_text(value)
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list) else []


def _check_text(text: str) -> None:
    if "\0" in text:
        raise _RefusedError("holds a NUL character in a text")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _RefusedError("holds half of a surrogate pair in a text") from None


def _constant(name: str) -> NoReturn:
    raise _RefusedError(f"holds {name}, which is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise _RefusedError(f"holds the number {text[:20]}, which is too large")
    return value


def _int(text: str) -> int:
    if len(text) > 18:
        raise _RefusedError(f"holds the number {text[:20]}…, which is too large")
    return int(text)


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _RefusedError(f"has the key {twice[:60]!r} twice in one object")
    return found


_DECODER = json.JSONDecoder(
    parse_constant=_constant, parse_float=_float, parse_int=_int, object_pairs_hook=_object, strict=True
)
