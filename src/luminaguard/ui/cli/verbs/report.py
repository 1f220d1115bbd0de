"""`luminaguard report`: what was done, from the facts alone."""

import argparse
from collections.abc import Sequence

import anyio

from luminaguard.app.project import open_project
from luminaguard.app.reporting import post_report
from luminaguard.app.steering import last_run
from luminaguard.model.facts import Fact
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
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--html", action="store_true", help="one HTML page that needs no network")
    form.add_argument("--post", action="store_true", help="post it at the forge, where [report] says; again: edit it")
    show_examples(
        parser,
        ("luminaguard report", "the last run as Markdown"),
        ("luminaguard report --html > report.html", "as a page with a timeline"),
        ("luminaguard report --json", "for programs"),
        ("luminaguard report --post", "as a comment or a discussion; prints its address"),
    )


def run(options: argparse.Namespace) -> int:
    """Print the report of the last run, or post it."""
    with last_run(options.repo) as last:
        facts = last.facts()
    if options.post:
        return anyio.run(_post, options, facts)
    view, printer = run_view(facts), printer_for(options)
    if options.json:
        printer.document(report_json(view))
    else:
        printer.line(report_html(view) if options.html else report_markdown(view))
    return Exit.DONE


async def _post(options: argparse.Namespace, facts: Sequence[Fact]) -> int:
    url = await post_report(open_project(options.repo), facts)
    printer = printer_for(options)
    if options.json:
        printer.document({"schema": "luminaguard/posted@1", "url": url})
    else:
        printer.line(url)
    return Exit.DONE
