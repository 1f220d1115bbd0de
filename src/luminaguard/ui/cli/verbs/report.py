"""`luminaguard report`: what was done, from the facts alone."""

import argparse

from luminaguard.app.steering import last_run
from luminaguard.reports.html import report_html
from luminaguard.reports.json_report import report_json
from luminaguard.reports.markdown import report_markdown
from luminaguard.reports.view import run_view
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.printing import printer_for

SUMMARY = "what was done: Markdown, HTML, or JSON"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    parser.add_argument("--html", action="store_true", help="one HTML page that needs no network")
    show_examples(
        parser,
        ("luminaguard report", "the last run as Markdown"),
        ("luminaguard report --html > report.html", "as a page with a timeline"),
        ("luminaguard report --json", "for programs"),
    )


def run(options: argparse.Namespace) -> int:
    """Print the report of the last run."""
    with last_run(options.repo) as last:
        view = run_view(last.facts())
    printer = printer_for(options)
    if options.json:
        printer.document(report_json(view))
    else:
        printer.line(report_html(view) if options.html else report_markdown(view))
    return Exit.DONE
