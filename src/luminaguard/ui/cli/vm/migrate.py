"""`luminaguard vm migrate`: move a guest that runs."""

import argparse
from pathlib import Path

import anyio

from luminaguard.app.vm_begin import receive
from luminaguard.app.vm_words import config_from
from luminaguard.app.vms import Begun, migrate_here, send
from luminaguard.model.faults import UserFault
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.printing import Printer, printer_for
from luminaguard.ui.cli.vm.words import add_guest_options, print_guest, words_of

SUMMARY = "move a guest to another process or to another machine"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    parser.usage = (
        "luminaguard vm migrate ID [--to HOST:PORT --key FILE]\n"
        "       luminaguard vm migrate --listen HOST:PORT --key FILE [what the guest is]"
    )
    parser.add_argument("id", nargs="?", metavar="ID", help="the guest to move")
    parser.add_argument("--to", metavar="HOST:PORT", help="to the machine that listens there")
    parser.add_argument("--listen", metavar="HOST:PORT", help="take a guest of another machine; port 0 is any")
    parser.add_argument("--key", type=Path, metavar="FILE", help="what both sides know; --listen makes it")
    add_guest_options(parser)
    show_examples(
        parser,
        ("luminaguard vm migrate vm-0123456789ab", "to another process here; it has another id then"),
        ("luminaguard vm migrate --listen 0.0.0.0:4000 --key move.key --image tools", "on the host it moves to"),
        ("luminaguard vm migrate vm-0123456789ab --to host:4000 --key move.key", "on the host where it runs"),
    )


def run(options: argparse.Namespace) -> int:
    """Move it, or wait for one."""
    printer = printer_for(options)
    if bool(options.id) == bool(options.listen):
        raise UserFault(
            "luminaguard vm migrate needs a guest's ID, or --listen", hint="see luminaguard vm migrate --help"
        )
    if bool(options.to or options.listen) != bool(options.key):
        raise UserFault("a guest moves between machines with --key, and only then", hint="add --key FILE to both sides")
    if options.listen:
        print_guest(printer, anyio.run(_received, options, printer))
    elif options.to:
        anyio.run(_send, options)
        _tell_sent(printer, options)
    else:
        print_guest(printer, anyio.run(migrate_here, options.id))
    return Exit.DONE


async def _received(options: argparse.Namespace, printer: Printer) -> Begun:
    def told(address: str) -> None:
        printer.note(f"listening at {address}; the other host needs a copy of {options.key}")

    config = config_from(words_of(options))
    return await receive(config, options.listen, key=options.key, told=told, driver=options.driver)


async def _send(options: argparse.Namespace) -> None:
    await send(options.id, options.to, key=options.key)


def _tell_sent(printer: Printer, options: argparse.Namespace) -> None:
    if printer.is_json:
        printer.document({"schema": "luminaguard/vm-sent@1", "id": options.id, "to": options.to})
    else:
        printer.line(f"{options.id} lives at {options.to} now")
