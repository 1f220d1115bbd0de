"""`luminaguard vm bench`: how fast guests begin and move on this machine, and what they cost."""

import argparse
from dataclasses import asdict

import anyio

from luminaguard.app.vm_bench import Measured, measure
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.printing import Printer, printer_for

SUMMARY = "measure starts, restores and moves on this machine"
NAME_COLUMNS = 30


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    parser.add_argument("--quick", action="store_true", help="few samples: rough figures, in a minute or two")
    show_examples(
        parser,
        ("luminaguard vm bench --quick", "a first impression"),
        ("luminaguard vm bench --json > figures.json", "20 samples of each, 100 clones at once"),
    )


def run(options: argparse.Namespace) -> int:
    """Measure and print; nothing else should run on the machine meanwhile."""
    printer = printer_for(options)
    machine, figures = anyio.run(_measured, options, printer)
    if printer.is_json:
        found = [asdict(one) for one in figures]
        printer.document({"schema": "luminaguard/vm-bench@1", "machine": machine, "figures": [*found]})
    return Exit.DONE


async def _measured(options: argparse.Namespace, printer: Printer) -> tuple[str, tuple[Measured, ...]]:
    machine: list[str] = []

    def on(text: str) -> None:
        machine.append(text)
        printer.line(text)
        printer.line(f"{'':<{NAME_COLUMNS}}{'median':>10}{'least':>10}{'most':>10}{'n':>5}{'aim':>8}")

    def report(one: Measured) -> None:
        aim = "" if one.aim is None else f"{one.aim:g}"
        values = f"{one.median:>10.1f}{one.least:>10.1f}{one.most:>10.1f}{one.samples:>5}{aim:>8}"
        printer.line(f"{one.name:<{NAME_COLUMNS}}{values}")

    figures = await measure(is_quick=options.quick, on=on, report=report)
    return "".join(machine), figures
