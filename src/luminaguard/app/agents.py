"""The agents that a configuration names."""

from pathlib import Path

from luminaguard.agents.access import ModelAccess
from luminaguard.agents.acp import AcpAgent
from luminaguard.agents.base import Agent
from luminaguard.agents.builtin import BuiltinAgent
from luminaguard.agents.claude import ClaudeAgent
from luminaguard.agents.codex import CodexAgent
from luminaguard.agents.command import CommandAgent
from luminaguard.agents.replay import ReplayAgent
from luminaguard.app.door import provider_name, provider_of
from luminaguard.app.settings_tables import AgentProtocol, Settings


def agent_named(settings: Settings, name: str, *, root: Path) -> Agent:
    """Give the agent of [agents.NAME]. Paths are relative to the repository."""
    said = settings.agents[name]
    models = _models(settings, name)
    is_proxied = bool(settings.gateway.hosts)
    match said.protocol:
        case AgentProtocol.REPLAY:
            return ReplayAgent(name=name, script=root / (said.script or ""))
        case AgentProtocol.COMMAND:
            return CommandAgent(
                name=name,
                argv=said.argv,
                env_pass=said.env_pass,
                models=models,
                is_proxied=is_proxied,
                resume=said.resume,
            )
        case AgentProtocol.ACP:
            return AcpAgent(
                name=name,
                argv=said.argv,
                models=models,
                mode=said.mode,
                ask=said.ask.value,
                ask_s=said.ask_s,
                turns=said.turns,
                resume=said.resume,
                env_pass=said.env_pass,
                is_proxied=is_proxied,
            )
        case AgentProtocol.CLAUDE:
            return ClaudeAgent(
                name=name,
                models=models,
                turns=said.turns,
                max_usd=settings.budget.usd_per_issue,
                resume=said.resume,
                env_pass=said.env_pass,
                is_proxied=is_proxied,
            )
        case AgentProtocol.CODEX:
            return CodexAgent(
                name=name, models=models, resume=said.resume, env_pass=said.env_pass, is_proxied=is_proxied
            )
        case AgentProtocol.BUILTIN:
            assert models is not None, "the settings are checked for it"
            return BuiltinAgent(
                name=name, models=models, turns=said.turns, env_pass=said.env_pass, is_proxied=is_proxied
            )


def _models(settings: Settings, name: str) -> ModelAccess | None:
    provider = provider_name(settings, name)
    if provider is None:
        return None
    api = provider_of(settings, provider).api
    return ModelAccess(provider=provider, api=api.value, model=settings.agents[name].model)
