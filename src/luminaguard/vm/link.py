"""One connection to a guest agent: programs side by side, questions, and an end that everybody waiting hears of."""

import asyncio
import itertools
import os
import signal
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

import anyio
import anyio.lowlevel

from luminaguard.model.faults import Fault, HostFault, Transient
from luminaguard.vm.base import Chunk
from luminaguard.vm.frames import (
    BLOCK_BYTES,
    ENTROPY_BYTES,
    HEAD,
    INPUT_BYTES,
    SIZES,
    VERSION,
    WINDOW_BYTES,
    Frame,
    Frames,
    MalformedFrame,
    Say,
    Told,
    frame,
    refresh_payload,
)

MARK_BYTES = 32
ACKNOWLEDGE_BYTES = WINDOW_BYTES // 4
SMALL_BYTES = 4096
ANSWER_WITHIN_S = 30.0


class Running:
    """A program in the guest. What it writes waits here, at most a window of it."""

    def __init__(self, link: "Link", name: int) -> None:
        self._link = link
        self._name = name
        self._chunks: deque[Chunk] = deque()
        self._changed = asyncio.Event()
        self._under_way = 0
        self._owed = 0
        self._input_room = INPUT_BYTES
        self._input = bytearray()
        self._input_ends = False
        self._is_abandoned = False
        self.exit_code: int | None = None
        """None while it runs; negative for a signal."""

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                self._took(len(chunk.data))
                yield chunk
            if self.exit_code is not None:
                return
            await self._change()

    async def write(self, data: bytes) -> None:
        """Write to its standard input; what a program that has ended would have read is dropped."""
        self._input += data
        self._push()
        while self._input and self.exit_code is None:
            await self._change()

    def give_all(self, data: bytes) -> None:
        """Write to its standard input and end it, without waiting: the rest goes as the program reads."""
        self._input += data
        self._input_ends = True
        self._push()

    def _push(self) -> None:
        while self._input and self._input_room:
            block = bytes(self._input[: min(self._input_room, BLOCK_BYTES)])
            del self._input[: len(block)]
            self._input_room -= len(block)
            self._link.send(Say.INPUT, self._name, block)
        if self._input_ends and not self._input:
            self._input_ends = False
            self._link.send(Say.CLOSE, self._name)

    async def close_input(self) -> None:
        """End its standard input."""
        if self.exit_code is None:
            self._link.send(Say.CLOSE, self._name)

    async def signal(self, number: int) -> None:
        """Send a signal to it and all that it started."""
        if self.exit_code is None:
            self._link.send(Say.SIGNAL, self._name, bytes([number]))

    def abandon(self) -> None:
        """Kill it and listen to it no more."""
        if self.exit_code is not None or self._link.fault is not None:
            return
        self._is_abandoned = True
        self._link.send(Say.SIGNAL, self._name, bytes([signal.SIGKILL]))
        self._took(sum(len(chunk.data) for chunk in self._chunks))
        self._chunks.clear()

    async def _change(self) -> None:
        self._raise_if_gone()
        self._changed.clear()
        await self._changed.wait()
        if self.exit_code is None and not self._chunks:
            self._raise_if_gone()

    def _raise_if_gone(self) -> None:
        if self._link.fault is not None:
            raise self._link.fault

    def _took(self, size: int) -> None:
        self._under_way -= size
        self._owed += size
        if self._owed >= ACKNOWLEDGE_BYTES and self.exit_code is None and self._link.fault is None:
            self._link.send(Say.TAKEN, self._name, self._owed.to_bytes(4, "little"))
            self._owed = 0

    def wake(self) -> None:
        """Let whoever waits look again."""
        self._changed.set()

    def hear(self, told: Frame[Told]) -> None:
        """Take a frame about this program.

        Raises:
            MalformedFrame: the agent breaks its word.
        """
        if told.type in {Told.OUT, Told.ERR}:
            self._output(told)
        elif told.type == Told.EATEN:
            self._input_room += told.number
            if not 0 < told.number <= INPUT_BYTES >= self._input_room:
                raise MalformedFrame("more input taken than was given")
            if not self._is_abandoned:
                self._push()
        else:
            self.exit_code = told.number
        self._changed.set()

    def _output(self, told: Frame[Told]) -> None:
        self._under_way += len(told.payload)
        if self._under_way + self._owed > WINDOW_BYTES:
            raise MalformedFrame("more output than was asked for")
        if self._is_abandoned:
            self._took(len(told.payload))
            return
        stream: Literal["out", "err"] = "out" if told.type == Told.OUT else "err"
        last = self._chunks[-1] if self._chunks else None
        if last is not None and last.stream == stream and len(last.data) < SMALL_BYTES:
            # Or a window of single bytes would take a hundred times its size here.
            self._chunks[-1] = Chunk(stream=stream, data=last.data + told.payload)
        else:
            self._chunks.append(Chunk(stream=stream, data=told.payload))


