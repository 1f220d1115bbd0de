"""QEMU's control channel: JSON lines over a Unix socket, each question with a deadline."""

import asyncio
import itertools
import json
import socket
from collections.abc import Mapping
from typing import Any, cast

import anyio

from luminaguard.model.faults import HostFault, Transient
from luminaguard.model.ids import Json

ANSWER_WITHIN_S = 10.0
LINE_BYTES = 4 << 20
LOOK_EVERY_S = 0.001


class Qmp(asyncio.Protocol):
    """One monitor. Questions may be asked before QEMU is up: they wait in the socket."""

    def __init__(self, sock: socket.socket) -> None:
        """Take our end of the socket pair."""
        self._sock = sock
        self._transport: asyncio.Transport | None = None
        self._bytes = bytearray()
        self._names = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Json]] = {}
        self._migration = ""
        self._moved = asyncio.Event()
        self._is_gone = False
        self.last_seen: dict[str, float] = {}
        """When the guest last stood still ("STOP") and went on ("RESUME"), in seconds since the epoch."""

    async def open(self) -> None:
        """Begin: the capabilities that everything else needs, without waiting for the answer."""
        self._sock.setblocking(False)  # noqa: FBT003 the standard library takes it by position
        await asyncio.get_running_loop().create_connection(lambda: self, sock=self._sock)
        self.tell("qmp_capabilities")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take what came. A QEMU that speaks no QMP is a broken one: the guest may have taken it over."""
        self._bytes += data
        *lines, rest = self._bytes.split(b"\n")
        self._bytes = rest
        for line in lines:
            if not self._take(bytes(line)):
                self.close()
        if len(rest) > LINE_BYTES:
            self.close()

    def _take(self, line: bytes) -> bool:
        try:
            said = json.loads(line) if line.strip() else {}
        except ValueError:
            return False
        if not isinstance(said, dict):
            return False
        if (event := said.get("event")) == "MIGRATION":
            self._migration = str(said.get("data", {}).get("status", ""))
            self._moved.set()
        if event in {"STOP", "RESUME"}:
            self.last_seen[event] = _when(said)
        future = self._answers.pop(name, None) if isinstance(name := said.get("id"), int) else None
        if future is not None and not future.done():
            future.set_result(said)
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 the cause is in QEMU's log
        """Tell everybody who waits."""
        self._is_gone = True
        self._moved.set()
        for future in self._answers.values():
            if not future.done():
                future.cancel()

    def close(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.abort()
        self._is_gone = True

    def tell(
        self, command: str, arguments: Mapping[str, Json] | None = None, *, fd: int = -1
    ) -> "asyncio.Future[Json]":
        """Say something without waiting; `fd` goes along."""
        if command == "migrate":
            self._migration = ""
        name = next(self._names)
        said = {"execute": command, **({"arguments": dict(arguments)} if arguments else {}), "id": name}
        # QEMU reads a monitor byte by byte, with several system calls for each.
        line = json.dumps(said, separators=(",", ":")).encode() + b"\n"
        future = self._answers[name] = asyncio.get_running_loop().create_future()
        assert self._transport is not None
        if fd >= 0:
            socket.send_fds(self._sock, [line], [fd])
        else:
            self._transport.write(line)
        return future

    async def ask(self, command: str, arguments: Mapping[str, Json] | None = None, *, fd: int = -1) -> Json:
        """Say something and give what QEMU returns.

        Raises:
            HostFault: it refuses, or is gone.
            Transient: it does not answer.
        """
        return await self.answer(command, self.tell(command, arguments, fd=fd))

    async def answer(self, command: str, future: "asyncio.Future[Json]") -> Json:
        """Wait for the answer to a `tell`."""
        with anyio.move_on_after(ANSWER_WITHIN_S):
            await asyncio.wait([future])
        if future.cancelled() or (self._is_gone and not future.done()):
            raise HostFault(f"QEMU was gone before it answered '{command}'")
        if not future.done():
            raise Transient(f"QEMU did not answer '{command}' within {ANSWER_WITHIN_S:g} s")
        said = cast("dict[str, Json]", future.result())
        if "error" in said:
            error = said["error"]
            text = error.get("desc", "") if isinstance(error, dict) else error
            raise HostFault(f"QEMU refuses '{command}': {text}")
        return said.get("return")

    async def set_capabilities(self, states: Mapping[str, bool]) -> None:
        """Say what a migration may do."""
        await self.ask("migrate-set-capabilities", capabilities(states))

    async def resume(self) -> None:
        """Let the guest go on.

        Raises:
            HostFault: QEMU refuses, or is gone.
            Transient: a migration does not come to its end.
        """
        with anyio.move_on_after(ANSWER_WITHIN_S):
            # QEMU says "completed" a moment before it lets anybody go on, and has no event for the latter.
            while await self._status() in {"finish-migrate", "inmigrate"}:  # noqa: ASYNC110
                await anyio.sleep(LOOK_EVERY_S)
            await self.ask("cont")
            return
        raise Transient(f"QEMU's migration was not finalized after {ANSWER_WITHIN_S:g} s")

    async def _status(self) -> str:
        said = await self.ask("query-status")
        return str(said.get("status", "")) if isinstance(said, dict) else ""

    async def migrated(self, *, within_s: float) -> None:
        """Wait until the migration that was begun last has ended well; wants the capability "events".

        Raises:
            HostFault: it failed.
            Transient: it takes too long.
        """
        with anyio.move_on_after(within_s):
            while self._migration not in {"completed", "failed", "cancelled"} and not self._is_gone:
                self._moved.clear()
                await self._moved.wait()
        if self._migration == "completed":
            return
        if self._is_gone:
            raise HostFault("QEMU's migration ended with QEMU")
        if self._migration in {"failed", "cancelled"}:
            said = await self.ask("query-migrate")
            why = str(said.get("error-desc", "")) if isinstance(said, dict) else ""
            raise HostFault(f"QEMU's migration {self._migration}{': ' if why else ''}{why}")
        raise Transient(f"QEMU's migration was not done after {within_s:g} s")


def _when(said: dict[str, Any]) -> float:
    try:
        return float(said["timestamp"]["seconds"]) + float(said["timestamp"]["microseconds"]) / 1e6
    except (KeyError, TypeError, ValueError):
        return 0.0  # not the QEMU that we know


def capabilities(states: Mapping[str, bool]) -> dict[str, Json]:
    """Give the arguments of `migrate-set-capabilities`."""
    return {"capabilities": [{"capability": name, "state": state} for name, state in states.items()]}
