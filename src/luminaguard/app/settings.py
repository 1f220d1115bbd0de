"""Reading what a user has set: `luminaguard.toml`, and the flags that win over it.

Broken settings raise `UserFault` that names the file and the line, or the flag. `settings_tables` says what there is.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from luminaguard.app.settings_agreed import check_agreed
from luminaguard.app.settings_keys import Rule, UnfitError, help_of, nearest, rule_of, shown
from luminaguard.app.settings_tables import (
    FLAG_TABLES,
    KNOWN_PROVIDERS,
    NAMED_TABLES,
    TABLES,
    AgentProtocol,
    AgentSettings,
    PriceSettings,
    ProviderApi,
    ProviderSettings,
    Settings,
)
from luminaguard.app.settings_toml import MAX_BYTES, Document, KeyPath, decode, read_toml
from luminaguard.host.limits import MIB, Limits
from luminaguard.model.faults import UserFault

__all__ = ["FILE_NAME", "Flag", "Settings", "agent_at_work", "flags", "limits_of", "load", "parse", "with_flags"]

FILE_NAME = "luminaguard.toml"

Where = Callable[[str, str], str]
"""(table, key) -> how to name it to the user: "luminaguard.toml:7: [run] slots", "--slots"."""


def load(repo: Path) -> Settings:
    """Read `luminaguard.toml` of a repository; where there is none, everything is default.

    Raises:
        UserFault: it cannot be read, or holds what it should not; names file, line, key and value.
    """
    path = repo / FILE_NAME
    try:
        if not path.is_file():
            return _settings_without(path)
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise UserFault(f"{path}: cannot be read: {exc.strerror}", hint="mend its permissions") from exc
    if len(content) > MAX_BYTES:
        raise UserFault(f"{path}: has more than {MAX_BYTES} bytes", hint="is it the right file?")
    return parse(decode(content, path=str(path)), path=str(path))


def _settings_without(path: Path) -> Settings:
    if path.is_symlink() or path.exists():
        raise UserFault(f"{path}: is not a file", hint="move it away, then type luminaguard init")
    return Settings()


def parse(text: str, *, path: str) -> Settings:
    """Read the text of a settings file; `path` is how messages call it.

    Raises:
        UserFault: as `load`.
    """
    document = read_toml(text, path=path)
    for name, content in document.tree.items():
        _check_table_known(document, name, content)
    tables = {name: _table(document, (name,), made_as) for name, made_as in TABLES.items()}
    settings = Settings(
        path=path,
        agents=_named(document, "agents", _agent),
        providers=_named(document, "providers", _provider),
        prices=_named(document, "prices", _price),
        **tables,
    )
    _check_agents_named(settings, lambda table, key: f"{document.at(table, key)}: [{table}] {key}")
    _check_providers_named(document, settings)
    check_agreed(document, settings)
    return settings


def _check_table_known(document: Document, name: str, content: object) -> None:
    known = (*TABLES, *NAMED_TABLES)
    if name in known:
        return
    message = f"{document.at(name)}: there is no table or key {shown(name)} (= {shown(content)})"
    raise UserFault(message, hint=_known_words(name, known))


def _table(document: Document, keys: KeyPath, made_as: type[Any]) -> Any:
    known = {declared.name: declared for declared in fields(made_as)}
    return made_as(**{name: _value(document, (*keys, name), known) for name in _content(document, keys)})


def _content(document: Document, keys: KeyPath) -> Mapping[str, object]:
    content: object = document.tree
    for name in keys:
        content = content.get(name, {}) if isinstance(content, dict) else {}
    if isinstance(content, dict):
        return content
    message = f"{document.at(*keys)}: {'.'.join(keys)} must be a table, got {shown(content)}"
    raise UserFault(message, hint=f"write [{'.'.join(keys)}] on a line of its own and its keys below it")


def _value(document: Document, keys: KeyPath, known: Mapping[str, Field[Any]]) -> object:
    *table, name = keys
    value = _content(document, tuple(table))[name]
    where = f"{document.at(*keys)}: [{'.'.join(table)}]"
    if name not in known:
        message = f"{where} has no key {shown(name)} (= {shown(value)})"
        raise UserFault(message, hint=_known_words(name, known))
    return _accepted(rule_of(known[name]), value, f"{where} {name}")


def _known_words(word: str, known: Iterable[str]) -> str:
    guess = nearest(word, known)
    meant = f"did you mean {guess}? " if guess else ""
    return f"{meant}Known here: {', '.join(known)}"


def _accepted(rule: Rule[Any], value: object, where: str) -> object:
    try:
        accepted: object = rule.accept(value)
    except UnfitError as unfit:
        guess = nearest(value, rule.choices) if isinstance(value, str) else None
        message = f"{where} must be {rule.expected}, got {shown(value)}"
        raise UserFault(message, hint=f'did you mean "{guess}"?' if guess else str(unfit)) from None
    return accepted


Made = TypeVar("Made")


def _named(document: Document, table: str, made: Callable[[Document, str], Made]) -> Mapping[str, Made]:
    return MappingProxyType({name: made(document, name) for name in _content(document, (table,))})


_CALLED: Mapping[str, str] = MappingProxyType({"agents": "an agent", "providers": "a provider"})


def _check_name(document: Document, table: str, name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        message = f"{document.at(table, name)}: {shown(name)} cannot be the name of {_CALLED[table]}"
        raise UserFault(message, hint="use letters, digits, - and _")


def _provider(document: Document, name: str) -> ProviderSettings:
    _check_name(document, "providers", name)
    provider: ProviderSettings = _table(document, ("providers", name), ProviderSettings)
    if "api" not in _content(document, ("providers", name)):
        message = f"{document.at('providers', name)}: [providers.{name}] has no api"
        raise UserFault(message, hint=f'write api = "openai" for most of them, or one of: {", ".join(ProviderApi)}')
    return provider


def _price(document: Document, name: str) -> PriceSettings:
    price: PriceSettings = _table(document, ("prices", name), PriceSettings)
    return price


def _agent(document: Document, name: str) -> AgentSettings:
    where = document.at("agents", name)
    _check_name(document, "agents", name)
    agent: AgentSettings = _table(document, ("agents", name), AgentSettings)
    if "protocol" not in _content(document, ("agents", name)):
        message = f"{where}: [agents.{name}] has no protocol"
        raise UserFault(
            message, hint='write protocol = "command" for a program that takes its prompt on standard input'
        )
    _check_protocol_keys(document, name, agent)
    return agent


def _check_protocol_keys(document: Document, name: str, agent: AgentSettings) -> None:
    given = _content(document, ("agents", name))
    for key, protocols in _KEYS_OF_PROTOCOLS.items():
        where = f"{document.at('agents', name, key)}: [agents.{name}]"
        if agent.protocol in protocols and key not in given and key in _KEYS_NEEDED:
            raise UserFault(f'{where} has no {key}, which protocol = "{agent.protocol}" needs')
        if agent.protocol not in protocols and key in given:
            message = f'{where} {key} = {shown(given[key])} means nothing with protocol = "{agent.protocol}"'
            raise UserFault(message, hint="take it out, or change the protocol")


_MODEL_CALLERS = frozenset(AgentProtocol) - {AgentProtocol.REPLAY}
_KEYS_OF_PROTOCOLS: Mapping[str, frozenset[AgentProtocol]] = MappingProxyType(
    {
        "argv": frozenset({AgentProtocol.ACP, AgentProtocol.COMMAND}),
        "script": frozenset({AgentProtocol.REPLAY}),
        "provider": _MODEL_CALLERS,
        "model": _MODEL_CALLERS,
        "resume": _MODEL_CALLERS,
        "turns": _MODEL_CALLERS - {AgentProtocol.COMMAND},
        "ask": frozenset({AgentProtocol.ACP}),
        "ask_s": frozenset({AgentProtocol.ACP}),
        "mode": frozenset({AgentProtocol.ACP}),
    }
)
_KEYS_NEEDED = frozenset({"argv", "script"})


def _check_providers_named(document: Document, settings: Settings) -> None:
    for name, agent in settings.agents.items():
        at = f"{document.at('agents', name)}: [agents.{name}]"
        if agent.provider is not None and agent.provider not in (
            known_names := {*settings.providers, *KNOWN_PROVIDERS}
        ):
            message = f"{at} provider names {shown(agent.provider)}, which is not in [providers]"
            raise UserFault(message, hint=_known_words(agent.provider, sorted(known_names)))
        if agent.protocol is AgentProtocol.BUILTIN and (agent.provider is None or agent.model is None):
            raise UserFault(f"{at} needs a provider and a model", hint='write provider = "..." and model = "..."')


def _check_agents_named(settings: Settings, where: Where) -> None:
    for table, agent in (("run", settings.run.agent), ("review", settings.review.agent)):
        if agent is None or agent in settings.agents:
            continue
        known = _known_words(agent, settings.agents)
        message = f"{where(table, 'agent')} names {shown(agent)}, which is not in [agents]"
        raise UserFault(message, hint=known if settings.agents else f"write a table [agents.{agent}]")


def agent_at_work(settings: Settings) -> str:
    """Name the agent that works on issues: `[run] agent`, or the only one of [agents].

    Raises:
        UserFault: there is none, or several and none is chosen.
    """
    if settings.run.agent is not None:
        return settings.run.agent
    if len(settings.agents) == 1:
        return next(iter(settings.agents))
    if not settings.agents:
        where = settings.path or f"no {FILE_NAME}"
        raise UserFault(
            f"{where}: there is no agent to work", hint="luminaguard init writes one into the file, or an example"
        )
    raise UserFault(
        f"{settings.path}: [agents] has {len(settings.agents)} agents and none is chosen",
        hint=f"set [run] agent, or --agent, to one of: {', '.join(settings.agents)}",
    )


def limits_of(settings: Settings) -> Limits:
    """Give [limits] as sandboxes take them, in bytes."""
    return Limits(
        memory_bytes=settings.limits.memory_mib * MIB,
        processes=settings.limits.processes,
        file_bytes=settings.limits.file_mib * MIB,
        tmp_bytes=settings.limits.tmp_mib * MIB,
        disk_bytes=settings.limits.disk_mib * MIB,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A key that the command line may set. `name` is the key's; `expected` ends "it must be ..."."""

    table: str
    name: str
    help: str
    expected: str
    choices: tuple[str, ...]

    @property
    def option(self) -> str:
        """The key as it is typed: "--minutes-per-issue"."""
        return _option(self.name)


def flags() -> Iterator[Flag]:
    """List the flags, in the order of the file."""
    for table, declared in _flag_keys().values():
        rule = rule_of(declared)
        yield Flag(
            table=table, name=declared.name, help=help_of(declared), expected=rule.expected, choices=rule.choices
        )


def _flag_keys() -> Mapping[str, tuple[str, Field[Any]]]:
    return {declared.name: (table, declared) for table in FLAG_TABLES for declared in fields(TABLES[table])}


def with_flags(settings: Settings, flags: Mapping[str, str]) -> Settings:
    """Let flags win over the file.

    Args:
        settings: what the file says.
        flags: a key's name ("minutes_per_issue") -> the words that were typed; only the flags that were.

    Raises:
        UserFault: as `parse`, naming the flag.
    """
    known = _flag_keys()
    for name, words in flags.items():
        table, declared = known[name]
        rule = rule_of(declared)
        value = _accepted(rule, rule.from_words(words), _option(name))
        settings = replace(settings, **{table: replace(getattr(settings, table), **{name: value})})
    _check_agents_named(settings, lambda table, key: _option(key) if table == "run" else f"[{table}] {key}")
    return settings


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
