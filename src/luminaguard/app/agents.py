"""The agents that a configuration names."""

from pathlib import Path

from luminaguard.agents.base import Agent
from luminaguard.agents.command import CommandAgent
from luminaguard.agents.replay import ReplayAgent
from luminaguard.app.settings_tables import AgentProtocol, Settings
from luminaguard.model.faults import UserFault


def agent_named(settings: Settings, name: str, *, root: Path) -> Agent:
    """Give the agent of [agents.NAME]. Paths are relative to the repository.

    Raises:
        UserFault: its protocol is not supported by this version.
    """
    said = settings.agents[name]
    match said.protocol:
        case AgentProtocol.COMMAND:
            return CommandAgent(name=name, argv=said.argv, env_pass=said.env_pass)
        case AgentProtocol.REPLAY:
            return ReplayAgent(name=name, script=root / (said.script or ""))
        case _:
            raise UserFault(
                f"{settings.path}: [agents.{name}] protocol = '{said.protocol}' is not supported by this version",
                hint="use protocol = 'command' with the program's own headless command line",
            )
