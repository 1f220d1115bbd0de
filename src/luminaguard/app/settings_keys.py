"""What a key of the settings may hold: one `Rule` for each sort of value, and how a key is said in one place.

A key is a dataclass field made by `key`: its name, type, rule, default and help stand together, and the reader of the
file, the flags of the command line and `luminaguard init` all look there.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import Field, dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Generic, TypeVar

from luminaguard.forges.server_address import why_no_server, without_password

Value = TypeVar("Value")
Choice = TypeVar("Choice", bound=StrEnum)


class UnfitError(ValueError):
    """A value that a rule does not take; its text, if any, says the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Generic[Value]):
    """What one sort of key takes.

    `expected` ends the sentence "it must be ..."; `accept` turns what TOML says into our value or raises `UnfitError`;
    `from_words` turns a flag's text into what TOML would say; `choices` are the only words there are, if so.
    """

    expected: str
    accept: Callable[[object], Value]
    from_words: Callable[[str], object] = str
    choices: tuple[str, ...] = ()


def key(rule: Rule[Value], default: Value, help_text: str) -> Value:
    """Declare a key as a dataclass field. The type says `Value`, as `dataclasses.field` does."""
    declared: Value = field(default=default, metadata={"rule": rule, "help": help_text})
    return declared


def rule_of(declared: Field[Any]) -> Rule[Any]:
    """Give the rule of a key."""
    rule: Rule[Any] = declared.metadata["rule"]
    return rule


def help_of(declared: Field[Any]) -> str:
    """Give the half sentence that explains a key."""
    text: str = declared.metadata["help"]
    return text


def optional(rule: Rule[Value], *, word: str | None = None) -> Rule[Value | None]:
    """Let a key have None as its default; with `word`, that word in the file means None too."""

    def accept(value: object) -> Value | None:
        return None if word is not None and value == word else rule.accept(value)

    choices = (word, *rule.choices) if word is not None and rule.choices else rule.choices
    expected = _one_of(choices) if choices else rule.expected
    return Rule(expected=expected, accept=accept, from_words=rule.from_words, choices=choices)


def whole(least: int, most: int) -> Rule[int]:
    """Take a whole number; true and false are none, whatever Python thinks."""

    def accept(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise UnfitError
        return value

    return Rule(expected=f"a whole number from {least} to {most}", accept=accept, from_words=_number_of)


def number(*, above: float | None = None, at_least: float | None = None, most: float) -> Rule[float]:
    """Take a number, whole or not; nan and inf are none."""

    def accept(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not _within(value):
            raise UnfitError
        return float(value)

    def _within(value: float) -> bool:
        low = (above is None or value > above) and (at_least is None or value >= at_least)
        return low and value <= most

    bound = f"above {above:g}" if above is not None else f"of at least {at_least:g}"
    return Rule(expected=f"a number {bound}, at most {most:g}", accept=accept, from_words=_number_of)


def _number_of(words: str) -> object:
    if re.fullmatch(r"[+-]?[0-9]{1,18}", words):
        return int(words)
    if re.fullmatch(r"[+-]?[0-9]{1,18}\.[0-9]{1,18}", words):
        return float(words)
    return words


def switch() -> Rule[bool]:
    """Take true or false."""

    def accept(value: object) -> bool:
        if not isinstance(value, bool):
            raise UnfitError
        return value

    return Rule(
        expected="true or false",
        accept=accept,
        from_words=lambda words: {"true": True, "false": False}.get(words, words),
        choices=("true", "false"),
    )


def one_of(choice: type[Choice]) -> Rule[Choice]:
    """Take one of an enum's words."""
    words = tuple(member.value for member in choice)

    def accept(value: object) -> Choice:
        if value not in words:
            raise UnfitError
        return choice(value)

    return Rule(expected=_one_of(words), accept=accept, choices=words)


def _one_of(words: Iterable[str]) -> str:
    *most, last = (f'"{word}"' for word in words)
    return f"{', '.join(most)} or {last}"


def text(pattern: str = r"[^\x00-\x1f\x7f]+", *, expected: str = "a text that is not empty, on one line") -> Rule[str]:
    """Take a text that the whole pattern fits."""

    def accept(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value) or not value.strip():
            raise UnfitError
        return value

    return Rule(expected=expected, accept=accept)


def address(example: str) -> Rule[str]:
    """Take the address of a server: one that can be connected to, with nobody's name or password in it."""
    expected = f'an address: "{example}"'

    def accept(value: object) -> str:
        said = text(r"https?://[^\s]+", expected=expected).accept(value)
        if (why := why_no_server(said)) is not None:
            raise UnfitError(why)
        return said

    return Rule(expected=expected, accept=accept)


def many(rule: Rule[Value], *, expected: str, least: int = 0) -> Rule[tuple[Value, ...]]:
    """Take a list in which `rule` takes each member."""

    def accept(value: object) -> tuple[Value, ...]:
        if not isinstance(value, list) or len(value) < least:
            raise UnfitError
        return tuple(rule.accept(member) for member in value)

    return Rule(expected=expected, accept=accept, from_words=_list_of)


def _list_of(words: str) -> object:
    return [word.strip() for word in words.split(",") if word.strip()]


def spelled(value: object) -> str:
    """Spell a value as TOML would, but for tables."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(spelled, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if (
        isinstance(value, int) and value.bit_length() > 128
    ):  # str() refuses thousands of digits, which TOML allows in hex
        return f"a number of {value.bit_length()} bits"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)


def shown(value: object) -> str:
    """Spell a value short enough for a message, without the password of an address."""
    words = "a table" if isinstance(value, dict) else without_password(spelled(value))
    return words if len(words) <= 60 else f"{words[:57]}..."


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Find the known word that somebody who typed `word` may have meant."""
    return next(iter(get_close_matches(word.lower(), tuple(known), n=1, cutoff=0.5)), None)
