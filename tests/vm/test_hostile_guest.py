"""A guest whose root speaks for its agent: it can fool itself, not fill our memory."""

import shutil
import socket
import struct
import threading
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from luminaguard.model.faults import HostFault, UserFault
from luminaguard.vm.frames import HEAD, Say, Told
from luminaguard.vm.guest_vm import Guest, linked

FIRST = 1
"""The id of what the host asks for first."""


def said(kind: Told, payload: bytes) -> bytes:
    return HEAD.pack(len(payload) + HEAD.size - 4, kind, FIRST) + payload


def exited(code: int) -> bytes:
    return said(Told.EXIT, struct.pack("<i", code))


class Agent:
    """The other end. It says what the test wants, as soon as the host has said something, and reads all the while."""

    def __init__(self, sock: socket.socket, words: Callable[["Agent"], None]) -> None:
        self.sock = sock
        self.taken = 0
        self._read = threading.Condition()
        self._asked = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._speak, args=(words,), daemon=True).start()

    def _speak(self, words: Callable[["Agent"], None]) -> None:
        self._asked.wait(60)
        words(self)

    def _listen(self) -> None:
        got = b""
        while data := self.sock.recv(1 << 16):
            got += data
            while len(got) >= 4 and len(got) >= (size := 4 + int.from_bytes(got[:4], "little")):
                frame, got = got[:size], got[size:]
                self._asked.set()
                if frame[4] == Say.TAKEN:
                    with self._read:
                        self.taken += int.from_bytes(frame[HEAD.size :], "little")
                        self._read.notify_all()

    def wait_until_taken(self, size: int) -> None:
        with self._read:
            assert self._read.wait_for(lambda: self.taken >= size, 60)


def with_guest(words: Callable[[Agent], None], body: Callable[[Guest], Awaitable[None]]) -> None:
    async def go() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            guest = await linked(ours, {})
            Agent(theirs, words)
            try:
                with anyio.fail_after(120):
                    await body(guest)
            finally:
                await guest.aclose()
                await anyio.lowlevel.checkpoint()  # its socket is closed in the next round
                theirs.shutdown(socket.SHUT_RDWR)

    anyio.run(go)


def test_complaints_without_end_are_not_kept(tmp_path: Path) -> None:
    times, size = 4000, 1000

    def complain(agent: Agent) -> None:
        for number in range(1, times + 1):
            agent.sock.sendall(said(Told.ERR, b"e" * size))
            if number % 500 == 0:
                agent.wait_until_taken((number - 499) * size)
        agent.sock.sendall(exited(1))

    async def get(guest: Guest) -> None:
        tracemalloc.start()
        with pytest.raises(UserFault, match="cannot be got: eee"):
            await guest.get("/x", tmp_path / "target")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < times * size / 2

    with_guest(complain, get)


def test_a_window_of_single_bytes_takes_little_more_than_a_window(tmp_path: Path) -> None:
    size = 1 << 14

    async def leave_unread(guest: Guest) -> None:
        async with guest.start(["x"]) as running:
            tracemalloc.start()
            while running.exit_code is None:  # what it wrote before is here as well, unread
                running._changed.clear()
                await running._changed.wait()
            kept, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert kept < 10 * size
            assert b"".join([chunk.data async for chunk in running]) == b"o" * size

    with_guest(lambda agent: agent.sock.sendall(said(Told.OUT, b"o") * size + exited(0)), leave_unread)


def test_more_than_a_window_cuts_the_guest_off() -> None:
    async def run(guest: Guest) -> None:
        async with guest.start(["x"]) as running:
            while guest.link.fault is None:  # nothing is read
                running._changed.clear()
                await running._changed.wait()
            with pytest.raises(HostFault, match="more output than was asked for"):
                [chunk async for chunk in running]

    with_guest(lambda agent: agent.sock.sendall(said(Told.OUT, b"o" * 32768) * 33), run)


def test_a_tree_that_fills_the_disk_is_refused_and_removed(tmp_path: Path) -> None:
    size = shutil.disk_usage(tmp_path).free
    head = struct.pack("<BIqQI", ord("d"), 0o755, 0, 0, 0) + struct.pack("<BIqQI", ord("f"), 0o644, 0, size, 1) + b"x"

    async def get(guest: Guest) -> None:
        with pytest.raises(HostFault, match=r"does not fit|more than 64 GiB"):
            await guest.get("/x", tmp_path / "target")

    with_guest(lambda agent: agent.sock.sendall(said(Told.OUT, head) + said(Told.OUT, b"x" * 1000)), get)
    assert list(tmp_path.iterdir()) == []