class Link(asyncio.Protocol):
    """The host's end. Made by a transport; `fault` is None while it is open."""

    def __init__(self, why_gone: Callable[[], str] = lambda: "") -> None:
        """Take a function that says what the hypervisor last complained of."""
        self.fault: Fault | None = None
        self._why_gone = why_gone
        self._frames = Frames(SIZES)
        self._transport: asyncio.Transport | None = None
        self._names = itertools.count(1)
        self._running: dict[int, Running] = {}
        self._answers: dict[int, asyncio.Future[Frame[Told]]] = {}
        self._hello = asyncio.Event()
        self._version = 0
        self._held: bytearray | None = None
        self._lost = b""
        self._mark = b""

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take what came; a guest that does not keep to the protocol is cut off."""
        if self._mark:
            data = self._from_mark(data)
        try:
            for told in self._frames.feed(data):
                if self.fault is None:
                    self._hear(told)
        except MalformedFrame as exc:
            self.end(HostFault(f"the guest sent {exc}", hint="its agent is broken or was tampered with: throw it away"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 the cause is in the hypervisor's log
        """Tell everybody who waits."""
        why = self._why_gone()
        self.end(HostFault(f"the guest is gone{': ' if why else ''}{why}", hint="start another one"))

    # What the agent says.

    def _hear(self, told: Frame[Told]) -> None:
        if told.type == Told.HELLO:
            self._version = told.number
            self._hello.set()
        elif told.type == Told.BYE:
            text = told.payload.decode(errors="replace")[:200]
            self.end(HostFault(f"the guest agent ended the connection: {text!r}", hint="start another guest"))
        elif told.type in {Told.PONG, Told.DONE}:
            self._answer(told)
        elif (running := self._running.get(told.id)) is not None:
            running.hear(told)
            if running.exit_code is not None:
                del self._running[told.id]
        else:
            raise MalformedFrame(f"something about a program that does not run: {told.id}")

    def _answer(self, told: Frame[Told]) -> None:
        future = self._answers.pop(told.id, None)
        if future is None:
            raise MalformedFrame("an answer that nobody asked for")
        if not future.done():
            future.set_result(told)

    # What the host does.

    def end(self, fault: Fault) -> None:
        """Close the connection; all that waits on it, and all that will, raises `fault`."""
        if self.fault is not None:
            return
        self.fault = fault
        if self._transport is not None:
            self._transport.abort()
        for future in self._answers.values():
            if not future.done():
                future.cancel()
        for running in self._running.values():
            running.wake()
        self._hello.set()

    def send(self, what: Say, name: int = 0, payload: bytes = b"") -> None:
        """Say something.

        Raises:
            HostFault: the guest is gone.
        """
        if self.fault is not None:
            raise self.fault
        assert self._transport is not None
        if self._held is not None:
            self._held += frame(what, name, payload)
        else:
            self._transport.write(frame(what, name, payload))

    # While the guest moves to another process.

    async def hold(self) -> None:
        """Say nothing from now on, and wait until the guest has taken all that was said.

        Raises:
            Transient: it does not answer.
        """
        future = self.ask_ahead(Say.PING)
        self._held = bytearray()
        await self.answer(future)

    def go_on(self) -> None:
        """Say what was held back."""
        held, self._held = self._held, None
        if held and self.fault is None and self._transport is not None:
            self._transport.write(bytes(held))

    async def drained(self) -> None:
        """Wait until all that a guest said is here; it stands still by now."""
        while self.fault is None and self._transport is not None and _has_unread(self._transport):
            await anyio.lowlevel.checkpoint()

    def move_to(self, other: "Link") -> None:
        """Go on over the connection of a link that has heard nothing yet."""
        if self._transport is not None:
            self._transport.set_protocol(asyncio.Protocol())
            self._transport.abort()
        self._transport, self._why_gone = other.give_up()
        self._transport.set_protocol(self)
        self._transport.resume_reading()
        self.go_on()

    def give_up(self) -> tuple[asyncio.Transport, Callable[[], str]]:
        """Let go of the connection, for another link."""
        assert self._transport is not None
        transport, self._transport = self._transport, None
        return transport, self._why_gone

    def be_deaf(self) -> None:
        """Leave what comes in the socket, for the link that moves here."""
        assert self._transport is not None
        self._transport.pause_reading()

    # After the guest came from another host.

    def adopt(self) -> "asyncio.Future[Frame[Told]]":
        """Take over a guest whose host is no more: what runs in it goes on, and nobody hears of it.

        What comes first may be the rest of something that the other host heard the beginning of. So all is thrown away
        until the guest says what nobody but us can know.
        """
        secret = os.urandom(MARK_BYTES)
        self.send(Say.ADOPT)
        future = self.ask_ahead(Say.PING, secret)
        self._mark = secret
        return future

    def _from_mark(self, data: bytes) -> bytes:
        """Give what comes from the mark on, b"" while it is still to come."""
        found = self._lost + data
        at = found.find(self._mark)
        if at < HEAD.size:
            self._lost = found[-(HEAD.size + MARK_BYTES) :]
            return b""
        self._lost = self._mark = b""
        return found[at - HEAD.size :]

    async def greeted(self, *, within_s: float) -> None:
        """Wait for the agent of a guest that boots.

        Raises:
            Transient: it did not come in time.
            HostFault: the guest is gone, or its agent is not ours.
        """
        await _within(self._hello.wait(), within_s, "the guest did not boot")
        if self.fault is not None:
            raise self.fault
        if self._version != VERSION:
            raise HostFault(
                f"the guest agent speaks version {self._version}, not {VERSION}", hint="build the image anew"
            )

    async def ask(self, what: Say, payload: bytes = b"", *, within_s: float = ANSWER_WITHIN_S) -> Frame[Told]:
        """Say something and wait for the answer.

        Raises:
            Transient: none came in time.
            HostFault: the guest is gone.
        """
        return await self.answer(self.ask_ahead(what, payload), within_s=within_s)

    def ask_ahead(self, what: Say, payload: bytes = b"") -> "asyncio.Future[Frame[Told]]":
        """Say something without waiting yet; every one of these wants an `answer`."""
        name = next(self._names)
        future = asyncio.get_running_loop().create_future()
        self.send(what, name, payload)
        self._answers[name] = future
        return future

    async def answer(self, future: "asyncio.Future[Frame[Told]]", *, within_s: float = ANSWER_WITHIN_S) -> Frame[Told]:
        """Wait for what the agent says to a question."""
        await _within(asyncio.wait([future]), within_s, "the guest does not answer")
        if future.cancelled():
            assert self.fault is not None
            raise self.fault
        return future.result()

    def refresh(self) -> "asyncio.Future[Frame[Told]]":
        """Give the guest the right time and entropy of its own."""
        payload = refresh_payload(time_ns=time.time_ns(), entropy=os.urandom(ENTROPY_BYTES))
        return self.ask_ahead(Say.REFRESH, payload)

    def start(self, what: Say, payload: bytes) -> Running:
        """Start a program, or a copy of a tree."""
        name = next(self._names)
        self.send(what, name, payload)
        running = self._running[name] = Running(self, name)
        return running


def _has_unread(transport: asyncio.Transport) -> bool:
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return False
    with sock.dup() as same:
        try:
            return bool(same.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False


async def _within(wait: Awaitable[object], within_s: float, what: str) -> None:
    try:
        with anyio.fail_after(within_s):
            await wait
    except TimeoutError:
        raise Transient(f"{what} within {within_s:g} s", hint="is the machine very busy?") from None
