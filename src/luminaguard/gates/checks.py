"""The project's own checks, in a sandbox, on exactly the tree that would land."""

import hashlib
import json
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from luminaguard.gates.base import Subject
from luminaguard.host.detached import Ended, run_attached
from luminaguard.host.limits import Limits
from luminaguard.model.faults import Transient
from luminaguard.model.work import CommandResult, Verdict
from luminaguard.sandboxes.base import Sandbox
from luminaguard.workspaces.base import TREE_FAILED, Start, Workspace, Workspaces, with_preparation

TAIL_BYTES = 16 * 1024
WORDS = {
    "timeout": "was stopped after {limit:g} s",
    "memory": "used more memory than [limits] allows",
    "processes": "started more processes than [limits] allows",
    "disk": "wrote more to disk than [limits] allows",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """Runs the commands one after the other, in one fresh checkout, until one fails."""

    commands: tuple[str, ...]
    timeout_s: float
    workspaces: Workspaces
    sandbox: Sandbox
    limits: Limits
    folder: Path
    name: str = "checks"

    def missing(self) -> str | None:
        """Say that there is nothing to run, or why the sandbox does not work here."""
        if not self.commands:
            return "no checks are configured and none were detected; set run = [...] under [checks]"
        return self.sandbox.missing()

    @property
    def fingerprint(self) -> str:
        """What a verdict depends on besides the tree."""
        parts = [self.sandbox.level, self.timeout_s, *self.commands]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    async def judge(self, subject: Subject) -> Verdict:
        """Run the checks on the commit's tree; red with the end of the log where one fails."""
        name = f"checks-{subject.commit[:16]}-{secrets.token_hex(4)}"
        shutil.rmtree(self.folder / name, ignore_errors=True)
        start = Start(branch="candidate", commit=subject.commit)
        workspace = await self.workspaces.create(name, start, limits=self.limits)
        try:
            return await self._all(workspace, self.folder / name)
        finally:
            await self.workspaces.discard(workspace)

    async def _all(self, workspace: Workspace, folder: Path) -> Verdict:
        results: list[CommandResult] = []
        for number, command in enumerate(self.commands):
            argv = ("sh", "-c", command)
            enclosed = self.sandbox.enclose(argv if number else with_preparation(workspace, argv), workspace.walls)
            place = folder / str(number)
            ended = await run_attached(place, enclosed, timeout_s=self.timeout_s)
            if ended.cause in ("lost", "owner gone") or (not number and ended.exit_code == TREE_FAILED):
                raise Transient(f"the checks on {workspace.name} were cut short ({ended.cause})", hint="try again")
            results.append(_result(command, ended, place / "log"))
            if ended.exit_code != 0 or ended.cause != "exited":
                return self._red(results, ended)
        return Verdict(ok=True, why="all checks passed", seconds=_total(results), commands=tuple(results))

    def _red(self, results: list[CommandResult], ended: Ended) -> Verdict:
        last = results[-1]
        said = WORDS.get(ended.cause, f"ended with exit code {last.exit_code}").format(limit=self.timeout_s)
        why = f"`{last.command}` {said}"
        return Verdict(ok=False, why=why, log=last.tail, seconds=_total(results), commands=tuple(results))


def _total(results: list[CommandResult]) -> float:
    return sum(result.seconds for result in results)


def _result(command: str, ended: Ended, log: Path) -> CommandResult:
    tail = tail_of(log, TAIL_BYTES)
    return CommandResult(command=command, exit_code=ended.exit_code, seconds=ended.seconds, tail=tail)


def tail_of(log: Path, size: int) -> str:
    """Read the end of a log, whatever bytes it holds; "" where there is none."""
    try:
        with log.open("rb") as file:
            length = file.seek(0, 2)
            file.seek(max(0, length - size))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
