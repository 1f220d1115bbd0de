"""What all agents with a driver of ours behind the walls have in common."""

import json
from collections.abc import Mapping
from pathlib import Path

from luminaguard.agents import inside
from luminaguard.agents.access import ModelAccess, proxy_env
from luminaguard.agents.base import Launch
from luminaguard.agents.interpreter import installation
from luminaguard.agents.presets import Preset
from luminaguard.agents.setups import Setup, Wish
from luminaguard.host.python import interpreter
from luminaguard.model.brief import Brief
from luminaguard.model.ids import Json
from luminaguard.sandboxes.base import GATEWAY_URL, Mount

INSIDE_AT = Path("/run/luminaguard/inside")


def launch_of(
    driver: str,
    brief: Brief,
    *,
    name: str,
    argv: tuple[str, ...],
    models: ModelAccess | None,
    setup: Setup,
    more: Mapping[str, Json],
    resume: bool,
    is_proxied: bool,
    env: Mapping[str, str],
    packages: tuple[Mount, ...] = (),
) -> Launch:
    """Give the launch of a driver.

    Args:
        driver: a module of `inside`.
        brief: the attempt.
        name: the agent's.
        argv: the agent's own command line.
        models: whose models it calls.
        setup: what its program must be told.
        more: fields of the driver's task, by name.
        resume: its home is kept, and its session gone on with.
        is_proxied: there are hosts that the gateway lets through.
        env: more variables for the agent.
        packages: what the driver needs besides the standard library.
    """
    task: dict[str, Json] = {
        "agent": name,
        "argv": [*argv, *setup.args],
        "gateway": GATEWAY_URL,
        "provider": models.provider if models else "",
        "api": models.api if models else "openai",
        "key": brief.key,
        "model": (models.model if models else None) or "",
        "is_review": brief.is_review,
        "is_resumed": resume and not brief.is_review,
        "env": {**setup.env, **env},
        "files": dict(setup.files),
        **more,
    }
    folder = Mount(source=Path(inside.__file__).parent, at=INSIDE_AT)
    return Launch(
        argv=(str(interpreter()), "-I", "-S", str(INSIDE_AT), driver, *(str(mount.at) for mount in packages)),
        env={"LUMINAGUARD_AGENT": json.dumps(task), **(proxy_env(brief.key) if is_proxied else {})},
        mounts=(*installation(), folder, *packages),
        needs_gateway=True,
        keeps_home=resume and not brief.is_review,
    )


def setup_of(preset: Preset | None, wish: Wish | None) -> Setup:
    """Give what a known program must be told, or what most understand."""
    if wish is None:
        return Setup()
    return preset.setup(wish) if preset else Setup(env=wish.env)


def unfit(name: str, preset: Preset | None, models: ModelAccess | None) -> str | None:
    """Say that a program cannot speak with the provider that it is given, or needs a model's name."""
    if preset is None or models is None:
        return None
    if models.api not in preset.apis:
        return (
            f"[agents.{name}] {preset.name} speaks {' or '.join(preset.apis)}, "
            f"and the provider '{models.provider}' {models.api}; give it another provider"
        )
    if preset.needs_model and not models.model:
        return f'[agents.{name}] {preset.name} must be told a model; write model = "..."'
    return None
