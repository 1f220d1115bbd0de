"""The gateway of a session: what the settings say of providers, keys, prices and budgets, and the process itself."""

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from luminaguard.app.forge_door import ForgeDoor
from luminaguard.app.settings_tables import KNOWN_PROVIDERS, AgentProtocol, ProviderSettings, Settings
from luminaguard.gateway.base import Budget, GatewayConfig, Ledger, Price, Provider
from luminaguard.gateway.ledger import SqliteLedger
from luminaguard.gateway.process import gateway, socket_path_for
from luminaguard.model.faults import UserFault

USUAL = {AgentProtocol.CLAUDE: "anthropic", AgentProtocol.CODEX: "openai"}
"""Whose models an agent calls where its settings do not say."""

FORGE = "forge"
"""What a program inside calls instead of a provider's name, to reach the forge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """The gateway as attempts see it: a socket to reach it by, a ledger that gives keys and knows what was spent.

    `forge` is the repository's own, where agents reach it.
    """

    ledger: Ledger
    socket: Path
    forge: ForgeDoor | None = None


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


def config_of(
    settings: Settings, state: Path, agents: Iterable[str], *, forge: Path | None = None
) -> GatewayConfig | None:
    """Give the gateway's configuration, with the socket of the forge; None where nobody needs one.

    Raises:
        UserFault: the key of a provider is not in the environment, or its name is taken.
    """
    agents = tuple(agents)
    names = dict.fromkeys(name for agent in agents if (name := provider_name(settings, agent)))
    if not names and not settings.gateway.hosts and forge is None:
        return None
    if forge is not None and FORGE in names:
        raise UserFault(
            f"{settings.path}: with [gateway] forge = true, no provider can be called '{FORGE}'",
            hint=f"give [providers.{FORGE}] another name",
        )
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
        forge=forge,
    )


def _provider(settings: Settings, name: str) -> Provider:
    said = provider_of(settings, name)
    key = os.environ.get(said.key_env, "") if said.key_env else ""
    return Provider(name=name, api=said.api.value, base_url=(said.base_url or "").rstrip("/"), key=key)


@asynccontextmanager
async def door_for(
    settings: Settings, state: Path, agents: Iterable[str], *, forge: ForgeDoor | None = None
) -> AsyncIterator[Door | None]:
    """Hold the gateway open for the block, where an agent calls a model, or hosts or the forge are let through.

    Raises:
        UserFault: the key of a provider is not in the environment.
        HostFault: the gateway does not start.
    """
    config = config_of(settings, state, agents, forge=forge.socket if forge else None)
    if config is None:
        yield None
        return
    config.ledger.parent.mkdir(parents=True, exist_ok=True)
    with SqliteLedger(config.ledger) as ledger:
        async with gateway(config):
            yield Door(ledger=ledger, socket=config.socket, forge=forge)
