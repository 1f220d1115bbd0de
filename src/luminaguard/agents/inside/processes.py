"""Starting an agent, draining it, and ending it with everything that it has started."""

import contextlib
import ctypes
import math
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from luminaguard.agents.inside.task import EndedError

PR_SET_CHILD_SUBREAPER = 36
TERM_S = 2.0
GONE_WITHIN_S = 10.0
"""How long the end of what was killed is waited for."""
LOOK_S = 0.02
ENDS_WITHIN_S = 10.0
"""What a program may take to end by itself when it has said its last."""
STDERR_LINES = 20
LINE_BYTES = 64 * 1024 * 1024


def adopt_orphans() -> None:
    """Make what our descendants leave behind ours, so that `descendants` finds it.

    Agents start their tools in sessions of their own, where no signal to a process group reaches them.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(root: int) -> list[int]:
    """List all that descend from a process, nearest first."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 names alone
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                state, parent = file.read().rpartition(") ")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state != "Z":
            children.setdefault(int(parent), []).append(int(name))
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(0), [])
        found += below
        todo += below
    return found


def end_all(*, spare: frozenset[int] = frozenset(), term_s: float = TERM_S) -> None:
    """End all that descends from us, but what was there before: TERM, then KILL until nothing is left."""
    signalled: set[int] = set()
    deadline, killed_at = time.monotonic() + term_s, math.inf
    while left := _left(spare):
        now = time.monotonic()
        if now > killed_at + GONE_WITHIN_S:
            return  # in an uninterruptible sleep: the end of the walls takes it
        is_late = now > deadline
        for pid in left if is_late else set(left) - signalled:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL if is_late else signal.SIGTERM)
        signalled |= set(left)
        killed_at = min(killed_at, now) if is_late else killed_at
        time.sleep(LOOK_S)


def _left(spare: frozenset[int]) -> list[int]:
    """List what is to be ended, empty only at a second look: what gets a new parent during one is seen with neither."""
    for _ in range(2):
        if found := [pid for pid in descendants(os.getpid()) if pid not in spare]:
            return found
    return []


class Lines:
    """The last lines of a stream, drained by a thread of its own: an agent whose stderr nobody reads stands still."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._kept: deque[bytes] = deque(maxlen=STDERR_LINES)
        self._thread = threading.Thread(target=self._drain, args=(stream,), daemon=True)
        self._thread.start()

    def _drain(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := stream.readline(4096):
                self._kept.append(line)

    def text(self) -> str:
        """Give the last lines, when whatever could say more has ended."""
        self._thread.join(GONE_WITHIN_S)
        return b"".join(self._kept).decode(errors="replace").strip()


def run_lines(
    argv: Sequence[str], *, env: Mapping[str, str], stdin: str, each: Callable[[bytes], float | None]
) -> tuple[int, str]:
    """Run a program to its end, handing on each line that it prints.

    Args:
        argv: the program.
        env: its whole environment.
        stdin: what it reads.
        each: takes a line; a number is the seconds that the program may still take to end by itself.

    Returns:
        Its exit code and the end of what it said on standard error.

    Raises:
        EndedError: the program cannot be started.
    """
    try:
        child = subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as exc:
        raise EndedError(f"'{argv[0]}' cannot be started: {exc.strerror}") from None
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    try:
        lines = Lines(child.stderr)
        threading.Thread(target=_feed, args=(child.stdin, stdin.encode()), daemon=True).start()
        threading.Thread(target=_end_with, args=(child,), daemon=True).start()
        code = _heard(child, each)
    finally:
        end_all()
    return code, lines.text()


def _heard(child: subprocess.Popen[bytes], each: Callable[[bytes], float | None]) -> int:
    """Hand on what a program prints until it has ended, or has said its last; give its exit code."""
    assert child.stdout is not None
    while line := child.stdout.readline(LINE_BYTES):
        grace_s = each(line)
        if grace_s == 0.0:
            return 0
        if grace_s is not None:
            _end_after(grace_s)
    return child.wait()


def _end_after(grace_s: float) -> None:
    timer = threading.Timer(grace_s, end_all)
    timer.daemon = True
    timer.start()


def _feed(stream: IO[bytes], text: bytes) -> None:
    with contextlib.suppress(OSError):
        stream.write(text)
        stream.close()


def _end_with(child: subprocess.Popen[bytes]) -> None:
    """End what a program leaves behind: it holds the output open, and nobody would see the end."""
    child.wait()
    end_all()
