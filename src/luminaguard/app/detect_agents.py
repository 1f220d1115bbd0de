"""Which agents this machine has, and a working [agents.NAME] for each."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from luminaguard.agents.presets import Preset, installed
from luminaguard.app.settings_tables import KNOWN_PROVIDERS
from luminaguard.model.ids import Json

USUAL_MODELS: Mapping[str, str] = {
    "anthropic": "claude-sonnet-5",
    "openai": "gpt-5.5",
    "gemini": "gemini-3.5-flash",
}
"""What to write for an agent that needs a model's name: one that the price table knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedAgent:
    """An agent that can be used here: the keys of its table in the order to write them.

    `key_env` is the environment variable that its models' key is read from, `has_key` whether that is set.
    """

    name: str
    table: Mapping[str, Json]
    key_env: str | None
    has_key: bool


def detect_agents(path: str | None = None, env: Mapping[str, str] | None = None) -> tuple[DetectedAgent, ...]:
    """Find the agents that can be used here, those whose models have a key first; starts none of them.

    Args:
        path: where programs are looked for, by default the PATH of this process.
        env: where keys are looked for, by default the environment of this process.
    """
    variables = os.environ if env is None else env
    found = [_detected(preset, variables) for preset in installed(path)]
    # Our own needs no program, so it says something of this machine only where there is a key for it.
    return tuple(sorted((it for it in found if it.name != "builtin" or it.has_key), key=lambda it: not it.has_key))


def _detected(preset: Preset, env: Mapping[str, str]) -> DetectedAgent:
    keyed = [api for api in preset.apis if env.get(KNOWN_PROVIDERS[api].key_env or "")]
    provider = keyed[0] if keyed else preset.apis[0]
    model = USUAL_MODELS[provider] if preset.needs_model else None
    return DetectedAgent(
        name=preset.name,
        table=preset.table(provider=provider, model=model),
        key_env=KNOWN_PROVIDERS[provider].key_env,
        has_key=bool(keyed),
    )
