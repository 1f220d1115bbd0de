"""`luminaguard problems`: everything that waits for a person, in one list."""

import argparse
import time

from luminaguard.app.steering import last_run
from luminaguard.reports.status_text import problems_json, problems_text
from luminaguard.reports.view import run_view
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.printing import printer_for

SUMMARY = "everything that waits for a person, and what to do"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    show_examples(parser, ("luminaguard problems", "the list, with what to type for each"))


def run(options: argparse.Namespace) -> int:
    """Print what waits."""
    with last_run(options.repo) as last:
        view = run_view(last.facts(), now=time.time() if last.is_at_work() else None)
    printer = printer_for(options)
    if options.json:
        printer.document(problems_json(view))
    else:
        printer.line(problems_text(view))
    return Exit.DONE
