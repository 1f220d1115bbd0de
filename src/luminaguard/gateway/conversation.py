"""HTTP/1.1 as a server, on one connection: requests as they come, answers as they go, a deadline on every wait."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote

import anyio
import h11

from luminaguard.gateway.link import GONE, Link
from luminaguard.gateway.wires import Headers

READ_BYTES = 65536
IDLE_S = 300.0
HEAD_S = 30.0
BODY_S = 60.0
SEND_S = 300.0
LARGEST_BODY = 32 * 1024 * 1024
BUFFERED_AT_ONCE = 512 * 1024 * 1024


class GoneError(Exception):
    """The caller is not there any more, or waits for ever."""


class RefusedError(Exception):
    """A request that is not served; `status` and the message are the answer, after which the connection ends."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The head of a request. `target` is as it stands on the line; `path` is decoded; header names are lower case."""

    method: str
    target: str
    path: str
    query: str
    headers: Headers

    def header(self, name: bytes) -> str | None:
        """Give the value of a header; of several the last."""
        return next((value.decode("latin-1") for found, value in reversed(self.headers) if found == name), None)


class Room:
    """What all request bodies together may take in memory."""

    def __init__(self, most_bytes: int = BUFFERED_AT_ONCE) -> None:
        self.left_bytes = most_bytes


class Conversation:
    """One connection of a caller."""

    def __init__(self, link: Link, room: Room) -> None:
        self.link = link
        self._room = room
        self._http = h11.Connection(h11.SERVER)
        self._taken = 0
        self.is_gone = False

    async def request(self) -> Request | None:
        """Wait for the next request's head; None where the caller has closed.

        Raises:
            GoneError: the caller began a head and did not go on.
            RefusedError: it is no HTTP.
        """
        limit_s = IDLE_S
        while True:
            event = self._next_event()
            if isinstance(event, h11.Request):
                return _request(event)
            if isinstance(event, h11.ConnectionClosed):
                return None
            if not await self._read(limit_s):
                return None
            limit_s = HEAD_S

    def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as exc:
            raise RefusedError(exc.error_status_hint, f"this is not HTTP as it should be: {exc}") from None

    async def _read(self, limit_s: float) -> bool:
        """Take in what comes; False at the end, or where nothing came in time."""
        with anyio.move_on_after(limit_s):
            try:
                self._http.receive_data(await self.link.receive(READ_BYTES))
            except anyio.EndOfStream:
                self._http.receive_data(b"")
            except GONE:
                return False
            return True
        return False

    async def body(self) -> bytes:
        """Read the whole body.

        Raises:
            GoneError: the caller stopped on the way.
            RefusedError: it is too large, or no HTTP.
        """
        parts: list[bytes] = []
        total = 0
        while True:
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            event = self._next_event()
            if isinstance(event, h11.Data):
                parts.append(bytes(event.data))
                total += len(event.data)
                self._take(len(event.data), total)
            elif isinstance(event, h11.EndOfMessage):
                return parts[0] if len(parts) == 1 else b"".join(parts)
            elif isinstance(event, h11.ConnectionClosed) or not await self._read(BODY_S):
                raise GoneError

    def _take(self, size: int, total: int) -> None:
        if total > LARGEST_BODY:
            raise RefusedError(413, f"the request is larger than {LARGEST_BODY} bytes")
        if size > self._room.left_bytes:
            raise RefusedError(503, "too many large requests at once: try again")
        self._room.left_bytes -= size
        self._taken += size

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        await self.begin(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.send(body)
        await self.end()

    async def begin(self, status: int, headers: Headers) -> None:
        """Send the head of an answer."""
        await self._send(h11.Response(status_code=status, headers=headers))

    async def send(self, chunk: bytes) -> None:
        """Send a part of the answer's body at once."""
        if chunk:
            await self._send(h11.Data(data=chunk))

    async def end(self) -> None:
        """End the answer."""
        await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        raw = self._http.send(event)
        if raw:
            await self.send_raw(raw)

    async def send_raw(self, raw: bytes) -> None:
        """Send bytes as they are, besides HTTP.

        Raises:
            GoneError: the caller is gone, or does not read.
        """
        try:
            if self.link.is_full:
                with anyio.fail_after(SEND_S):
                    await self.link.send(raw)
            else:
                await self.link.send(raw)
        except (*GONE, TimeoutError):
            raise GoneError from None

    def next(self) -> bool:
        """Make ready for the next request; False where the connection is to end."""
        self.forget()
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    def forget(self) -> None:
        """Give back the room that the last request took."""
        self._room.left_bytes += self._taken
        self._taken = 0

    @property
    def may_answer(self) -> bool:
        """Tell whether an answer can still be begun."""
        return self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE)

    @property
    def rest(self) -> bytes:
        """Give what has come in beyond what was taken as HTTP: the first bytes of a tunnel."""
        return self._http.trailing_data[0]

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Cancel the block when the caller goes away meanwhile; `is_gone` tells whether it did."""
        with anyio.CancelScope() as scope:

            def gone() -> None:
                self.is_gone = True
                scope.cancel()

            with self.link.on_gone(gone):
                yield


def _request(event: h11.Request) -> Request:
    target = event.target.decode("latin-1")
    path, _, query = target.partition("?")
    headers = [(name, value) for name, value in _pairs(event.headers)]
    return Request(
        method=event.method.decode("latin-1"), target=target, path=unquote(path), query=query, headers=headers
    )


def _pairs(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return [(bytes(name), bytes(value)) for name, value in headers]
