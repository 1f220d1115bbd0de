"""Recorded outcomes as an agent: for the demo, the tests and the benchmarks. Real files, real commits, no model.

The script is JSON: `{"ISSUE": [ATTEMPT, ...]}`, the last one for all that follow. An attempt is an object with `write`
{path: text}, `append` {path: text}, `delete` [path], `commit` "message" (else the changes are left), `say` text, `exit`
code, `work_s` seconds of waiting, `review` a review's answer to print. "*" stands for every issue not named.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from luminaguard.agents import replay_player
from luminaguard.agents.base import Launch
from luminaguard.agents.interpreter import installation
from luminaguard.host.python import interpreter
from luminaguard.model.brief import Brief
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json
from luminaguard.sandboxes.base import Mount

PART_BYTES = 120_000  # Linux takes 128 KiB in one environment variable
PLAYER_AT = Path("/run/luminaguard/player.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayAgent:
    """An `[agents.NAME]` with `protocol = "replay"`."""

    name: str
    script: Path

    def missing(self) -> str | None:
        """Say that the script is not there."""
        return None if self.script.is_file() else f"the script {self.script} of [agents.{self.name}] is not there"

    def launch(self, brief: Brief) -> Launch:
        """Give the player and the one recorded attempt that it plays.

        Raises:
            UserFault: the script is no JSON, or holds nothing for the issue.
        """
        part = json.dumps(self._attempt(brief.issue, brief.attempt))
        if len(part) > PART_BYTES:
            raise UserFault(
                f"{self.script}: an attempt recorded for issue {brief.issue} has {len(part)} bytes",
                hint=f"record less: at most {PART_BYTES} fit",
            )
        player = Mount(source=Path(replay_player.__file__), at=PLAYER_AT)
        argv = (str(interpreter()), "-I", "-S", str(PLAYER_AT))
        return Launch(argv=argv, env={"LUMINAGUARD_REPLAY": part}, mounts=(*installation(), player))

    def _attempt(self, issue: IssueId, number: int) -> Json:
        try:
            script = json.loads(self.script.read_bytes())
        except (OSError, ValueError, RecursionError) as exc:
            raise UserFault(f"{self.script}: cannot be read as JSON: {exc}", hint="mend the replay script") from exc
        attempts = script.get(issue, script.get("*")) if isinstance(script, dict) else None
        if not isinstance(attempts, list) or not attempts:
            raise UserFault(
                f"{self.script}: nothing is recorded for issue {issue}", hint='add it, or a "*" for all others'
            )
        found: Json = attempts[min(number, len(attempts)) - 1]
        if not isinstance(found, dict):
            raise UserFault(
                f"{self.script}: an attempt recorded for issue {issue} is {json.dumps(found)[:80]}, not an object",
                hint='write {"write": {"path": "text"}, "commit": "message"}',
            )
        return found
