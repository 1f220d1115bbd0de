"""Claude Code as an agent, through `claude -p`."""

from dataclasses import dataclass

from luminaguard.agents.access import ModelAccess
from luminaguard.agents.base import Launch
from luminaguard.agents.command import passed, program_missing
from luminaguard.agents.driven import launch_of, setup_of, unfit
from luminaguard.agents.presets import preset_of
from luminaguard.agents.setups import Wish
from luminaguard.model.brief import Brief


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaudeAgent:
    """An `[agents.NAME]` with `protocol = "claude"`. `max_usd` is Claude Code's own limit, by its own prices."""

    name: str
    models: ModelAccess | None = None
    argv: tuple[str, ...] = ("claude",)
    turns: int = 100
    max_usd: float | None = None
    resume: bool = False
    env_pass: tuple[str, ...] = ()
    is_proxied: bool = False

    def missing(self) -> str | None:
        """Say that the program is not there."""
        return program_missing(self.argv[0], self.name) or unfit(self.name, preset_of(("claude",)), self.models)

    def launch(self, brief: Brief) -> Launch:
        """Give the driver, and the agent that it is to start."""
        wish = Wish(models=self.models, key=brief.key, is_review=brief.is_review) if self.models else None
        return launch_of(
            "claude_cli",
            brief,
            name=self.name,
            argv=self.argv,
            models=self.models,
            setup=setup_of(preset_of(("claude",)), wish),
            more={"turns": self.turns, "max_usd": self.max_usd},
            resume=self.resume,
            is_proxied=self.is_proxied,
            env=passed(self.env_pass),
        )
