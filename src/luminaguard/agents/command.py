"""Any program as an agent: the prompt on standard input, its commits or changes as the result."""

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from luminaguard.agents.access import ModelAccess, model_env, proxy_env
from luminaguard.agents.base import Launch
from luminaguard.model.brief import Brief
from luminaguard.sandboxes.base import GATEWAY_URL


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandAgent:
    """An `[agents.NAME]` with `protocol = "command"`. `env_pass` names variables of ours that it may see.

    `is_proxied`: there are hosts that the gateway lets through.
    """

    name: str
    argv: tuple[str, ...]
    env_pass: tuple[str, ...] = ()
    models: ModelAccess | None = None
    is_proxied: bool = False
    resume: bool = False

    def missing(self) -> str | None:
        """Say that the program is not on PATH; one that the repository itself carries is looked for at the start."""
        return program_missing(self.argv[0], self.name)

    def launch(self, brief: Brief) -> Launch:
        """Give the command line as configured."""
        env = dict(proxy_env(brief.key)) if self.is_proxied else {}
        if self.models is not None:
            env |= model_env(self.models, brief.key)
            env["LUMINAGUARD_MODEL"] = self.models.model or ""
        if env:
            env |= {"LUMINAGUARD_GATEWAY": GATEWAY_URL, "LUMINAGUARD_KEY": brief.key}
        return Launch(
            argv=self.argv,
            env={**env, **passed(self.env_pass)},
            needs_gateway=bool(env),
            keeps_home=self.resume and not brief.is_review,
        )


def program_missing(program: str, name: str) -> str | None:
    """Say that a program is not on PATH."""
    if "/" in program or shutil.which(program):
        return None
    return f"the program '{program}' of [agents.{name}] is not on PATH; install it or give its path in argv"


def passed(names: Iterable[str]) -> Mapping[str, str]:
    """Give those variables of ours that an agent may see and that are set."""
    return {name: os.environ[name] for name in names if name in os.environ}
