"""`luminaguard approve`: a person says yes."""

import argparse

from luminaguard.app.steering import last_run
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.steer import tell_done

SUMMARY = "let a change land, or an agent do what it asks for"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    parser.add_argument("issue", metavar="ISSUE", help="the issue whose change, author or agent's wish is approved")
    show_examples(parser, ("luminaguard approve 154", "the change for #154 may land"))


def run(options: argparse.Namespace) -> int:
    """Record the yes."""
    with last_run(options.repo) as last:
        what = last.approve(options.issue)
        tell_done(options, last, f"#{options.issue.removeprefix('#')} approved: {what}")
    return Exit.DONE
