"""`luminaguard diff`: what an issue's work changes."""

import argparse

from luminaguard.app.steering import LastRun
from luminaguard.host.git import Git, find_repository
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
    places = find_repository(options.repo)
    with LastRun(places) as last:
        work = last.work_of(options.issue)
    form = ["--stat"] if options.stat else ["--no-color", "--no-ext-diff", "--no-textconv"]
    span = f"{work.base}..{work.commit}" if work.is_landed else f"{work.base}...{work.commit}"
    ran = Git(places.root).run_blocking("diff", *form, span)
    printer = printer_for(options)
    text = ran.out.decode("utf-8", errors="replace")
    if options.json:
        ends: dict[str, Json] = {"base": work.base, "commit": work.commit, "landed": work.is_landed}
        printer.document({"schema": "luminaguard/diff@1", **ends, "diff": text})
        return Exit.DONE
    printer.line(text.rstrip("\n"))
    return Exit.DONE
