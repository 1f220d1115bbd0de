"""TOML with line numbers: what `tomllib` reads, and the line that each key stands on.

`tomllib` keeps no positions. So the text is read a second time for its keys alone, after `tomllib` has found it valid.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from luminaguard.model.faults import UserFault

KeyPath = tuple[str, ...]
"""Where a key stands: ("agents", "mine", "argv")."""

MAX_BYTES = 256 * 1024
"""A settings file is written by hand; anything longer is some other file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A TOML file as read. `lines` counts from 1 and has every key and every table."""

    path: str
    tree: Mapping[str, object]
    lines: Mapping[KeyPath, int]

    def at(self, *keys: str) -> str:
        """Say where a key stands, "luminaguard.toml:7"; for one that is not written, where its table stands."""
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return f"{self.path}:{self.lines[keys]}" if keys else self.path


def read_toml(text: str, *, path: str) -> Document:
    """Read a TOML text.

    Raises:
        UserFault: it is not TOML; names the file and the line.
    """
    if text.startswith("\ufeff"):
        raise UserFault(f"{path}:1: begins with a byte order mark", hint="save the file as UTF-8 without one")
    if len(text) > MAX_BYTES:
        raise UserFault(
            f"{path}: has {len(text)} characters, at most {MAX_BYTES} are read", hint="is it the right file?"
        )
    try:
        return Document(path=path, tree=tomllib.loads(text), lines=lines_of_keys(text))
    except RecursionError:
        raise UserFault(f"{path}: is nested too deeply to be read") from None
    except ValueError as exc:  # TOMLDecodeError is one; a number of thousands of digits raises a bare one
        raise UserFault(
            _syntax_fault(str(exc), text, path=path), hint="see https://toml.io for what TOML allows"
        ) from None


def _syntax_fault(words: str, text: str, *, path: str) -> str:
    # Before Python 3.14 the line is in the message alone; drop with 3.13.
    told = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", words, re.DOTALL)
    if told is None:
        return f"{path}: is not TOML: {words.partition(';')[0]}"
    line = told[2] or text.rstrip().count("\n") + 1
    column = f", column {told[3]}" if told[3] else ", at the end of the file"
    return f"{path}:{line}: is not TOML: {told[1]}{column}"


def decode(content: bytes, *, path: str) -> str:
    """Decode a file's bytes as UTF-8; raises `UserFault` naming the first line that is not."""
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        message = f"{path}:{line}: is not UTF-8: byte 0x{content[exc.start]:02x}"
        raise UserFault(message, hint="save the file as UTF-8") from None


_TOKEN = re.compile(
    r"""(?P<string>\"{3}(?:\\.|[^\\])*?\"{3,5} | '{3}.*?'{3,5} | \"(?:\\.|[^\"\\\n])*\" | '[^'\n]*')
    | (?P<skip>[ \t\r]+ | \#[^\n]*)
    | (?P<mark>[\[\]{}=,.\n])
    | (?P<bare>[^\s\[\]{}=,.\#\"']+)""",
    re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    text: str
    line: int


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "skip":
            yield _Token(text=match[0], line=line)
        line += match[0].count("\n")


def lines_of_keys(text: str) -> Mapping[KeyPath, int]:
    """Find the line on which each key and each table of a valid TOML text is named first."""
    lines: dict[KeyPath, int] = {}
    _Walk(_tokens(text), lines).document()
    return lines


class _Walk:
    """One pass over the tokens of a valid text, with one token of foresight. The end reads as "" for ever."""

    def __init__(self, tokens: Iterator[_Token], lines: dict[KeyPath, int]) -> None:
        self._tokens = tokens
        self._lines = lines
        self._now = _Token(text="\n", line=0)
        self._step()

    def document(self) -> None:
        """Read headers and statements up to the end."""
        table: KeyPath = ()
        while self._now.text:
            if self._now.text == "\n":
                self._step()
            elif self._now.text == "[":
                table = self._header()
            else:
                self._statement(table)

    def _step(self) -> _Token:
        last = self._now
        self._now = next(self._tokens, _Token(text="", line=last.line))
        return last

    def _header(self) -> KeyPath:
        while self._now.text == "[":
            self._step()
        table = self._key(())
        while self._now.text == "]":
            self._step()
        return table

    def _statement(self, table: KeyPath) -> None:
        path = self._key(table)
        self._step()  # the "="
        self._value(path)

    def _key(self, path: KeyPath) -> KeyPath:
        while self._now.text and self._now.text not in {"=", "]"}:
            part = self._step()
            if part.text != ".":
                path = (*path, _unquoted(part.text))
                self._lines.setdefault(path, part.line)
        return path

    def _value(self, path: KeyPath) -> None:
        if self._now.text == "{":
            self._inside("}", path)
        elif self._now.text == "[":
            self._inside("]", path)
        else:
            self._step()
            while self._now.text not in {"", "\n", ",", "]", "}"}:
                self._step()

    def _inside(self, end: str, path: KeyPath) -> None:
        self._step()
        while self._now.text and self._now.text != end:
            if self._now.text in {",", "\n"}:
                self._step()
            elif end == "}":
                self._statement(path)
            else:
                self._value(path)
        self._step()


def _unquoted(part: str) -> str:
    if part[0] not in "\"'":
        return part
    return next(iter(tomllib.loads(f"{part} = 0")))
