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

from luminaguard.app.settings_keys import address, key, many, number, one_of, optional, switch, text, whole
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
    CLAUDE = "claude"
    CODEX = "codex"
    REPLAY = "replay"


class ProviderApi(StrEnum):
    """How a provider of models is spoken to."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"
    GEMINI = "gemini"


class AskPolicy(StrEnum):
    """What becomes of an agent's wish that goes beyond reading and writing in its workspace."""

    DENY = "deny"
    ASK = "ask"
    ALLOW = "allow"


class LandingStyle(StrEnum):
    """What a landed change looks like on the target."""

    SQUASH = "squash"
    MERGE = "merge"


class LandingBy(StrEnum):
    """Who puts a change onto the target."""

    AUTO = "auto"
    PUSH = "push"
    FORGE = "forge"


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
    repository: str | None = key(
        optional(text()), None, 'for a forge: "owner/name"; that of the remote if none is given'
    )
    base_url: str | None = key(
        optional(address("https://git.example.org")),
        None,
        "for a forge of your own: where its API is (GitHub Enterprise), or the server (GitLab, Gitea)",
    )
    labels: tuple[str, ...] = key(
        many(text(), expected='a list of labels: ["ready"]'), (), "only issues with all of these labels"
    )
    milestone: str | None = key(optional(text()), None, "only issues of this milestone")
    assignee: str | None = key(optional(text()), None, "for a forge: only issues of this person")
    app_id: str | None = key(
        optional(text(r"[A-Za-z0-9._-]+", expected='the id of a GitHub App, as text: "12345"')),
        None,
        "for GitHub: be this App instead of the owner of a token",
    )
    app_key: str | None = key(optional(text()), None, "the file with that App's private key")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """[run]: how the work is done. No `isolation` is "auto"; no `agent` is the only one of [agents]."""

    slots: int = key(whole(1, 1000), 4, "agents at work at once")
    isolation: Isolation | None = key(optional(one_of(Isolation), word="auto"), None, "how thick the walls are")
    agent: str | None = key(optional(text()), None, "who works: a key of [agents]")
    attempts: int = key(whole(1, 100), 3, "tries at an issue before it is held for a person")
    prompt: str | None = key(optional(text()), None, "a file with the prompt to use instead of ours")
    poll_s: float = key(number(at_least=0.1, most=86400), 60.0, "for a forge: seconds from one look at it to the next")
    vm_image: str | None = key(
        optional(text()), None, 'for isolation "vm": name or path of a root image, else the programs of this machine'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """[agents.NAME]: one agent. `argv` belongs to "acp" and "command", `script` to "replay".

    `provider`, `model` and what follows belong to those that call a model.
    """

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
    provider: str | None = key(
        optional(text()), None, "whose models it calls, through the gateway: a key of [providers]"
    )
    model: str | None = key(optional(text()), None, "which model, as the provider names it")
    mode: str | None = key(optional(text()), None, 'for "acp": the session mode to choose')
    ask: AskPolicy = key(one_of(AskPolicy), AskPolicy.ASK, "what it may do beyond reading and writing in its workspace")
    ask_s: float = key(number(at_least=0, most=604800), 600.0, 'for ask = "ask": seconds to wait for you, then no')
    turns: int = key(whole(1, 10000), 100, "model calls (turns) of one attempt at most")
    resume: bool = key(switch(), False, "keep its home from one attempt to the next, and go on with its session")  # noqa: FBT003 a key's default


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
    rounds: int = key(whole(0, 100), 2, "how often blocking findings go back to the worker before a person decides")
    block_at: Severity = key(one_of(Severity), Severity.HIGH, "findings from this severity on hold a change")


@dataclass(frozen=True, slots=True, kw_only=True)
class LandingSettings:
    """[landing]: how a change reaches the target. No `target` is the repository's main branch.

    No `remote` is "origin" where the backlog lives on a forge, and none elsewhere: the target is the branch here.
    """

    target: str | None = key(
        optional(text(r"(?!-)[^\x00-\x20\x7f~^:?*\[\\]+", expected='a branch name, such as "main"')),
        None,
        "the branch that changes land on",
    )
    remote: str | None = key(optional(text(r"[A-Za-z0-9][\w./-]*")), None, "the remote that landings are pushed to")
    style: LandingStyle = key(one_of(LandingStyle), LandingStyle.SQUASH, "what a landed change looks like")
    approve: Approval = key(
        one_of(Approval), Approval.AUTO, '"human" waits for luminaguard approve, or an approval on the pull request'
    )
    by: LandingBy = key(
        one_of(LandingBy), LandingBy.AUTO, '"push" is ours, "forge" its merge button or queue; "auto": what rules allow'
    )
    draft: bool = key(switch(), True, "for a forge: pull requests are drafts until our checks pass")  # noqa: FBT003 a key's default
    labels: tuple[str, ...] = key(
        many(text(), expected='a list of labels: ["agent"]'), (), "for a forge: labels of our pull requests"
    )
    remove_branch: bool = key(switch(), False, "true removes the work branch when its issue is closed")  # noqa: FBT003 a key's default
    wait_minutes: float = key(
        number(above=0, most=1e5), 120.0, "minutes to wait for checks of others, or for the forge to merge"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSettings:
    """[budget]: what an issue, and the whole run, may cost. No number, no bound."""

    usd_per_issue: float = key(number(at_least=0, most=1e6), 5.0, "US dollars for the models of one issue")
    usd_per_run: float | None = key(optional(number(at_least=0, most=1e7)), None, "US dollars for the whole run")
    tokens_per_issue: int | None = key(optional(whole(0, 10**12)), None, "tokens in and out for one issue")
    tokens_per_run: int | None = key(optional(whole(0, 10**13)), None, "tokens in and out for the whole run")
    minutes_per_issue: float = key(
        number(above=0, most=1e5), 60.0, "minutes of agents at work on one issue, all attempts"
    )
    minutes_per_run: float | None = key(
        optional(number(above=0, most=1e6)), None, "minutes until no agent starts any more"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """[providers.NAME]: where model calls go, and the environment variable of yours that holds the key."""

    api: ProviderApi = key(one_of(ProviderApi), ProviderApi.OPENAI, "how it is spoken to")
    base_url: str | None = key(
        optional(address("http://127.0.0.1:11434")),
        None,
        "where it is, without the API's own path; the API's maker if none is given",
    )
    key_env: str | None = key(
        optional(text(r"[A-Za-z_][A-Za-z0-9_]*")), None, "the environment variable with the key; it stays outside"
    )


KNOWN_PROVIDERS: Mapping[str, ProviderSettings] = MappingProxyType(
    {
        "anthropic": ProviderSettings(
            api=ProviderApi.ANTHROPIC, base_url="https://api.anthropic.com", key_env="ANTHROPIC_API_KEY"
        ),
        "openai": ProviderSettings(api=ProviderApi.OPENAI, base_url="https://api.openai.com", key_env="OPENAI_API_KEY"),
        "gemini": ProviderSettings(
            api=ProviderApi.GEMINI, base_url="https://generativelanguage.googleapis.com", key_env="GEMINI_API_KEY"
        ),
        "openrouter": ProviderSettings(
            api=ProviderApi.OPENAI, base_url="https://openrouter.ai/api", key_env="OPENROUTER_API_KEY"
        ),
        "ollama": ProviderSettings(api=ProviderApi.OPENAI, base_url="http://127.0.0.1:11434"),
    }
)
"""Providers that need no table of their own; one of the same name wins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSettings:
    """[prices."MODEL"]: what a model costs, where the table that comes with us does not know it or is wrong."""

    input: float = key(number(at_least=0, most=1e6), 0.0, "US dollars for a million tokens in")
    output: float = key(number(at_least=0, most=1e6), 0.0, "US dollars for a million tokens out")
    cached: float | None = key(optional(number(at_least=0, most=1e6)), None, "the same for input found in a cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """[gateway]: what else leaves a sandbox, and what is recorded."""

    hosts: tuple[str, ...] = key(
        many(text(), expected='a list of hosts or presets: ["pypi", "npm", "example.org"]'),
        (),
        "hosts that sandboxes may reach: names, or pypi, npm, crates, go",
    )
    transcripts: bool = key(switch(), False, "true records every model call, keys removed")  # noqa: FBT003 a key's default
    forge: bool = key(switch(), False, "true lets agents read the forge, and comment on their issue")  # noqa: FBT003 a key's default


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsSettings:
    """[limits]: what one sandbox may use, in MiB where the name says so."""

    memory_mib: int = key(whole(16, 2**30), _LIMITS.memory_bytes // MIB, "memory of all its processes together")
    processes: int = key(whole(8, 2**20), _LIMITS.processes, "processes and threads at once")
    file_mib: int = key(whole(1, 2**30), _LIMITS.file_bytes // MIB, "the largest file it may write")
    tmp_mib: int = key(whole(1, 2**30), _LIMITS.tmp_bytes // MIB, "scratch space in memory: /tmp and the home")
    disk_mib: int = key(whole(1, 2**30), _LIMITS.disk_bytes // MIB, "what the workspace may grow by")
    vm_memory_mib: int = key(whole(128, 2**20), 2048, "memory of a micro-VM, its kernel included; at most memory_mib")


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
class ReportSettings:
    """[report]: where a run's report goes at the forge; to an issue or to a category, not to both."""

    post: bool = key(switch(), False, "true posts it after every session in which something landed")  # noqa: FBT003 a key's default
    issue: str | None = key(
        optional(text(r"#?[^\s#]+", expected='the id of an issue, as text: "12"')), None, "as a comment on this issue"
    )
    category: str | None = key(optional(text()), None, "for GitHub, instead: as a discussion in this category")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of it. `path` is the file that was read, None where there is none and all is default."""

    path: str | None = None
    backlog: BacklogSettings = BacklogSettings()
    run: RunSettings = RunSettings()
    agents: Mapping[str, AgentSettings] = field(default_factory=dict)
    providers: Mapping[str, ProviderSettings] = field(default_factory=dict)
    prices: Mapping[str, PriceSettings] = field(default_factory=dict)
    checks: ChecksSettings = ChecksSettings()
    review: ReviewSettings = ReviewSettings()
    landing: LandingSettings = LandingSettings()
    budget: BudgetSettings = BudgetSettings()
    gateway: GatewaySettings = GatewaySettings()
    limits: LimitsSettings = LimitsSettings()
    trust: TrustSettings = TrustSettings()
    report: ReportSettings = ReportSettings()


TABLES: Mapping[str, type[Any]] = MappingProxyType(
    {
        "backlog": BacklogSettings,
        "run": RunSettings,
        "checks": ChecksSettings,
        "review": ReviewSettings,
        "landing": LandingSettings,
        "budget": BudgetSettings,
        "gateway": GatewaySettings,
        "limits": LimitsSettings,
        "trust": TrustSettings,
        "report": ReportSettings,
    }
)
"""The tables of fixed name, as the file spells them."""

NAMED_TABLES = ("agents", "providers", "prices")
"""Those that hold a table for each name."""

FLAG_TABLES = ("run", "landing", "budget")
"""The tables whose every key is a flag too."""
