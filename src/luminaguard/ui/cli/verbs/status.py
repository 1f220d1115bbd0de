"""`luminaguard status`: what is going on."""

import argparse
import time

from luminaguard.app.steering import LastRun, last_run
from luminaguard.model.ids import IssueId
from luminaguard.reports.json_report import status_json
from luminaguard.reports.status_text import event_line, issue_detail, status_lines
from luminaguard.reports.view import RunView, run_view
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.printing import Printer, printer_for, width

SUMMARY = "what is going on"
LOOK_EVERY_S = 0.3


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    parser.add_argument("issue", nargs="?", metavar="ISSUE", help="one issue, with its checklist")
    parser.add_argument(
        "--follow", action="store_true", help="print what happens as it happens, until the session ends"
    )
    show_examples(
        parser,
        ("luminaguard status", "a line an issue"),
        ("luminaguard status 154", "one issue: its checklist, attempts, files"),
        ("luminaguard status --follow", "go on printing what happens"),
    )


def run(options: argparse.Namespace) -> int:
    """Print the state of the last run."""
    printer = printer_for(options)
    issue = IssueId(options.issue.removeprefix("#")) if options.issue else None
    with last_run(options.repo) as last:
        if issue is not None:
            issue_detail(_view(last), issue)  # an unknown one is told at once, whatever the form
        if options.follow:
            _follow(last, printer)
        view = _view(last)
    if options.json:
        printer.document(status_json(view))
    elif issue is not None:
        printer.line(issue_detail(view, issue))
    else:
        for line in status_lines(view, width=width()):
            printer.line(line)
    return Exit.DONE


def _view(last: LastRun) -> RunView:
    return run_view(last.facts(), now=time.time() if last.is_at_work() else None)


def _follow(last: LastRun, printer: Printer) -> None:
    begun, seen = 0.0, 0
    while True:
        is_at_work = last.is_at_work()
        for fact in last.facts(after=seen):
            seen, begun = fact.seq, begun or fact.time
            if (text := event_line(fact)) is not None:
                printer.line(f"{fact.time - begun:8.1f}s  {text}")
        if not is_at_work:
            return
        time.sleep(LOOK_EVERY_S)
