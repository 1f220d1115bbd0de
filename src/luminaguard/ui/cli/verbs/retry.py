"""`luminaguard retry`: another try at what was held."""

import argparse

from luminaguard.app.steering import last_run
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.steer import tell_done

SUMMARY = "try a held or failed issue again"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    parser.add_argument("issue", metavar="ISSUE", help="an issue that is held, failed or rejected")
    parser.add_argument("--say", default="", metavar="TEXT", help="what the agent should know this time")
    show_examples(
        parser,
        ("luminaguard retry 154", "begin another attempt, on the work that is there"),
        ('luminaguard retry 154 --say "use the old parser"', "and tell the agent something"),
    )


def run(options: argparse.Namespace) -> int:
    """Record the wish."""
    with last_run(options.repo) as last:
        last.retry(options.issue, options.say)
        tell_done(options, last, f"#{options.issue.removeprefix('#')} will be tried again")
    return Exit.DONE
