"""Programs that outlive us: started once under a shim, found again, waited for.

A place is a folder. `result.json` there: the program has ended. Its lock held: it runs, attach. Neither: the shim
itself was killed, and what it ran went with it.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anyio

from luminaguard.host.limits import Limits, groups_for
from luminaguard.host.locks import try_lock
from luminaguard.host.nursery import NURSERY
from luminaguard.model.faults import HostFault

Cause = Literal["exited", "timeout", "cancelled", "output", "memory", "processes", "disk", "owner gone", "lost"]
LOOK_EVERY_S = 0.5
LOCK_LOOK_S = 0.005
STARTS_WITHIN_S = 10.0
END_WITHIN_S = 10.0
BURIAL_LOOKS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to execute on this machine: the whole command line, the whole environment, the folder to start in.

    `grow` is the folder that `limits.disk_bytes` is measured on. `die_with_parent` is for walls that do not see to it
    themselves that nothing outlives the shim. `tells_cause` is for walls that know better than the shim how it ended:
    they write a cause into the file that $LUMINAGUARD_CAUSE names.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    limits: Limits
    grow: Path | None = None
    die_with_parent: bool = False
    tells_cause: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program ended. `exit_code` is negative for a signal; `cause` "lost": the shim was killed, nobody knows."""

    cause: Cause
    exit_code: int
    seconds: float
    max_rss_bytes: int


LOST = Ended(cause="lost", exit_code=-signal.SIGKILL, seconds=0.0, max_rss_bytes=0)


def result_of(place: Path) -> Ended | None:
    """Read the result that stands in a place, None where there is none yet."""
    try:
        found = json.loads((place / "result.json").read_bytes())
    except FileNotFoundError:
        return None
    return Ended(
        cause=found["cause"],
        exit_code=found["exit_code"],
        seconds=found["seconds"],
        max_rss_bytes=found["max_rss_bytes"],
    )


def is_known(place: Path) -> bool:
    """Tell whether a program was ever started in a place."""
    return (place / "spec.json").exists()


def is_running(place: Path) -> bool:
    """Tell whether a shim is alive in a place."""
    if not (place / "lock").exists():
        return False
    fd = try_lock(place / "lock")
    if fd is not None:
        os.close(fd)
    return fd is None


def is_lost(place: Path) -> bool:
    """Tell whether a shim was started in a place and is gone without a result."""
    # In this order: the shim writes its result before it lets go of its lock.
    return (place / "shim.log").exists() and not is_running(place) and result_of(place) is None


async def bury(place: Path) -> None:
    """End what a lost shim left running, as far as its control groups tell, and remove them."""
    try:
        groups = json.loads((place / "spec.json").read_bytes())["cgroups"]
    except (FileNotFoundError, ValueError):
        return
    for group in (Path(group["path"]) for group in groups):
        for _ in range(BURIAL_LOOKS):
            with contextlib.suppress(OSError):
                for pid in (group / "cgroup.procs").read_text(encoding="ascii").split():
                    os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                group.rmdir()
            if not group.exists():
                break
            await anyio.sleep(0.02)


def start(
    place: Path,
    command: Command,
    *,
    timeout_s: float,
    stdin: Path | None = None,
    out_bytes: int = 0,
    owner_fd: int = -1,
) -> None:
    """Start the program unless it has ended or is running here.

    Args:
        place: a folder of its own; made if need be.
        command: what to run.
        timeout_s: it is asked to stop then, and killed 5 s later.
        stdin: a file to read from.
        out_bytes: keep standard output apart in `out`, at most this much; 0 joins it with the log.
        owner_fd: the read end of a pipe; the program ends when its other end is closed.

    Raises:
        HostFault: the place cannot be written or no process can be started.
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock = _lock_to_start(place)
        if lock is None:
            return
        try:
            if not (place / "result.json").exists():
                (place / "pid").unlink(missing_ok=True)  # of a lost shim: by now it may be anybody's
                spec = _spec(place, command, timeout_s=timeout_s, stdin=stdin, out_bytes=out_bytes)
                _write_for_us(place / "spec.json", json.dumps(spec))
                _spawn(place, lock=lock, owner=owner_fd)
        finally:
            os.close(lock)
    except OSError as exc:
        raise HostFault(f"cannot start a program in {place}: {exc.strerror}", hint="is the disk full?") from exc


def _write_for_us(path: Path, text: str) -> None:
    """Write a file that nobody else may read: an environment may hold what is worth something."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)


