"""Locks that the kernel drops when their holder dies, however it dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from luminaguard.model.faults import UserFault

ORPHANS_S = 30.0


def try_lock(path: Path) -> int | None:
    """Take the lock and return its descriptor, or None where somebody holds it. Close the descriptor to let go."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def _holder(path: Path) -> int:
    text = path.read_text(encoding="ascii", errors="replace").strip()
    return int(text) if text.isdigit() else 0


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _after_orphans(path: Path) -> int | None:
    """Wait for the git children of a killed holder: they keep its lock open until they have ended."""
    until = time.monotonic() + ORPHANS_S
    while (pid := _holder(path)) and not _is_alive(pid) and time.monotonic() < until:
        if (fd := try_lock(path)) is not None:
            return fd
        time.sleep(0.02)
    return None


@contextmanager
def only_one(path: Path) -> Iterator[int]:
    """Hold the orchestrator's lock; yields the descriptor, for children to inherit.

    Raises:
        UserFault: another process holds it; its process id is in the message.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = try_lock(path)
    if fd is None:
        fd = _after_orphans(path)
    if fd is None:
        holder = _holder(path) or "unknown"
        raise UserFault(
            f"a run is at work on this repository already (process {holder})",
            hint="watch it with `luminaguard status --follow`, or stop it first",
        )
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield fd
    finally:
        os.close(fd)
