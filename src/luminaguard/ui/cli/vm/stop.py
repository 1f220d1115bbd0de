"""`luminaguard vm stop`: end guests."""

import argparse

import anyio

from luminaguard.app.vms import Stopped, stop_all_kept, stop_guests
from luminaguard.model.faults import UserFault
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.printing import printer_for

SUMMARY = "end guests"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="which, whoever began them")
    parser.add_argument("--all", action="store_true", help="all that `vm spawn`, `restore` and `migrate` began")
    show_examples(
        parser,
        ("luminaguard vm stop vm-0123456789ab", "end this one, at once"),
        ("luminaguard vm stop --all", "end all that were spawned; guests of a run are left alone"),
    )


def run(options: argparse.Namespace) -> int:
    """End them, and say which."""
    if bool(options.ids) == options.all:
        raise UserFault("luminaguard vm stop needs ids, or --all", hint="luminaguard vm list shows what runs")
    printer = printer_for(options)
    done = anyio.run(_stopped, options)
    if printer.is_json:
        printer.document({"schema": "luminaguard/vm-stop@1", "stopped": [*done.stopped], "left": [*done.left]})
        return Exit.DONE
    for name in done.stopped:
        printer.line(f"stopped {name}")
    for name in done.left:
        printer.note(f"left alone: {name} belongs to a process that works with it; name it to end it")
    if options.all and not done.stopped:
        printer.line("no guest to stop")
    return Exit.DONE


async def _stopped(options: argparse.Namespace) -> Stopped:
    return await (stop_all_kept() if options.all else stop_guests(options.ids))
