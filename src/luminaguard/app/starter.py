"""The first `luminaguard.toml`: what was detected, each line explained, and written without overwriting anything."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import Field, dataclass, fields
from itertools import count
from pathlib import Path
from typing import Any

from luminaguard.app.detect import DetectedChecks
from luminaguard.app.detect_agents import DetectedAgent
from luminaguard.app.detect_forge import NO_FORGE, DetectedForge
from luminaguard.app.settings import FILE_NAME
from luminaguard.app.settings_keys import help_of, rule_of, spelled
from luminaguard.app.settings_tables import TABLES, AgentSettings
from luminaguard.model.faults import HostFault, UserFault

_HELP_COLUMN = 35


def starter_text(checks: DetectedChecks, agents: Sequence[DetectedAgent], forge: DetectedForge = NO_FORGE) -> str:
    """Write the settings file for what was detected. Every key is in it; a default stands behind a '#'."""
    tables = (
        _backlog(forge),
        _table("run", {"slots": 4, "isolation": "auto"} | ({"agent": agents[0].name} if agents else {})),
        _agents(agents),
        f"# Detected: {checks.why}.\n" + _table("checks", {"run": list(checks.run)} if checks.run else {}),
        _table("review", {}),
        _table("landing", {"style": "squash", "approve": "auto"}),
        _table("budget", {}),
        _table("gateway", {}),
        _table("limits", {}),
        _table("trust", {}),
        _table("report", {}),
        _NAMED,
    )
    return _HEAD + "\n\n".join(tables) + "\n"


_HEAD = """\
# What LuminaGuard does in this repository. A line behind a '#' shows a default, or an example.
# Flags win over this file; `luminaguard doctor` tells whether all of it works on this machine.

"""


def _backlog(forge: DetectedForge) -> str:
    token = f"# Its token is read from {forge.token}.\n" if forge.token else ""
    return f"# Detected: {forge.why}.\n{token}" + _table("backlog", {"source": forge.source.value})


def _table(name: str, given: dict[str, object]) -> str:
    lines = [f"[{name}]"]
    for declared in fields(TABLES[name]):
        written = f"{declared.name} = {spelled(given.get(declared.name, _example(name, declared)))}"
        lines.append(_explained(written if declared.name in given else f"# {written}", declared))
    return "\n".join(lines)


def _explained(written: str, declared: Field[Any]) -> str:
    choices = rule_of(declared).choices
    words = f"{help_of(declared)}: {' | '.join(choices)}" if choices else help_of(declared)
    return f"{written.ljust(_HELP_COLUMN)} # {words}"


_EXAMPLES: dict[tuple[str, str], object] = {
    ("backlog", "repository"): "owner/name",
    ("backlog", "base_url"): "https://git.example.org",
    ("backlog", "milestone"): "1.0",
    ("backlog", "assignee"): "octocat",
    ("backlog", "app_id"): "12345",
    ("backlog", "app_key"): "~/keys/app.pem",
    ("run", "isolation"): "auto",
    ("run", "agent"): "mine",
    ("run", "prompt"): "prompt.md",
    ("run", "vm_image"): "toolchain",
    ("checks", "run"): ["make test"],
    ("review", "agent"): "mine",
    ("landing", "target"): "main",
    ("landing", "remote"): "origin",
    ("budget", "usd_per_run"): 50.0,
    ("budget", "tokens_per_issue"): 5_000_000,
    ("budget", "tokens_per_run"): 50_000_000,
    ("budget", "minutes_per_run"): 480.0,
    ("report", "issue"): "12",
    ("report", "category"): "General",
}
"""What to show for a key whose default is None."""


def _example(table: str, declared: Field[Any]) -> object:
    return _EXAMPLES.get((table, declared.name), declared.default)


def _agents(agents: Sequence[DetectedAgent]) -> str:
    return "\n\n".join((_KEYS, *map(_agent, agents))) if agents else _NO_AGENT


def _agent(agent: DetectedAgent) -> str:
    declared = {it.name: it for it in fields(AgentSettings)}
    lines = (_explained(f"{name} = {spelled(value)}", declared[name]) for name, value in agent.table.items())
    wanted = "" if agent.has_key else f"# Its key is read from {agent.key_env}, which is not set at the moment.\n"
    return wanted + "\n".join((f"[agents.{agent.name}]", *lines))


_NAMED = """\
# Models that are not at their maker's, and prices that the table which comes with us does not know: a table for each.
# [providers.mine]
# api = "openai"
# base_url = "http://127.0.0.1:11434"
# key_env = "MY_KEY"
# [prices."my-model"]
# input = 1.0
# output = 2.0
# cached = 0.5"""

_KEYS = """\
# The agents that were found on PATH. Their model calls go through the gateway, which alone knows the key: a sandbox
# sees a dummy. `luminaguard doctor` tells what is missing."""

_NO_AGENT = """\
# No agent program was found on PATH, and no key for a model. Name yours: take the '#' off these lines and off `agent`
# in [run].
# It starts in a private checkout, reads its prompt on standard input and in $LUMINAGUARD_PROMPT_FILE, and leaves
# commits, or changes that are committed for it.
# [agents.mine]
# protocol = "command"
# argv = ["python3", "tools/agent.py"]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The file that was written, and where the one before it went."""

    path: Path
    backup: Path | None


def write_starter(repo: Path, text: str, *, force: bool = False) -> Written:
    """Write `luminaguard.toml`; one that is there stays, unless forced, and then it is kept beside as .bak.

    Raises:
        UserFault: there is one already.
        HostFault: the folder cannot be written to.
    """
    path = repo / FILE_NAME
    try:
        backup = _set_aside(path) if force else None
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        hint = "luminaguard init --force writes a new one and keeps this one as .bak"
        raise UserFault(f"{path}: is there already", hint=hint) from None
    except OSError as exc:
        raise HostFault(f"{path}: cannot be written: {exc.strerror}", hint="mend the folder's permissions") from exc
    return Written(path=path, backup=backup)


def _set_aside(path: Path) -> Path | None:
    if not path.is_file():
        return None
    for name in _backup_names():
        with suppress(FileExistsError):
            backup = path.with_name(f"{path.name}{name}")
            backup.hardlink_to(path)  # a rename would overwrite an older backup
            path.unlink()
            return backup
    return None


def _backup_names() -> Iterator[str]:
    yield ".bak"
    for number in count(2):
        yield f".bak{number}"


def repository_of(folder: Path) -> Path:
    """Find the top of the repository that `folder` lies in.

    Raises:
        UserFault: it lies in none.
    """
    start = folder.resolve()
    for place in (start, *start.parents):
        if (place / ".git").exists():
            return place
    raise UserFault(f"{folder}: is not in a git repository", hint="type git init there, or name one with --repo DIR")
