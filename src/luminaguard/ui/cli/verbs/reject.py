"""`luminaguard reject`: a person says no, and why."""

import argparse

from luminaguard.app.steering import last_run
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.steer import tell_done

SUMMARY = "refuse a change, or what an agent asks for"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    parser.add_argument("issue", metavar="ISSUE", help="the issue whose change, or whose agent's wish, is refused")
    parser.add_argument("--why", required=True, metavar="TEXT", help="the reason; a later retry tells it to the agent")
    show_examples(parser, ('luminaguard reject 154 --why "no tests"', "it will not land; `retry` asks for another try"))


def run(options: argparse.Namespace) -> int:
    """Record the no."""
    with last_run(options.repo) as last:
        what = last.reject(options.issue, options.why)
        tell_done(options, last, f"#{options.issue.removeprefix('#')} rejected: {what}")
    return Exit.DONE
