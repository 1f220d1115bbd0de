"""`luminaguard vm snapshot`: guests frozen under a name."""

import argparse

import anyio

from luminaguard.app.vms import Snapshot, remove_snapshot, snapshot, snapshots
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import Json
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.printing import Printer, printer_for
from luminaguard.ui.cli.vm.words import iso, size

SUMMARY = "freeze a guest under a name, list what was frozen, remove it"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    parser.add_argument("id", nargs="?", metavar="ID", help="the guest to freeze; without it, the snapshots are listed")
    parser.add_argument("name", nargs="?", metavar="NAME", help="what to call it (made up)")
    parser.add_argument("--remove", metavar="NAME", help="remove a snapshot; guests that began from it go on")
    show_examples(
        parser,
        ("luminaguard vm snapshot vm-0123456789ab ready", "freeze it; it goes on under QEMU"),
        ("luminaguard vm snapshot", "what was frozen"),
        ("luminaguard vm restore ready", "begin a guest from it, any number of times"),
        ("luminaguard vm snapshot --remove ready", "remove it"),
    )


def run(options: argparse.Namespace) -> int:
    """Freeze, list or remove."""
    printer = printer_for(options)
    if options.remove and options.id:
        raise UserFault("luminaguard vm snapshot: --remove takes no ID", hint="luminaguard vm snapshot --remove NAME")
    if options.remove:
        remove_snapshot(options.remove)
        _tell(printer, options.remove, f"removed {options.remove}")
    elif options.id:
        name = anyio.run(snapshot, options.id, options.name)
        _tell(printer, name, f"{name}  of {options.id}; luminaguard vm restore {name} begins a guest from it")
    else:
        _list(printer)
    return Exit.DONE


def _tell(printer: Printer, name: str, said: str) -> None:
    if printer.is_json:
        printer.document({"schema": "luminaguard/vm-snapshot@1", "name": name})
    else:
        printer.line(said)


def _list(printer: Printer) -> None:
    found = snapshots()
    if printer.is_json:
        printer.document({"schema": "luminaguard/vm-snapshots@1", "snapshots": [_json(one) for one in found]})
        return
    for one in found:
        memory = f"{one.config.memory_mib} MiB"
        printer.line(f"{one.name:<20}  {one.driver}  {memory:>9}  {size(one.bytes):>10} on disk  {iso(one.made)}")
    if not found:
        printer.line("no snapshots; luminaguard vm snapshot ID NAME makes one")


def _json(one: Snapshot) -> dict[str, Json]:
    return {
        "name": one.name,
        "driver": one.driver,
        "made": iso(one.made),
        "bytes": one.bytes,
        "memory_mib": one.config.memory_mib,
        "image": str(one.config.root) if one.config.root else None,
        "made_with": dict(one.made_with),
    }
