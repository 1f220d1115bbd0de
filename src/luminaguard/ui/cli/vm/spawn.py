"""`luminaguard vm spawn`: start a guest that goes on without us."""

import argparse

import anyio

from luminaguard.app.vm_begin import spawn
from luminaguard.app.vm_words import config_from
from luminaguard.app.vms import Begun
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.printing import printer_for
from luminaguard.ui.cli.vm.words import add_guest_options, print_guest, words_of

SUMMARY = "start a guest; it goes on until it is stopped or its time is over"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    add_guest_options(parser)
    show_examples(
        parser,
        ("luminaguard vm spawn --image tools", "a guest with the programs of the image `tools`"),
        ("luminaguard vm spawn --image tools --memory 1024 --vcpus 2", "a larger one"),
        ("luminaguard vm spawn --disk data.ext4:rw@/data", "with a disk that it may write to"),
        ("luminaguard vm spawn --forward 8080=/run/door.sock", "127.0.0.1:8080 in it leads to that Unix socket here"),
    )


def run(options: argparse.Namespace) -> int:
    """Start it and print what it is."""
    print_guest(printer_for(options), anyio.run(_spawned, options))
    return Exit.DONE


async def _spawned(options: argparse.Namespace) -> Begun:
    return await spawn(config_from(words_of(options)), driver=options.driver)
