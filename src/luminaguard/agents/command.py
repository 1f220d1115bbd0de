"""Any program as an agent: the prompt on standard input, its commits or changes as the result."""

import os
import shutil
from dataclasses import dataclass

from luminaguard.agents.base import Launch
from luminaguard.model.brief import Brief


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandAgent:
    """An `[agents.NAME]` with `protocol = "command"`. `env_pass` names variables of ours that it may see."""

    name: str
    argv: tuple[str, ...]
    env_pass: tuple[str, ...] = ()

    def missing(self) -> str | None:
        """Say that the program is not on PATH; one that the repository itself carries is looked for at the start."""
        program = self.argv[0]
        if "/" in program or shutil.which(program):
            return None
        return f"the program '{program}' of [agents.{self.name}] is not on PATH; install it or give its path in argv"

    def launch(self, brief: Brief) -> Launch:  # noqa: ARG002 the brief comes on standard input and in the environment
        """Give the command line as configured."""
        passed = {name: os.environ[name] for name in self.env_pass if name in os.environ}
        return Launch(argv=self.argv, env=passed)
