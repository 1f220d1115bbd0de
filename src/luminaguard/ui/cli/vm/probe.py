"""`luminaguard vm probe`: what runs guests on this machine."""

import argparse
import textwrap
from dataclasses import asdict

import anyio

from luminaguard.app.vm_probe import Probe, probe
from luminaguard.model.ids import Json
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.printing import Printer, Style, Styled, printer_for, width

SUMMARY = "what runs guests on this machine, and why not where it does not"
NAME_COLUMNS = 13


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    show_examples(
        parser,
        ("luminaguard vm probe", "try every hypervisor; exit code 0 if one works, 3 if none"),
        ("luminaguard vm probe --json", "for programs"),
    )


def run(options: argparse.Namespace) -> int:
    """Try everything and print it."""
    printer = printer_for(options)
    found = anyio.run(probe)
    if printer.is_json:
        printer.document({"schema": "luminaguard/vm-probe@1", **_json(found)})
    else:
        _print(printer, found)
    return Exit.DONE if found.works else Exit.HOST


def _json(found: Probe) -> dict[str, Json]:
    return {
        "auto": found.auto or None,
        "drivers": [
            {
                "name": driver.name,
                "works": not driver.why_not,
                "why_not": driver.why_not or None,
                "said": driver.said,
                "abilities": dict(driver.abilities) or None,
            }
            for driver in found.drivers
        ],
        "parts": [{**asdict(part), "why_not": part.why_not or None, "works": not part.why_not} for part in found.parts],
    }


def _print(printer: Printer, found: Probe) -> None:
    printer.line(Styled("hypervisors", Style.BOLD))
    for driver in found.drivers:
        can = ", ".join(name.replace("_", " ") for name, has in driver.abilities.items() if has) or "nothing but run"
        _print_one(printer, driver.name, driver.why_not, f"{driver.said}; can: {can}")
    printer.line(Styled("what guests need", Style.BOLD))
    for part in found.parts:
        _print_one(printer, part.name, part.why_not, part.said)
    printer.line()
    if found.works:
        printer.line(Styled("works:", Style.GREEN), f" a guest is run by {found.auto}: luminaguard vm spawn")
    else:
        printer.line(Styled("does not work:", Style.RED), " no hypervisor runs guests here; each says what it lacks")


def _print_one(printer: Printer, name: str, why_not: str, said: str) -> None:
    word = Styled("no   ", Style.RED) if why_not else Styled("yes  ", Style.GREEN)
    indent = NAME_COLUMNS + 7
    first, *more = textwrap.wrap(why_not or said, max(30, width() - indent), break_on_hyphens=False) or [""]
    printer.line("  ", word, f"{name:<{NAME_COLUMNS}}{first}")
    for line in more:
        printer.line(" " * indent + line)
