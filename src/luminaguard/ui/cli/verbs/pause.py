"""`luminaguard pause`: agents at work go on, no other starts."""

import argparse

from luminaguard.app.steering import last_run
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.steer import tell_done

SUMMARY = "let no agent start until resume"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    show_examples(parser, ("luminaguard pause", "agents at work go on, no other starts"))


def run(options: argparse.Namespace) -> int:
    """Record the wish."""
    with last_run(options.repo) as last:
        last.pause()
        tell_done(options, last, "paused: agents at work go on, no other starts; luminaguard resume")
    return Exit.DONE
