"""`luminaguard doctor`: every precondition with a yes, or a no and the way out."""

import argparse
import textwrap
from collections.abc import Sequence
from itertools import groupby

import anyio

from luminaguard.app.doctor import Diagnosis, diagnose
from luminaguard.app.doctor_check import Check, Ok, Who
from luminaguard.model.ids import Json
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.printing import Printer, Style, Styled, printer_for, width

SUMMARY = "what works here, and the way out where something does not"

_LOOKS = {Ok.YES: Style.GREEN, Ok.NO: Style.RED, Ok.NOTE: Style.YELLOW}
_WORD_COLUMNS = 8


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    show_examples(
        parser,
        ("luminaguard doctor", "look at this repository and this machine"),
        ("luminaguard doctor --json", "for programs: checks, and whether a run can begin"),
    )


def run(options: argparse.Namespace) -> int:
    """Look at everything and print it."""
    printer = printer_for(options)
    found = anyio.run(_diagnose, options)
    if printer.is_json:
        printer.document(
            {
                "schema": "luminaguard/doctor@1",
                "checks": [_json(check) for check in found.checks],
                "ready": found.is_ready,
            }
        )
    else:
        _print(printer, found)
    return _exit(found)


async def _diagnose(options: argparse.Namespace) -> Diagnosis:
    return await diagnose(options.repo, backlog=options.backlog)


def _exit(found: Diagnosis) -> Exit:
    if Who.MACHINE in found.must_act:
        return Exit.HOST
    return Exit.USER if found.must_act else Exit.DONE


def _json(check: Check) -> Json:
    return {
        "group": check.group,
        "name": check.name,
        "ok": check.ok.value,
        "said": check.said,
        "way_out": check.way_out,
        "who": check.who.value,
    }


def _print(printer: Printer, found: Diagnosis) -> None:
    column = max(len(check.name) for check in found.checks) + 2
    for group, checks in groupby(found.checks, key=lambda check: check.group):
        printer.line(Styled(group, Style.BOLD))
        for check in checks:
            _print_check(printer, check, column)
    printer.line()
    wrong = [check for check in found.checks if check.ok is Ok.NO]
    if not wrong:
        printer.line(Styled("ready:", Style.GREEN), " luminaguard run")
        return
    listed = ", ".join(f"{check.group}: {check.name}" for check in wrong)
    printer.line(Styled("not ready:", Style.RED), f" {listed}")


def _print_check(printer: Printer, check: Check, column: int) -> None:
    indent = _WORD_COLUMNS + column
    said = _wrapped(check.said, indent)
    head = f"{check.name:<{column}}{said[0]}"
    printer.line("  ", Styled(f"{check.ok.value:<{_WORD_COLUMNS - 2}}", _LOOKS[check.ok]), head)
    for line in said[1:]:
        printer.line(" " * indent + line)
    if check.way_out:
        for line in _wrapped(f"-> {check.way_out}", indent):
            printer.line(" " * indent + line)


def _wrapped(text: str, indent: int) -> Sequence[str]:
    room = max(30, width() - indent)
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
