"""Our own small agent: nothing to install, a model and its name are enough."""

from dataclasses import dataclass

from luminaguard.agents.access import ModelAccess
from luminaguard.agents.base import Launch
from luminaguard.agents.command import passed
from luminaguard.agents.driven import launch_of, unfit
from luminaguard.agents.presets import PRESETS
from luminaguard.agents.setups import Setup
from luminaguard.model.brief import Brief


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltinAgent:
    """An `[agents.NAME]` with `protocol = "builtin"`."""

    name: str
    models: ModelAccess
    turns: int = 100
    env_pass: tuple[str, ...] = ()
    is_proxied: bool = False

    def missing(self) -> str | None:
        """Say that the provider speaks what it does not, or that no model is named."""
        preset = next(preset for preset in PRESETS if preset.name == "builtin")
        return unfit(self.name, preset, self.models)

    def launch(self, brief: Brief) -> Launch:
        """Give the driver, which is the agent."""
        return launch_of(
            "builtin",
            brief,
            name=self.name,
            argv=(),
            models=self.models,
            setup=Setup(),
            more={"turns": self.turns},
            resume=False,
            is_proxied=self.is_proxied,
            env=passed(self.env_pass),
        )
