"""Words on the command line: the parser in our voice, and the options that every verb has."""

import argparse
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from luminaguard import __version__
from luminaguard.model.faults import UserFault
from luminaguard.ui.cli.printing import Printer

WITH_VALUE = frozenset({"--repo", "--backlog"})
"""The global options that take the next word."""


class Parser(argparse.ArgumentParser):
    """argparse that raises `UserFault` instead of ending the process, and prints through `printing`."""

    def __init__(self, prog: str, **more: Any) -> None:
        super().__init__(prog=prog, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **more)

    def error(self, message: str) -> NoReturn:
        """Refuse the words that were typed."""
        raise UserFault(f"{self.prog}: {message}", hint=f"{self.prog} --help shows what there is")

    def print_help(self, file: object = None) -> None:  # noqa: ARG002 argparse's signature
        """Print the help on standard output."""
        Printer().line(self.format_help().rstrip("\n"))

    def parse_all(self, words: Sequence[str], into: argparse.Namespace) -> argparse.Namespace:
        """Parse every word; an unknown option is answered with the nearest one."""
        options, unknown = self.parse_known_args(words, into)
        if not unknown:
            return options
        name = unknown[0].partition("=")[0]
        guess = difflib.get_close_matches(name, self._option_string_actions, n=1)
        hint = f"did you mean {guess[0]}? " if guess else ""
        what = "option" if name.startswith("-") else "word"
        raise UserFault(f"{self.prog}: unknown {what} {name}", hint=f"{hint}{self.prog} --help shows what there is")


class _PrintVersion(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        Printer().line(f"luminaguard {__version__}")
        parser.exit()


def add_global_options(parser: argparse.ArgumentParser) -> None:
    """Add what works before and after every verb. An option that is not typed leaves what was there before."""
    group = parser.add_argument_group("everywhere")
    unset = argparse.SUPPRESS
    group.add_argument("--repo", type=Path, default=unset, metavar="DIR", help="the repository to work in (here)")
    group.add_argument(
        "--backlog", type=Path, default=unset, metavar="PATH", help="read the issues from this file or folder"
    )
    group.add_argument("--json", action="store_true", default=unset, help="print one JSON document, for programs")
    group.add_argument("--no-color", action="store_true", default=unset, help="no colours (NO_COLOR=1 does the same)")
    group.add_argument("--version", action=_PrintVersion, nargs=0, help="print the version")


def global_defaults() -> argparse.Namespace:
    """Say what the global options are when nobody types them."""
    return argparse.Namespace(repo=Path(), backlog=None, json=False, no_color=False)


def show_examples(parser: argparse.ArgumentParser, *examples: tuple[str, str]) -> None:
    """Put examples under a verb's help: what to type, and what it does."""
    parser.epilog = listed("examples", dict(examples))


def listed(title: str, lines: Mapping[str, str]) -> str:
    """Write a titled list of names and what they mean, in columns."""
    column = max(10, *map(len, lines)) + 2  # groups of short names below each other line up
    return "\n".join((f"{title}:", *(f"  {name.ljust(column)}{text}" for name, text in lines.items())))
