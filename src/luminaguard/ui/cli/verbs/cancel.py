"""`luminaguard cancel`: stop an issue, or all of them."""

import argparse

from luminaguard.app.steering import last_run
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.steer import tell_done

SUMMARY = "stop an issue, or the whole run"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    parser.add_argument("issue", nargs="?", metavar="ISSUE", help="only this one; without it, all that has not landed")
    show_examples(
        parser,
        ("luminaguard cancel 154", "stop work on #154; what was made stays on its branch"),
        ("luminaguard cancel", "stop everything that has not landed"),
    )


def run(options: argparse.Namespace) -> int:
    """Record the wish, and stop agents that go on without an orchestrator."""
    with last_run(options.repo) as last:
        stopped = last.cancel(options.issue)
        last.stop_agents(stopped)
        tell_done(options, last, f"cancelled: {', '.join(f'#{it}' for it in stopped) or 'nothing was left to cancel'}")
    return Exit.DONE
