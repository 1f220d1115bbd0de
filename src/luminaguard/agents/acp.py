"""Agents that speak the Agent Client Protocol."""

from dataclasses import dataclass
from typing import Literal

from luminaguard.agents.access import ModelAccess
from luminaguard.agents.base import Launch
from luminaguard.agents.command import passed, program_missing
from luminaguard.agents.driven import launch_of, setup_of, unfit
from luminaguard.agents.interpreter import package
from luminaguard.agents.presets import preset_of
from luminaguard.agents.setups import Wish
from luminaguard.model.brief import Brief
from luminaguard.sandboxes.base import Mount

PACKAGES = ("acp", "pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection")


@dataclass(frozen=True, slots=True, kw_only=True)
class AcpAgent:
    """An `[agents.NAME]` with `protocol = "acp"`. `ask` is for what goes beyond reading and writing its workspace."""

    name: str
    argv: tuple[str, ...]
    models: ModelAccess | None = None
    mode: str | None = None
    ask: Literal["deny", "ask", "allow"] = "ask"
    ask_s: float = 600.0
    turns: int = 100
    resume: bool = False
    env_pass: tuple[str, ...] = ()
    is_proxied: bool = False

    def missing(self) -> str | None:
        """Say that the program, or our package for the protocol, is not there."""
        if len(_packages()) < len(PACKAGES):
            return f"[agents.{self.name}] protocol 'acp' needs a package more: pip install 'luminaguard[acp]'"
        return program_missing(self.argv[0], self.name) or unfit(self.name, preset_of(self.argv), self.models)

    def launch(self, brief: Brief) -> Launch:
        """Give the driver, and the agent that it is to start."""
        preset = preset_of(self.argv)
        asks = self.ask != "allow"
        wish = Wish(models=self.models, key=brief.key, asks=asks, is_review=brief.is_review) if self.models else None
        mode = self.mode or (preset.mode if preset else None) or ""
        return launch_of(
            "acp_client",
            brief,
            name=self.name,
            argv=self.argv,
            models=self.models,
            setup=setup_of(preset, wish),
            more={"mode": mode, "ask": self.ask, "ask_s": self.ask_s, "turns": self.turns},
            resume=self.resume,
            is_proxied=self.is_proxied,
            env=passed(self.env_pass),
            packages=_packages(),
        )


def _packages() -> tuple[Mount, ...]:
    return tuple(mount for name in PACKAGES if (mount := package(name)) is not None)
