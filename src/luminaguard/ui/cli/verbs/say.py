"""`luminaguard say`: words for an issue's agent."""

import argparse

from luminaguard.app.steering import last_run
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.steer import tell_done

SUMMARY = "tell an issue's agent something"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    parser.add_argument("issue", metavar="ISSUE", help="the issue")
    parser.add_argument("text", nargs="+", metavar="TEXT", help="what its agent should know")
    show_examples(parser, ('luminaguard say 154 "keep the old name as an alias"', "heard at the agent's next turn"))


def run(options: argparse.Namespace) -> int:
    """Record the words."""
    with last_run(options.repo) as last:
        who = last.say(options.issue, " ".join(options.text))
        tell_done(options, last, f"said to #{options.issue.removeprefix('#')}: {who}")
    return Exit.DONE
