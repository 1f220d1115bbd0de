"""`luminaguard vm restore`: begin a guest from a snapshot."""

import argparse

import anyio

from luminaguard.app.vm_begin import restore
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.printing import printer_for
from luminaguard.ui.cli.vm.words import print_guest

SUMMARY = "begin a guest from a snapshot"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    parser.add_argument("name", metavar="NAME", help="the snapshot's name")
    show_examples(
        parser,
        ("luminaguard vm restore ready", "programs that ran in it go on, with fresh entropy and the right time"),
        ("luminaguard vm snapshot", "which there are"),
    )


def run(options: argparse.Namespace) -> int:
    """Begin it and print what it is."""
    print_guest(printer_for(options), anyio.run(restore, options.name))
    return Exit.DONE
