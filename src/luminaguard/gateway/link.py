"""A connection as a stream of bytes, on the event loop's own callbacks.

anyio's sockets register with the loop anew for each read, and want a task of their own to notice that the other side
has gone: at some hundred events a second for each of fifty agents that was most of what the gateway did.
"""

import asyncio
import math
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import anyio

AHEAD_BYTES = 256 * 1024
"""What is taken in before it is wanted, and what is given out before it is taken."""
GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


class Link(asyncio.Protocol):
    """One connection, for one reader and one writer."""

    def __init__(self, on_made: Callable[["Link"], None] | None = None) -> None:
        self._on_made = on_made
        self._transport: asyncio.Transport | None = None
        self._came: list[bytes] = []
        self._came_bytes = 0
        self._is_held = False
        self._has_ended = False
        self._is_lost = False
        self._wanting: asyncio.Future[None] | None = None
        self._full: asyncio.Future[None] | None = None
        self._on_gone: Callable[[], object] | None = None
        self._wanted_until = math.inf
        self._alarm: asyncio.TimerHandle | None = None

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=AHEAD_BYTES)
        if self._on_made is not None:
            self._on_made(self)

    def data_received(self, data: bytes) -> None:
        """Keep what comes until it is wanted."""
        self._came.append(data)
        self._came_bytes += len(data)
        if self._came_bytes > AHEAD_BYTES and not self._is_held:
            self._is_held = True
            self.transport.pause_reading()
        _wake(self._wanting)

    def eof_received(self) -> bool:
        """Note that the other side says no more; we may still."""
        self._has_ended = True
        _wake(self._wanting)
        if self._on_gone is not None:
            self._on_gone()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 asyncio's shape
        """End."""
        self._has_ended = self._is_lost = True
        if self._alarm is not None:
            self._alarm.cancel()
        _wake(self._wanting)
        _wake(self._full)
        if self._on_gone is not None:
            self._on_gone()

    def pause_writing(self) -> None:
        """Hold whoever sends."""
        self._full = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Let go of whoever sends."""
        _wake(self._full)
        self._full = None

    # What we call.

    @property
    def transport(self) -> asyncio.Transport:
        """The loop's side of it."""
        assert self._transport is not None
        return self._transport

    @property
    def is_readable(self) -> bool:
        """Tell whether something, or the end, has come in."""
        return bool(self._came) or self._has_ended

    @property
    def is_full(self) -> bool:
        """Tell whether sending would wait."""
        return self._full is not None

    @contextmanager
    def on_gone(self, call: Callable[[], object]) -> Iterator[None]:
        """Call when the other side goes, while the block lasts; at once where it has."""
        self._on_gone = call
        try:
            if self._has_ended:
                call()
            yield
        finally:
            self._on_gone = None

    async def receive(self, max_bytes: int = AHEAD_BYTES, *, within_s: float | None = None) -> bytes:
        """Give what has come, or wait for it.

        Raises:
            anyio.EndOfStream: nothing more will come.
            TimeoutError: nothing came within that time.
        """
        while not self._came:
            if self._has_ended:
                raise anyio.EndOfStream
            loop = asyncio.get_running_loop()
            self._wanting = loop.create_future()
            if within_s is not None:
                self._wanted_until = loop.time() + within_s
                if self._alarm is not None and self._alarm.when() > self._wanted_until:
                    self._alarm.cancel()
                    self._alarm = None
                if self._alarm is None:
                    self._alarm = loop.call_later(within_s, self._ring, loop)
            try:
                await self._wanting
            finally:
                self._wanting = None
                self._wanted_until = math.inf
        data = self._came.pop(0)
        if len(data) > max_bytes:
            self._came.insert(0, data[max_bytes:])
            data = data[:max_bytes]
        self._came_bytes -= len(data)
        if self._is_held and self._came_bytes <= AHEAD_BYTES // 2 and not self._is_lost:
            self._is_held = False
            self.transport.resume_reading()
        return data

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        """End a wait that has lasted too long. One alarm serves all waits of a connection: a new one for each costs."""
        self._alarm = None
        if self._is_lost or self._wanted_until == math.inf:
            return
        left_s = self._wanted_until - loop.time()
        if left_s > 0:
            self._alarm = loop.call_later(left_s, self._ring, loop)
        elif self._wanting is not None and not self._wanting.done():
            self._wanting.set_exception(TimeoutError())

    async def send(self, data: bytes) -> None:
        """Send; where the other side has not taken enough of what was sent before, wait for that first.

        Raises:
            anyio.BrokenResourceError: it is gone.
        """
        if self._full is not None:
            await asyncio.shield(self._full)
        if self._is_lost or self.transport.is_closing():
            raise anyio.BrokenResourceError
        self.transport.write(data)

    async def send_eof(self) -> None:
        """Say that no more will be sent."""
        if not self._is_lost and self.transport.can_write_eof():
            self.transport.write_eof()

    async def start_tls(self, context: ssl.SSLContext, name: str | None) -> None:
        """Go on encrypted, as a client."""
        made = await asyncio.get_running_loop().start_tls(self.transport, self, context, server_hostname=name)
        assert made is not None
        self._transport = made

    def close(self) -> None:
        """Close when all has been sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    async def aclose(self) -> None:
        """Close when all has been sent."""
        self.close()


async def connected(host: str, port: int) -> Link:
    """Connect to a host.

    Raises:
        OSError: that cannot be done.
    """
    _, link = await asyncio.get_running_loop().create_connection(Link, host, port, happy_eyeballs_delay=0.25)
    return link


async def connected_to(socket: Path) -> Link:
    """Connect to a Unix socket.

    Raises:
        OSError: that cannot be done.
    """
    _, link = await asyncio.get_running_loop().create_unix_connection(Link, str(socket))
    return link


def _wake(waiting: "asyncio.Future[None] | None") -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
