"""Programs that end with us, however we end: each runs under a shell that waits for the end of a pipe from us.

The kernel closes the pipe when we die. A signal at the parent's death would be lost where a program changes its user,
as Firecracker's jailer does, and macOS has none.
"""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from luminaguard.model.faults import Fault, HostFault, Transient

T = TypeVar("T")

END_WITHIN_S = 10.0
SETTLE_S = 1.0
TAIL_BYTES = 2000
MINDER = r"""
exec 3<&0 </dev/null
life=$1 folder=$2
shift 2
"$@" >&2 3<&- &
it=$!
( read -r _ <&3; kill -KILL "$it" ) >/dev/null 2>&1 &
( exec 3<&-; sleep "$life"; kill -KILL "$it" ) >/dev/null 2>&1 &
echo "$it"
wait "$it"
rm -rf -- "$folder"
echo ended
kill -KILL 0
"""


@dataclass(slots=True, kw_only=True)
class Minded:
    """A running program. Its folder goes with it."""

    pid: int
    folder: Path
    minder: subprocess.Popen[bytes]
    said: IO[bytes]
    is_over: bool = False

    async def ended(self) -> None:
        """Wait until the program has ended and its folder is gone."""
        assert self.minder.stdout is not None
        if self.is_running:
            await anyio.wait_readable(self.minder.stdout)
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.minder.wait)

    @property
    def is_running(self) -> bool:
        """Tell whether the program is there."""
        return self.minder.poll() is None

    def tail(self) -> str:
        """Give the end of what it wrote to its standard output and error."""
        size = self.said.seek(0, os.SEEK_END)
        self.said.seek(max(0, size - TAIL_BYTES))
        return self.said.read().decode(errors="replace").strip()

    async def stop(self) -> None:
        """Kill it and wait until nothing of it is left. A second call does nothing.

        Raises:
            HostFault: it cannot be killed.
        """
        if self.is_over:
            return
        self.is_over = True
        assert self.minder.stdin is not None
        assert self.minder.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.minder.stdin.close()
        with anyio.CancelScope(shield=True), anyio.move_on_after(END_WITHIN_S, shield=True) as late:
            await self.ended()
        self.minder.stdout.close()
        self.said.close()
        if late.cancelled_caught:
            raise HostFault(f"process {self.pid} does not end after SIGKILL", hint="see `dmesg`")


async def start(
    argv: Sequence[str], *, folder: Path, life_s: float, cwd: Path, env: Mapping[str, str] | None = None
) -> Minded:
    """Start a program that is killed when we end or after `life_s`; `folder` is removed after it.

    Raises:
        HostFault: it cannot be started.
    """
    return await anyio.to_thread.run_sync(_started, tuple(argv), folder, life_s, cwd, env)


def _started(argv: tuple[str, ...], folder: Path, life_s: float, cwd: Path, env: Mapping[str, str] | None) -> Minded:
    said = tempfile.TemporaryFile()  # noqa: SIM115 it lives as long as the program
    try:
        minder = subprocess.Popen(
            ("/bin/sh", "-c", MINDER, "minder", f"{life_s:.0f}", str(folder), *argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            cwd=cwd,
            env=None if env is None else dict(env),
            start_new_session=True,
        )
    except OSError as exc:
        said.close()
        raise HostFault(f"/bin/sh cannot be started in {cwd}: {exc.strerror}") from exc
    assert minder.stdout is not None
    return Minded(pid=int(minder.stdout.readline()), folder=folder, minder=minder, said=said)


async def while_it_runs(minded: Minded, work: Callable[[], Awaitable[T]], *, what: str, within_s: float) -> T:
    """Do some work that needs the program, within a deadline.

    Raises:
        HostFault: the program ended; with what it said last.
        Transient: the deadline passed.
        Fault: the work raised it.
    """
    done: list[T] = []
    failed: list[Exception] = []

    async def attempt(tasks: TaskGroup) -> None:
        try:
            done.append(await work())
        except (Fault, OSError) as exc:
            failed.append(exc)
        tasks.cancel_scope.cancel()

    with anyio.move_on_after(within_s):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(attempt, tasks)
            await minded.ended()
            tasks.cancel_scope.cancel()
    if done:
        return done[0]
    # A program that ends also closes its sockets, and of the two the sockets may be seen first.
    with anyio.move_on_after(SETTLE_S if failed and isinstance(failed[0], OSError) else 0):
        await minded.ended()
    if not minded.is_running:
        raise HostFault(f"{what} ended too early: {minded.tail() or 'it said nothing'}")
    if failed:
        raise failed[0]
    raise Transient(f"{what} gave no answer within {within_s:g} s: {minded.tail()}")
