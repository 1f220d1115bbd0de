"""The tables of `luminaguard.toml`: a dataclass for each, a field for each key.

Type, rule, default and help of a key stand here and nowhere else. Everything that reads, asks for or explains settings
looks here.
"""

# ruff: noqa: RUF009 `key` gives a dataclass field, as `dataclasses.field` does

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from luminaguard.app.settings_keys import key, many, number, one_of, optional, switch, text, whole
from luminaguard.host.limits import MIB, Limits
from luminaguard.model.isolation import Isolation
from luminaguard.model.work import Severity

_COMMAND = 'a list of words, a program and its arguments: ["python3", "tools/agent.py"]'
_LIMITS = Limits()


class BacklogSource(StrEnum):
    """Where the issues live."""

    LOCAL = "local"
    GITHUB = "github"
    GITLAB = "gitlab"
    GITEA = "gitea"
    FILE = "file"


class AgentProtocol(StrEnum):
    """How an agent is spoken to."""

    ACP = "acp"
    COMMAND = "command"
    BUILTIN = "builtin"
    REPLAY = "replay"


class LandingStyle(StrEnum):
    """What a landed change looks like on the target."""

    SQUASH = "squash"
    MERGE = "merge"


class Approval(StrEnum):
    """Who lets a change land that has passed everything else."""

    AUTO = "auto"
    HUMAN = "human"


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogSettings:
    """[backlog]: where the issues come from. `path` counts only for "file" and is relative to the repository."""

    source: BacklogSource = key(one_of(BacklogSource), BacklogSource.LOCAL, "where the issues live")
    path: str = key(text(), "issues", 'for "file": a folder of Markdown, or an export: beads, gh --json, tasks.json')
    write_back: bool = key(switch(), False, 'for "file": true also closes the issue in the file, in the landing commit')  # noqa: FBT003 a key's default


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """[run]: how the work is done. No `isolation` is "auto"; no `agent` is the only one of [agents]."""

    slots: int = key(whole(1, 1000), 4, "agents at work at once")
    isolation: Isolation | None = key(optional(one_of(Isolation), word="auto"), None, "how thick the walls are")
    agent: str | None = key(optional(text()), None, "who works: a key of [agents]")
    attempts: int = key(whole(1, 100), 3, "tries at an issue before it is held for a person")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """[agents.NAME]: one agent. `argv` belongs to "acp" and "command", `script` to "replay"."""

    protocol: AgentProtocol = key(one_of(AgentProtocol), AgentProtocol.COMMAND, "how the agent is spoken to")
    argv: tuple[str, ...] = key(
        many(text(r"[^\x00]+"), expected=_COMMAND, least=1), (), "the program and its arguments"
    )
    env_pass: tuple[str, ...] = key(
        many(text(r"[A-Za-z_][A-Za-z0-9_]*"), expected='a list of names of environment variables: ["LANG"]'),
        (),
        "environment variables of yours that the agent may see",
    )
    script: str | None = key(optional(text()), None, 'for "replay": the file with the recorded outcomes')


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecksSettings:
    """[checks]: what must pass. No `run` lets the project's files tell; an empty one checks nothing."""

    run: tuple[str, ...] | None = key(
        optional(many(text(), expected='a list of commands: ["make test"]')),
        None,
        "each in the sandbox, on exactly the tree that would land",
    )
    timeout_s: float = key(number(above=0, most=604800), 1800.0, "seconds that each of them may take")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewSettings:
    """[review]: an agent that reads the change. No `agent`, no review."""

    agent: str | None = key(optional(text()), None, "who reviews: a key of [agents]")
    block_at: Severity = key(one_of(Severity), Severity.HIGH, "findings from this severity on hold a change")


@dataclass(frozen=True, slots=True, kw_only=True)
class LandingSettings:
    """[landing]: how a change reaches the target. No `target` is the repository's main branch."""

    target: str | None = key(
        optional(text(r"(?!-)[^\x00-\x20\x7f~^:?*\[\\]+", expected='a branch name, such as "main"')),
        None,
        "the branch that changes land on",
    )
    style: LandingStyle = key(one_of(LandingStyle), LandingStyle.SQUASH, "what a landed change looks like")
    approve: Approval = key(one_of(Approval), Approval.AUTO, '"human" waits for luminaguard approve')


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSettings:
    """[budget]: what an issue may cost."""

    usd_per_issue: float = key(number(at_least=0, most=1e6), 5.0, "US dollars for the models of one issue")
    minutes_per_issue: float = key(number(above=0, most=1e5), 60.0, "minutes of one attempt at an issue")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsSettings:
    """[limits]: what one sandbox may use, in MiB where the name says so."""

    memory_mib: int = key(whole(16, 2**30), _LIMITS.memory_bytes // MIB, "memory of all its processes together")
    processes: int = key(whole(8, 2**20), _LIMITS.processes, "processes and threads at once")
    file_mib: int = key(whole(1, 2**30), _LIMITS.file_bytes // MIB, "the largest file it may write")
    tmp_mib: int = key(whole(1, 2**30), _LIMITS.tmp_bytes // MIB, "scratch space in memory: /tmp and the home")
    disk_mib: int = key(whole(1, 2**30), _LIMITS.disk_bytes // MIB, "what the workspace may grow by")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustSettings:
    """[trust]: whose issues are worked on without a person saying so."""

    authors: tuple[str, ...] = key(
        many(text(), expected='a list of names: ["octocat"]'), (), "only these authors; none named: any that is trusted"
    )
    associations: tuple[str, ...] = key(
        many(text(r"[a-z_]+"), expected='a list of standings in lower case: ["owner", "member"]'),
        ("owner", "member", "collaborator"),
        "authors whose standing in the project is one of these are trusted",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of it. `path` is the file that was read, None where there is none and all is default."""

    path: str | None = None
    backlog: BacklogSettings = BacklogSettings()
    run: RunSettings = RunSettings()
    agents: Mapping[str, AgentSettings] = field(default_factory=dict)
    checks: ChecksSettings = ChecksSettings()
    review: ReviewSettings = ReviewSettings()
    landing: LandingSettings = LandingSettings()
    budget: BudgetSettings = BudgetSettings()
    limits: LimitsSettings = LimitsSettings()
    trust: TrustSettings = TrustSettings()


TABLES: Mapping[str, type[Any]] = MappingProxyType(
    {
        "backlog": BacklogSettings,
        "run": RunSettings,
        "checks": ChecksSettings,
        "review": ReviewSettings,
        "landing": LandingSettings,
        "budget": BudgetSettings,
        "limits": LimitsSettings,
        "trust": TrustSettings,
    }
)
"""The tables of fixed name, as the file spells them; [agents.NAME] comes besides."""

FLAG_TABLES = ("run", "landing", "budget")
"""The tables whose every key is a flag too."""
