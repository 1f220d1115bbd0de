"""The only place that prints. Standard output is for what was asked, standard error for all that is said about it."""

import argparse
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from io import TextIOWrapper
from typing import TextIO

from luminaguard.model.faults import HostFault
from luminaguard.model.ids import Json


class ReaderLeftError(Exception):
    """Whoever read our output has closed it, as `head` does."""


class Style(Enum):
    """How a piece of text looks on a terminal with colours: its SGR numbers."""

    BOLD = "1"
    FAINT = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    BLUE = "34"


@dataclass(frozen=True, slots=True)
class Styled:
    """A piece of a line that has a look of its own."""

    text: str
    style: Style


_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, so that no escape sequence comes through
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the direction of what follows
    "\u2028\u2029\ud800-\udfff]"
)


def clean(text: str) -> str:
    """Take out what would steer a terminal: issues, agents and file names are written by strangers. Lines stay."""
    return _UNPRINTABLE.sub("", text.replace("\r\n", "\n"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Printer:
    """How this process prints: for a program (one JSON document), or for a person, with colours where they show."""

    is_json: bool = False
    wants_colour: bool = True

    def line(self, *parts: str | Styled) -> None:
        """Print a line. With --json it goes to standard error, so that the document stays alone."""
        self._print(sys.stderr if self.is_json else sys.stdout, parts)

    def note(self, *parts: str | Styled) -> None:
        """Print a line about the work on standard error: a warning, an error, a hint."""
        self._print(sys.stderr, parts)

    def document(self, content: Mapping[str, Json]) -> None:
        """Print the one JSON document of --json."""
        _write(sys.stdout, json.dumps(content, indent=2, allow_nan=False) + "\n")

    def _print(self, stream: TextIO, parts: tuple[str | Styled, ...]) -> None:
        has_colour = self.wants_colour and shows_colour(stream)
        _write(stream, "".join(_piece(part, has_colour=has_colour) for part in parts) + "\n")


def _piece(part: str | Styled, *, has_colour: bool) -> str:
    if isinstance(part, str):
        return clean(part)
    return f"\x1b[{part.style.value}m{clean(part.text)}\x1b[0m" if has_colour else clean(part.text)


def printer_for(options: argparse.Namespace) -> Printer:
    """Make the printer that the global options ask for."""
    return Printer(is_json=options.json, wants_colour=not options.no_color)


def shows_colour(stream: TextIO) -> bool:
    """Tell whether a stream ends in a terminal that shows colours, and whose user wants them."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Give the columns of the terminal, 100 where there is none; never fewer than 40."""
    return max(40, shutil.get_terminal_size(fallback=(100, 24)).columns)


def prepare_streams() -> None:
    """Let no character that a terminal cannot show end the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def pass_through(data: bytes, *, is_error: bool) -> None:
    """Write what another program wrote, as it is, to standard output or error."""
    stream = sys.stderr if is_error else sys.stdout
    try:
        stream.buffer.write(data)
        stream.buffer.flush()
    except BrokenPipeError:
        _silence(stream)
        raise ReaderLeftError from None
    except OSError as exc:
        _silence(stream)
        raise HostFault(f"{stream.name} cannot be written: {exc.strerror}", hint="is the disk full?") from exc


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        _silence(stream)
        raise ReaderLeftError from None
    except OSError as exc:
        _silence(stream)
        raise HostFault(f"{stream.name} cannot be written: {exc.strerror}", hint="is the disk full?") from exc


def _silence(stream: TextIO) -> None:
    """Let what is left in the stream go nowhere: the interpreter flushes once more at its end, and would complain."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
