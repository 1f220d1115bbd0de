"""Where real agents work: behind real walls, with a real gateway before a scripted model."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
from playing import repository
from scripted_model import ScriptedModel

from luminaguard.agents.base import PROMPT_AT, Agent
from luminaguard.gateway.base import Pass
from luminaguard.gateway.ledger import SqliteLedger
from luminaguard.host.detached import Ended, ask_to_stop, run_attached
from luminaguard.host.limits import Limits
from luminaguard.model.brief import Brief
from luminaguard.model.ids import IssueId, RunId
from luminaguard.sandboxes.base import Mount, Walls
from luminaguard.sandboxes.namespace import Namespace

REAL_KEY = "sk-real-0123456789-abcdefghij-ABCDEFGHIJ"
RUN, ISSUE = RunId("run"), IssueId("1")
TREE_AT = Path("/workspace")
HOME_AT = Path("/home/agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """What came of an attempt."""

    ended: Ended
    log: str
    tree: Path

    @property
    def last_line(self) -> str:
        return self.log.splitlines()[-1]

    @property
    def subjects(self) -> list[str]:
        ran = subprocess.run(
            ("git", "-C", str(self.tree), "log", "--format=%s"), capture_output=True, text=True, check=True
        )
        return ran.stdout.splitlines()


@dataclass(slots=True, kw_only=True)
class Lab:
    """Where agents work."""

    folder: Path
    model: ScriptedModel
    ledger: SqliteLedger
    socket: Path
    sandbox: Namespace
    number: int = 0

    def work(
        self,
        agent: Agent,
        prompt: str,
        *,
        stop_when: Callable[[], bool] | None = None,
        timeout_s: float = 240,
        is_review: bool = False,
    ) -> Worked:
        """Make an attempt; stop it as soon as `stop_when` holds."""
        self.number += 1
        place = self.folder / f"place{self.number}"
        holder = Pass(run=RUN, issue=ISSUE, attempt=self.number, role="review" if is_review else "work")
        brief = Brief(
            issue=ISSUE,
            attempt=self.number,
            prompt=prompt,
            timeout_s=timeout_s,
            key=self.ledger.key_for(holder),
            is_review=is_review,
        )
        told = self.folder / f"prompt{self.number}"
        told.write_text(prompt, encoding="utf-8")
        command = self.sandbox.enclose(agent.launch(brief).argv, self._walls(agent, brief, told))

        async def go() -> Ended:
            async with anyio.create_task_group() as group:
                if stop_when is not None:
                    group.start_soon(_stopping, place, stop_when)
                ended = await run_attached(place, command, timeout_s=timeout_s, stdin=told)
                group.cancel_scope.cancel()
            return ended

        ended = anyio.run(go)
        return Worked(ended=ended, log=(place / "log").read_text(encoding="utf-8"), tree=self.folder / "tree")

    def _walls(self, agent: Agent, brief: Brief, told: Path) -> Walls:
        launch = agent.launch(brief)
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        kept = (Mount(source=home, at=HOME_AT, writable=True),) if launch.keeps_home else ()
        names = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        return Walls(
            tree=Mount(source=repository(self.folder), at=TREE_AT, writable=True),
            mounts=(*launch.mounts, *kept, Mount(source=told, at=PROMPT_AT)),
            env={**names, **launch.env},
            limits=Limits(),
            gateway=self.socket if launch.needs_gateway else None,
        )


async def _stopping(place: Path, stop_when: Callable[[], bool]) -> None:
    while not stop_when():  # noqa: ASYNC110 what is waited for is a file, or a row that others write
        await anyio.sleep(0.05)
    ask_to_stop(place)
