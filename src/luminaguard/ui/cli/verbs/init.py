"""`luminaguard init`: the first settings file."""

import argparse
from dataclasses import dataclass

from luminaguard.app.detect import DetectedChecks, detect_checks_in
from luminaguard.app.detect_agents import DetectedAgent, detect_agents
from luminaguard.app.detect_forge import DetectedForge, detect_forge_in
from luminaguard.app.starter import Written, repository_of, starter_text, write_starter
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.printing import Printer, printer_for

SUMMARY = "write luminaguard.toml with what is detected here"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    parser.add_argument("--force", action="store_true", help="write a new file; the one that is there is kept as .bak")
    show_examples(
        parser,
        ("luminaguard init", "look at this repository and write luminaguard.toml"),
        ("luminaguard init --repo ../site", "the same in another repository"),
        ("luminaguard init --force", "start over, keeping the old file as luminaguard.toml.bak"),
    )


def run(options: argparse.Namespace) -> int:
    """Detect, write, and say what was found."""
    repo = repository_of(options.repo)
    checks = detect_checks_in(repo)
    agents = detect_agents()
    forge = detect_forge_in(repo)
    written = write_starter(repo, starter_text(checks, agents, forge), force=options.force)
    _print(printer_for(options), Found(written=written, checks=checks, agents=agents, forge=forge))
    return Exit.DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was written, and what it was made from."""

    written: Written
    checks: DetectedChecks
    agents: tuple[DetectedAgent, ...]
    forge: DetectedForge


def _print(printer: Printer, found: Found) -> None:
    names, checks, written = [agent.name for agent in found.agents], found.checks, found.written
    if printer.is_json:
        printer.document(
            {
                "schema": "luminaguard/init@1",
                "path": str(written.path),
                "backup": str(written.backup) if written.backup else None,
                "checks": {"run": list(checks.run), "why": checks.why},
                "agents": list(names),
                "forge": {"source": found.forge.source.value, "why": found.forge.why},
            }
        )
        return
    printer.line(f"wrote   {written.path}")
    if written.backup:
        printer.line(f"kept    {written.backup}")
    printer.line(f"issues  {found.forge.source} ({found.forge.why})")
    printer.line(f"checks  {', '.join(checks.run) or 'none'} ({checks.why})")
    printer.line(f"agents  {', '.join(names) or 'none found on PATH; name yours in [agents.mine]'}")
    printer.line("next    luminaguard doctor, then luminaguard plan")
