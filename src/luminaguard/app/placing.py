"""Attempts on this machine: a workspace, walls, an agent under a shim, and the way home for what it made."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from anyio import to_thread

from luminaguard.agents.access import forge_env
from luminaguard.agents.base import PROMPT_AT, Agent, Launch
from luminaguard.app.door import Door
from luminaguard.app.folders import attempts_folder, slug
from luminaguard.engine.base import Order, Outcome
from luminaguard.gates.checks import tail_of
from luminaguard.gateway.base import Pass
from luminaguard.host.detached import LOST, Ended, ask_to_stop, bury, is_known, is_lost, start, wait
from luminaguard.host.inside import HOME
from luminaguard.host.limits import Limits
from luminaguard.model.brief import Brief
from luminaguard.model.faults import HostFault
from luminaguard.model.ids import IssueId, RunId
from luminaguard.sandboxes.base import Mount, Sandbox
from luminaguard.workspaces.base import TREE_FAILED, Delivered, Workspaces, with_env, with_preparation

LOST_STARTS = 5
TAIL_BYTES = 16 * 1024
STOPPED = {
    "timeout": "it was stopped at the end of its time",
    "cancelled": "it was asked to stop",
    "output": "it wrote more than can be taken",
    "memory": "it was stopped: its memory was used up ([limits] memory_mib)",
    "processes": "it was stopped: it had too many processes ([limits] processes)",
    "disk": "it was stopped: the disk that it may use was full ([limits] disk_mib)",
    "lost": f"it was killed from outside {LOST_STARTS} times",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPlacement:
    """Places attempts on this machine. Everything about one lies in `folder`/run/issue."""

    agent: Agent
    sandbox: Sandbox
    workspaces: Workspaces
    limits: Limits
    folder: Path
    door: Door | None = None

    @property
    def isolation(self) -> str:
        """The level in force."""
        return self.sandbox.level

    async def place(self, order: Order, *, starting: Callable[[int], Awaitable[None]]) -> Outcome:
        """Make the attempt, or find it again; an agent that was lost with its shim is started on its own work."""
        folder = self._folder(order.run, order.brief.issue)
        prompt = _kept(folder / f"{order.brief.attempt}.prompt.md", order.brief.prompt)
        launch = self.agent.launch(self._briefed(order))
        home = (self._home(folder),) if launch.keeps_home else ()
        mounts = (*launch.mounts, *home, Mount(source=prompt, at=PROMPT_AT))
        bare = await self.workspaces.create(_name(order), order.start, limits=self.limits, mounts=mounts)
        at_home = {"HOME": str(self.sandbox.seen_at(home[0]))} if home else {}
        env = {**self._env(order, launch, mounts[-1]), **await self._forge_env(order), **at_home}
        workspace = with_env(bare, env)
        walls = replace(workspace.walls, gateway=self._gateway(launch))
        number, ended = 0, LOST
        while ended.cause == "lost" and number < LOST_STARTS:
            number += 1
            place = folder / f"{order.brief.attempt}.{number}"
            # A start that was lost before we came back is not made again under its old number.
            if not is_lost(place):
                if not is_known(place):
                    await starting(number)
                command = self.sandbox.enclose(with_preparation(workspace, launch.argv), walls)
                start(place, command, timeout_s=order.brief.timeout_s, stdin=prompt)
                ended = await wait(place)
            if ended.cause == "lost":
                await bury(place)
        ref = f"refs/luminaguard/attempts/{slug(order.run)}/{slug(order.brief.issue)}/{order.brief.attempt}"
        delivered = await self.workspaces.collect(workspace, ref=ref, message=order.message)
        return _outcome(ended, delivered, folder / f"{order.brief.attempt}.{number}" / "log")

    def _briefed(self, order: Order) -> Brief:
        return order.brief if self.door is None else replace(order.brief, key=self._key(order, self.door))

    def _key(self, order: Order, door: Door) -> str:
        return door.ledger.key_for(Pass(run=order.run, issue=order.brief.issue, attempt=order.brief.attempt))

    async def _forge_env(self, order: Order) -> Mapping[str, str]:
        if self.door is None or self.door.forge is None:
            return {}
        forge = self.door.forge
        token = await to_thread.run_sync(forge.token_kept, self._token_path(order), order.brief.issue)
        return forge_env(self._key(order, self.door), token=token, repository=forge.repository)

    def _token_path(self, order: Order) -> Path:
        return self._folder(order.run, order.brief.issue) / f"{order.brief.attempt}.forge-token"

    def _gateway(self, launch: Launch) -> Path | None:
        if not launch.needs_gateway and (self.door is None or self.door.forge is None):
            return None
        if self.door is None:
            raise HostFault("the agent calls a model, and there is no gateway", hint="see `luminaguard doctor`")
        return self.door.socket

    def _home(self, folder: Path) -> Mount:
        home = folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        return Mount(source=home, at=HOME, writable=True)

    def _env(self, order: Order, launch: Launch, prompt: Mount) -> dict[str, str]:
        return {
            **launch.env,
            "LUMINAGUARD_ISSUE": order.brief.issue,
            "LUMINAGUARD_ATTEMPT": str(order.brief.attempt),
            "LUMINAGUARD_ROLE": "work",
            "LUMINAGUARD_WORDS_AFTER": str(order.brief.words_after),
            "LUMINAGUARD_PROMPT_FILE": str(self.sandbox.seen_at(prompt)),
        }

    async def clean(self, order: Order) -> None:
        """Remove the attempt's workspace, and what it may at the forge; its logs stay."""
        if self.door is not None and self.door.forge is not None:
            self.door.forge.revoke(self._token_path(order))
        await self.workspaces.remove(_name(order))

    def stop(self, run: RunId, issue: IssueId) -> None:
        """Ask the issue's agent, if one runs, to stop."""
        for place in self._folder(run, issue).glob("*.*/"):
            ask_to_stop(place)

    def _folder(self, run: RunId, issue: IssueId) -> Path:
        return attempts_folder(self.folder, run, issue)


def _name(order: Order) -> str:
    return f"{slug(order.run)}-{slug(order.brief.issue)}-{order.brief.attempt}"


def _kept(path: Path, text: str) -> Path:
    """Write a file once: an agent that is attached to again has read the first."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8", errors="replace")
        temporary.rename(path)
    return path


def _outcome(ended: Ended, delivered: Delivered, log: Path) -> Outcome:
    stopped = STOPPED.get(ended.cause)
    problem = delivered.refused or stopped
    if problem is None and ended.exit_code == TREE_FAILED and delivered.commit is None:
        problem = "the workspace could not be prepared"
    return Outcome(
        ended=ended.cause,
        exit_code=ended.exit_code,
        seconds=ended.seconds,
        commit=delivered.commit,
        committed_for_agent=delivered.committed,
        problem=problem,
        refused=delivered.refused is not None,
        log=str(log),
        tail=tail_of(log, TAIL_BYTES),
    )