def _lock_to_start(place: Path) -> int | None:
    """Take the lock of a place where nothing runs; None where a program runs or has ended."""
    until = time.monotonic() + STARTS_WITHIN_S
    while not (place / "result.json").exists():
        if (fd := try_lock(place / "lock")) is not None:
            return fd
        # A shim holds it for good; somebody who only looks, or only now starts one, for a moment.
        if _is_there(place) or time.monotonic() > until:
            return None
        time.sleep(LOCK_LOOK_S)
    return None


def _is_there(place: Path) -> bool:
    """Tell whether the shim of a place whose lock is held has a number by now, and is at work."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if pid := _pid_in(place):
            os.kill(pid, 0)
            return True
    return False


def _spec(place: Path, command: Command, *, timeout_s: float, stdin: Path | None, out_bytes: int) -> dict[str, object]:
    limits = command.limits
    groups = groups_for(f"luminaguard-{os.getpid()}-{place.parent.name}-{place.name}", limits)
    rlimits = {"RLIMIT_FSIZE": limits.file_bytes, "RLIMIT_CORE": 0}
    return {
        "argv": list(command.argv),
        "env": dict(command.env),
        "cwd": str(command.cwd),
        "stdin": str(stdin) if stdin else "",
        "out": out_bytes > 0,
        "out_bytes": out_bytes,
        "log_bytes": limits.log_bytes,
        "timeout_s": timeout_s,
        "memory_bytes": limits.memory_bytes,
        "processes": limits.processes,
        "rlimits": rlimits,
        "cgroups": [{"path": str(group.path), "limits": dict(group.limits)} for group in groups],
        "grow": str(command.grow) if command.grow else "",
        "grow_bytes": limits.disk_bytes,
        "die_with_parent": command.die_with_parent,
        "told": str(place / "cause") if command.tells_cause else "",
    }


def _spawn(place: Path, *, lock: int, owner: int) -> None:
    log = os.open(place / "shim.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        NURSERY.start(place, lock=lock, log=log, owner=owner)
    finally:
        os.close(log)


async def wait(place: Path) -> Ended:
    """Wait for the program of a place; "lost" where its shim is gone without a result."""
    pid = _pid_in(place)
    pidfd = _open_pid(pid)
    try:
        while (found := result_of(place)) is None:
            if not is_running(place):
                found = result_of(place) or LOST
                break
            with anyio.move_on_after(LOOK_EVERY_S if pidfd is not None else 0.02):
                await (anyio.wait_readable(pidfd) if pidfd is not None else anyio.sleep_forever())
        return found
    finally:
        if pidfd is not None:
            os.close(pidfd)


def _pid_in(place: Path) -> int:
    """Read the shim's process id; 0 while it is only being started, with no file there or an empty one."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        return int((place / "pid").read_text(encoding="ascii"))
    return 0


def _open_pid(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid) if pid else None
    except (OSError, AttributeError):  # gone already, or not Linux
        return None


async def run_attached(
    place: Path, command: Command, *, timeout_s: float, stdin: Path | None = None, out_bytes: int = 0
) -> Ended:
    """Run a program under a shim and wait for it; it ends with us, or with the cancellation of this call."""
    try:
        with _owner_pipe() as owner_fd:
            start(place, command, timeout_s=timeout_s, stdin=stdin, out_bytes=out_bytes, owner_fd=owner_fd)
            return await wait(place)
    except anyio.get_cancelled_exc_class():
        # The pipe is closed: the shim kills it at once. Whoever cleans up behind us must not meet it still writing.
        with anyio.move_on_after(END_WITHIN_S, shield=True):
            await wait(place)
        raise


@contextlib.contextmanager
def _owner_pipe() -> Iterator[int]:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)


def ask_to_stop(place: Path) -> None:
    """Ask the program of a place to stop: TERM inside, the end of the namespace 5 s later. Nothing where none runs."""
    until = time.monotonic() + STARTS_WITHIN_S
    while is_running(place) and time.monotonic() < until:
        with contextlib.suppress(ProcessLookupError):
            if pid := _pid_in(place):
                os.kill(pid, signal.SIGTERM)
                return
        time.sleep(LOCK_LOOK_S)  # it is only being started, and its number not yet written
