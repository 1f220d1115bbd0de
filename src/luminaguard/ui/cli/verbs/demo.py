"""`luminaguard demo`: the whole chain on a sample project, which says itself whether it went as it must."""

import argparse
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anyio
from rich.console import Console
from rich.markdown import Markdown

from luminaguard.app.demo import differences, looks, open_sample
from luminaguard.app.planning import make_plan
from luminaguard.app.project import Project
from luminaguard.reports.json_report import report_json
from luminaguard.reports.markdown import report_markdown
from luminaguard.reports.plan_text import plan_table
from luminaguard.reports.view import RunView
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.printing import Printer, Style, Styled, clean, printer_for, shows_colour, width
from luminaguard.ui.cli.verbs.run import work_with_face

SUMMARY = "the whole chain on a sample project, in under 30 seconds"

_WHAT = (
    "Ten issues of a small Python package: planned, worked on by recorded agents in sandboxes, checked, reviewed, "
    "and landed. Only the agents' words are recorded; git, sandboxes and tests are real. No key, no network."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    parser.add_argument("--keep", type=Path, metavar="DIR", help="make the repository here: a new or an empty folder")
    parser.add_argument("--isolation", metavar="auto|namespace|none", help="how thick the walls are (auto)")
    show_examples(
        parser,
        ("luminaguard demo", "in a temporary folder, whose name is printed"),
        ("luminaguard demo --keep sample", "in ./sample, to look at it afterwards"),
        ("luminaguard demo --isolation none", "on a machine where no sandbox works"),
    )


def run(options: argparse.Namespace) -> int:
    """Make the sample, work through its backlog, and say whether all went as it must."""
    printer = printer_for(options)
    project = open_sample(options.keep, flags={"isolation": options.isolation} if options.isolation else {})
    return anyio.run(_show, project, printer)


async def _show(project: Project, printer: Printer) -> int:
    folder = project.places.root
    for line in textwrap.wrap(_WHAT, width()):
        printer.line(line)
    printer.line(f"In {folder}")
    printer.line()
    plan = (await make_plan(project)).plan
    printer.line(plan_table(replace(plan, risks=(), notices=()), width=width()))
    worked = await work_with_face(project, (), printer)
    assert worked is not None, "the sample has open issues"
    if printer.is_json:
        printer.document(report_json(worked.view))
    else:
        printer.line()
        _print_report(printer, worked.view)
    wrong = differences(worked.view)
    _print_end(printer, folder, wrong)
    return Exit.HELD if wrong else Exit.DONE


def _print_report(printer: Printer, view: RunView) -> None:
    text = report_markdown(view)
    if not sys.stdout.isatty():
        printer.line(text)
        return
    text = clean(text).replace("<br>", ", ")  # rich drops the line ends of a table's cells
    has_colour = printer.wants_colour and shows_colour(sys.stdout)
    Console(no_color=not has_colour, highlight=False).print(Markdown(text, hyperlinks=False))


def _print_end(printer: Printer, folder: Path, wrong: Sequence[str]) -> None:
    printer.line()
    if wrong:
        printer.line(Styled("The demo did not go as it must:", Style.RED))
        for line in wrong:
            printer.line(f"  {line}")
    else:
        printer.line(Styled("All went as it must:", Style.GREEN), " nine landed, one waits for you with its reason.")
    printer.line(f"The repository stays in {folder}. To look at it:")
    for command in looks(folder):
        printer.line(f"  {command}")
