"""Locks that the kernel drops when their holder dies, however it dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from luminaguard.model.faults import UserFault

ORPHANS_S = 30.0
LOOKERS_S = 0.5
"""Whoever asks if a run is at work holds its lock for an instant, with the last holder's number in the file."""


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


def _after_others(path: Path) -> int | None:
    """Wait for who only looks, and for the git children of a killed holder: they keep its lock until they end."""
    began = time.monotonic()
    while (fd := try_lock(path)) is None:
        pid = _holder(path)
        is_orphaned = pid != 0 and not _is_alive(pid)
        if time.monotonic() - began > (ORPHANS_S if is_orphaned else LOOKERS_S):
            return None
        time.sleep(0.02)
    return fd


@contextmanager
def only_one(path: Path) -> Iterator[int]:
    """Hold the orchestrator's lock; yields the descriptor, for children to inherit.

    Raises:
        UserFault: another process holds it; its process id is in the message.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = _after_others(path)
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
