"""`luminaguard vm list`: the guests that run."""

import argparse
import time
from collections.abc import Sequence

from luminaguard.app.vms import Guest, guests
from luminaguard.model.ids import Json
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.printing import Printer, Style, Styled, printer_for
from luminaguard.ui.cli.vm.words import iso, span

SUMMARY = "the guests that run; what killed owners left is cleared"
HEAD = ("ID", "PID", "BY", "FROM", "SINCE", "MEMORY", "IMAGE", "REACHED BY")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    show_examples(
        parser,
        ("luminaguard vm list", "every guest of yours on this machine"),
        ("luminaguard vm list --json", "for programs"),
    )


def run(options: argparse.Namespace) -> int:
    """List them."""
    printer = printer_for(options)
    found = guests()
    if printer.is_json:
        running: list[Json] = [_json(one) for one in found.running]
        printer.document({"schema": "luminaguard/vm-guests@1", "guests": running, "cleared": [*found.cleared]})
        return Exit.DONE
    if found.running:
        _print_table(printer, [HEAD, *map(_row, found.running)])
    else:
        printer.line("no guest runs")
    for name in found.cleared:
        printer.note(f"cleared {name}: its owner was killed")
    return Exit.DONE


def _print_table(printer: Printer, rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    for number, row in enumerate(rows):
        line = "  ".join(text.ljust(wide) for text, wide in zip(row, widths, strict=True)).rstrip()
        printer.line(Styled(line, Style.BOLD) if number == 0 else line)


def _row(one: Guest) -> tuple[str, ...]:
    config = one.config
    return (
        one.listed.id,
        str(one.listed.pid),
        one.listed.hypervisor,
        one.listed.spawned_from,
        span(time.time() - one.listed.began),
        f"{config.memory_mib} MiB" if config else "-",
        one.image or "-",
        "vm exec" if config else f"process {one.listed.owner} alone",
    )


def _json(one: Guest) -> dict[str, Json]:
    config = one.config
    return {
        "id": one.listed.id,
        "pid": one.listed.pid,
        "owner": one.listed.owner,
        "driver": one.listed.hypervisor,
        "from": one.listed.spawned_from,
        "began": iso(one.listed.began),
        "kept": config is not None,
        "memory_mib": config.memory_mib if config else None,
        "vcpus": config.vcpus if config else None,
        "image": one.image or None,
        "root": str(config.root) if config and config.root else None,
    }
