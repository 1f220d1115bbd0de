"""Starts shims without starting Python anew: one idle process that has imported everything, and forks.

A shim of its own costs 30 to 40 ms of processor time to import what it needs; a fork costs one. The nursery ends with
the process that uses it; the shims that it forked do not.
"""

import errno
import os
import socket
import sys
import threading
from pathlib import Path

from luminaguard.host import shim

ANSWER_WITHIN_S = 30.0


class Nursery:
    """One nursery process for this process; made when it is first asked, made anew when it has died."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._socket = -1
        self._owner = 0

    def start(self, place: Path, *, lock: int, log: int, owner: int) -> None:
        """Fork a shim for a place; its process id stands in `pid` there.

        Args:
            place: the folder with the spec.
            lock: the held lock, the shim's sign of life.
            log: where the shim writes what goes wrong with itself.
            owner: the read end of the owner's pipe, -1 where the shim is to go on without us.

        Raises:
            OSError: no process can be started.
        """
        with self._turn:
            fds = [lock, log, *([owner] if owner >= 0 else [])]
            try:
                self._ask(place, fds)
            except TimeoutError:
                # It may fork yet: a second one beside it would start the program twice.
                self._drop()
                raise
            except OSError:
                self._drop()
                # It has died: once more, with a new one, unless it had forked already.
                if not (place / "pid").exists():
                    self._ask(place, fds)

    def _ask(self, place: Path, fds: list[int]) -> None:
        # A child of ours that came by fork would talk on its parent's socket.
        if self._socket < 0 or self._owner != os.getpid():
            self._open()
        ours = socket.socket(fileno=self._socket)
        try:
            ours.settimeout(ANSWER_WITHIN_S)
            socket.send_fds(ours, [os.fsencode(place)], fds)
            answer = ours.recv(32)
        finally:
            ours.detach()
        if not answer:
            raise ConnectionResetError(errno.ECONNRESET, "the nursery has died")

    def _open(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", shim.__file__],
                {},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0),
                    (os.POSIX_SPAWN_DUP2, null, 1),
                    (os.POSIX_SPAWN_DUP2, null, 2),
                ],
                setsid=True,
            )
        finally:
            theirs.close()
            os.close(null)
            self._socket, self._owner = ours.detach(), os.getpid()

    def _drop(self) -> None:
        if self._socket >= 0 and self._owner == os.getpid():
            os.close(self._socket)
        self._socket = -1


NURSERY = Nursery()
"""The one of this process."""
