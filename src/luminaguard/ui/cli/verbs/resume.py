"""`luminaguard resume`: agents start again."""

import argparse

from luminaguard.app.steering import last_run
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.steer import tell_done

SUMMARY = "let agents start again"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    show_examples(parser, ("luminaguard resume", "agents start again"))


def run(options: argparse.Namespace) -> int:
    """Record the wish."""
    with last_run(options.repo) as last:
        last.resume()
        tell_done(options, last, "resumed")
    return Exit.DONE
