"""Codex as an agent, through `codex exec`."""

from dataclasses import dataclass

from luminaguard.agents.access import ModelAccess
from luminaguard.agents.base import Launch
from luminaguard.agents.command import passed, program_missing
from luminaguard.agents.driven import launch_of, setup_of, unfit
from luminaguard.agents.presets import preset_of
from luminaguard.agents.setups import Wish
from luminaguard.model.brief import Brief


@dataclass(frozen=True, slots=True, kw_only=True)
class CodexAgent:
    """An `[agents.NAME]` with `protocol = "codex"`. It has no limit of turns: `turns` counts its uses of tools."""

    name: str
    models: ModelAccess | None = None
    argv: tuple[str, ...] = ("codex",)
    turns: int = 100
    resume: bool = False
    env_pass: tuple[str, ...] = ()
    is_proxied: bool = False

    def missing(self) -> str | None:
        """Say that the program is not there."""
        return program_missing(self.argv[0], self.name) or unfit(self.name, preset_of(("codex",)), self.models)

    def launch(self, brief: Brief) -> Launch:
        """Give the driver, and the agent that it is to start."""
        wish = Wish(models=self.models, key=brief.key, is_review=brief.is_review) if self.models else None
        return launch_of(
            "codex_cli",
            brief,
            name=self.name,
            argv=self.argv,
            models=self.models,
            setup=setup_of(preset_of(("codex",)), wish),
            more={"turns": self.turns},
            resume=self.resume,
            is_proxied=self.is_proxied,
            env=passed(self.env_pass),
        )
