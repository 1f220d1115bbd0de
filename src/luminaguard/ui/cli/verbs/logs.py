"""`luminaguard logs`: what an issue's agent and checks wrote."""

import argparse
import time
from pathlib import Path

from luminaguard.app.steering import LastRun, last_run
from luminaguard.model.ids import IssueId
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.printing import Printer, Style, Styled, printer_for

SUMMARY = "what an issue's agent and checks wrote"
LOOK_EVERY_S = 0.2


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    parser.add_argument("issue", metavar="ISSUE", help="the issue")
    parser.add_argument("--attempt", type=int, metavar="N", help="only this attempt (all)")
    parser.add_argument("--prompt", action="store_true", help="also what the agent was told")
    parser.add_argument("--follow", action="store_true", help="go on printing while the agent works")
    show_examples(
        parser,
        ("luminaguard logs 154", "all attempts, with the checks that failed"),
        ("luminaguard logs 154 --follow", "watch the agent"),
    )


def run(options: argparse.Namespace) -> int:
    """Print the logs."""
    printer = printer_for(options)
    issue = IssueId(options.issue.removeprefix("#"))
    with last_run(options.repo) as last:
        logs = last.logs(issue, attempt=options.attempt)
        if options.json:
            listed = [{"what": log.what, "text": log.text()} for log in logs]
            printer.document({"schema": "luminaguard/logs@1", "issue": issue, "logs": [dict(it) for it in listed]})
            return Exit.DONE
        read = {path: path.stat().st_size for path in last.live_logs(issue)}
        for log in logs:
            if log.is_prompt and not options.prompt:
                continue
            printer.line(Styled(f"== {log.what}", Style.BOLD))
            if log.path is None:
                printer.line(log.kept.rstrip("\n"))
            else:
                read[log.path] = _print_new(log.path, 0, printer)
        if options.follow:
            _follow(last, issue, read, printer)
    return Exit.DONE


def _follow(last: LastRun, issue: IssueId, read: dict[Path, int], printer: Printer) -> None:
    """Print what comes to the agents' logs, of which `read` bytes are known, until the session ends."""
    while True:
        # Asked before the look: what was written up to the end is printed too.
        is_at_work = last.is_at_work()
        for path in last.live_logs(issue):
            read[path] = _print_new(path, read.get(path, 0), printer)
        if not is_at_work:
            return
        time.sleep(LOOK_EVERY_S)


def _print_new(path: Path, at: int, printer: Printer) -> int:
    with path.open("rb") as file:
        file.seek(at)
        text = file.read()
    if text:
        printer.line(text.decode("utf-8", errors="replace").rstrip("\n"))
    return at + len(text)
