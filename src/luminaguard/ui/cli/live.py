"""What a run looks like while it runs: a table that moves on a terminal, plain lines in a pipe."""

import sys
import time
from collections.abc import Callable
from typing import Protocol

import anyio
from rich.console import Console
from rich.live import Live
from rich.text import Text

from luminaguard.model.facts import Fact
from luminaguard.reports.status_text import event_line, status_lines
from luminaguard.reports.view import RunView, run_view
from luminaguard.ui.cli.printing import Printer, clean, shows_colour, width

LOOK_EVERY_S = 0.1

Read = Callable[[int], tuple[Fact, ...]]
"""Reads the run's facts with a seq above the number given."""


class Screen(Protocol):
    """Shows a run."""

    async def follow(self, read: Read) -> None:
        """Show what is written, until cancelled."""

    def stop(self) -> None:
        """Leave the terminal as it was."""

    def last_words(self, view: RunView) -> None:
        """Show what the last look did not."""


def screen_for(printer: Printer) -> Screen:
    """Choose by where the output goes; with --json the lines go to standard error."""
    if printer.is_json or not sys.stdout.isatty():
        return Lines(printer)
    return Table(has_colour=printer.wants_colour and shows_colour(sys.stdout))


class Lines:
    """A line a fact, with the seconds since the run began."""

    def __init__(self, printer: Printer) -> None:
        self._printer = printer
        self._begun = 0.0
        self._seen = 0
        self._read: Read | None = None

    async def follow(self, read: Read) -> None:
        """Print new facts as they come. Those of earlier sessions are history: `status --follow` shows them."""
        old = read(0)
        self._read = read
        self._seen = old[-1].seq if old else 0
        self._begun = time.time()
        while True:
            self._print_new()
            await anyio.sleep(LOOK_EVERY_S)

    def _print_new(self) -> None:
        if self._read is None:
            return
        for fact in self._read(self._seen):
            self._seen = fact.seq
            self._print(fact)

    def _print(self, fact: Fact) -> None:
        if (text := event_line(fact)) is not None:
            self._printer.line(f"{max(0.0, fact.time - self._begun):8.1f}s  {text}")

    def stop(self) -> None:
        """Print what the last look did not show."""
        self._print_new()
        self._read = None

    def last_words(self, view: RunView) -> None:
        """Nothing more: all lines are out."""


class Table:
    """A line an issue, redrawn in place."""

    def __init__(self, *, has_colour: bool) -> None:
        self._console = Console(no_color=not has_colour, highlight=False, markup=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    async def follow(self, read: Read) -> None:
        """Redraw twice a second, or when something happened."""
        self._live.start()
        while True:
            self._live.update(self._picture(run_view(read(0), now=time.time())), refresh=True)
            await anyio.sleep(LOOK_EVERY_S * 3)

    def _picture(self, view: RunView) -> Text:
        # The end of a long list is where things move; the whole list stands in `status`.
        lines = status_lines(view, width=width() - 1)
        room = max(5, self._console.size.height - 2)
        return Text("\n".join(clean(line) for line in (lines if len(lines) <= room else lines[-room:])))

    def stop(self) -> None:
        """Give the terminal back."""
        self._live.stop()

    def last_words(self, view: RunView) -> None:
        """Leave the final state on the screen; the totals, its last line, are said by whoever ends the command."""
        lines = status_lines(view, width=width() - 1)[:-1]
        self._console.print(Text("\n".join(map(clean, lines))))
