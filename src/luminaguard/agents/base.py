"""The seam of agents: a brief goes in, a command line for the workspace comes out.

What an agent did is judged by its commits and by the checks alone, never by its exit code or its words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from luminaguard.model.brief import Brief
from luminaguard.sandboxes.base import Mount

PROMPT_AT = Path("/run/luminaguard/prompt.md")
"""Where an agent behind walls finds its prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to start an agent inside its sandbox: the prompt is on standard input and in $LUMINAGUARD_PROMPT_FILE.

    `mounts` are files of ours that the agent needs to see, read-only. `needs_gateway`: it calls a model through
    `GATEWAY_URL`. `keeps_home`: its home is kept from one attempt at an issue to the next, so that it finds its
    session again.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    needs_gateway: bool = False
    keeps_home: bool = False


class Agent(Protocol):
    """One configured agent, a key of [agents]."""

    @property
    def name(self) -> str:
        """Its key."""

    def missing(self) -> str | None:
        """Say why this agent cannot be started here, or None."""

    def launch(self, brief: Brief) -> Launch:
        """Give the command line for one attempt. Starts nothing."""
