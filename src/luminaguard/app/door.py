"""The gateway of a session: what the settings say of providers, keys, prices and budgets, and the process itself."""

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from luminaguard.app.settings_tables import KNOWN_PROVIDERS, AgentProtocol, ProviderSettings, Settings
from luminaguard.gateway.base import Budget, GatewayConfig, Ledger, Price, Provider
from luminaguard.gateway.ledger import SqliteLedger
from luminaguard.gateway.process import gateway, socket_path_for
from luminaguard.model.faults import UserFault

USUAL = {AgentProtocol.CLAUDE: "anthropic", AgentProtocol.CODEX: "openai"}
"""Whose models an agent calls where its settings do not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """The gateway as attempts see it: a socket to reach it by, a ledger that gives keys and knows what was spent."""

    ledger: Ledger
    socket: Path


def provider_name(settings: Settings, agent: str) -> str | None:
    """Name the provider whose models an agent calls; None where it calls none through us."""
    said = settings.agents[agent]
    return said.provider or USUAL.get(said.protocol)


def provider_of(settings: Settings, name: str) -> ProviderSettings:
    """Give what is set for a provider: the user's own table, or what is known of it."""
    said = settings.providers.get(name)
    known = KNOWN_PROVIDERS.get(name)
    if said is None:
        assert known is not None, name
        return known
    if said.base_url is not None:
        return said
    usual = next(it for it in KNOWN_PROVIDERS.values() if it.api is said.api)
    return ProviderSettings(api=said.api, base_url=usual.base_url, key_env=said.key_env or usual.key_env)


def budget_of(settings: Settings) -> Budget:
    """Give [budget] as the gateway takes it."""
    said = settings.budget
    return Budget(
        usd_per_issue=said.usd_per_issue,
        usd_per_run=said.usd_per_run,
        tokens_per_issue=said.tokens_per_issue,
        tokens_per_run=said.tokens_per_run,
    )


def key_missing(settings: Settings, agent: str) -> str | None:
    """Say that the environment has no key for the models of an agent, or None."""
    name = provider_name(settings, agent)
    wanted = provider_of(settings, name).key_env if name else None
    if wanted is None or os.environ.get(wanted):
        return None
    return f"the environment variable {wanted} with the key of the provider '{name}' is not set"


def config_of(settings: Settings, state: Path, agents: Iterable[str]) -> GatewayConfig | None:
    """Give the gateway's configuration; None where nobody needs one.

    Raises:
        UserFault: the key of a provider is not in the environment.
    """
    agents = tuple(agents)
    names = dict.fromkeys(name for agent in agents if (name := provider_name(settings, agent)))
    if not names and not settings.gateway.hosts:
        return None
    for agent in agents:
        if (why := key_missing(settings, agent)) is not None:
            raise UserFault(why, hint="export it before you start; it goes to the gateway and into no sandbox")
    return GatewayConfig(
        socket=socket_path_for(state),
        ledger=state / "gateway" / "ledger.db",
        providers=tuple(_provider(settings, name) for name in names),
        hosts=settings.gateway.hosts,
        prices={
            model: Price(input=it.input, output=it.output, cached=it.cached) for model, it in settings.prices.items()
        },
        transcripts=state / "gateway" / "transcripts" if settings.gateway.transcripts else None,
    )


def _provider(settings: Settings, name: str) -> Provider:
    said = provider_of(settings, name)
    key = os.environ.get(said.key_env, "") if said.key_env else ""
    return Provider(name=name, api=said.api.value, base_url=(said.base_url or "").rstrip("/"), key=key)


@asynccontextmanager
async def door_for(settings: Settings, state: Path, agents: Iterable[str]) -> AsyncIterator[Door | None]:
    """Hold the gateway open for the block, where one of these agents calls a model or hosts are let through.

    Raises:
        UserFault: the key of a provider is not in the environment.
        HostFault: the gateway does not start.
    """
    config = config_of(settings, state, agents)
    if config is None:
        yield None
        return
    config.ledger.parent.mkdir(parents=True, exist_ok=True)
    with SqliteLedger(config.ledger) as ledger:
        async with gateway(config):
            yield Door(ledger=ledger, socket=config.socket)
