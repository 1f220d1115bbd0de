"""`luminaguard diff`: what an issue's work changes."""

import argparse

from luminaguard.app.steering import last_run
from luminaguard.model.ids import Json
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.printing import printer_for

SUMMARY = "what an issue's work changes"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    parser.add_argument("issue", metavar="ISSUE", help="the issue")
    parser.add_argument("--stat", action="store_true", help="only files and line counts")
    show_examples(
        parser,
        ("luminaguard diff 154", "the change as it landed, or as it stands on its branch"),
        ("luminaguard diff 154 --stat", "only which files"),
    )


def run(options: argparse.Namespace) -> int:
    """Print the difference between the work and what it was built on."""
    printer = printer_for(options)
    with last_run(options.repo) as last:
        work = last.work_of(options.issue)
        text = last.diff(options.issue, is_stat=options.stat)
    if options.json:
        ends: dict[str, Json] = {"base": work.base, "commit": work.commit, "landed": work.is_landed}
        printer.document({"schema": "luminaguard/diff@1", **ends, "diff": text})
    else:
        printer.line(text.rstrip("\n"))
    return Exit.DONE
