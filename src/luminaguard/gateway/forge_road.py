"""The road to the repository's own forge: its face listens on a Unix socket of the orchestrator's, and nowhere else.

Two addresses lead there. `gh` speaks plain HTTP to the host github.localhost alone, and comes as to a proxy, with the
dummy key; other programs take `GATEWAY_URL/forge/api/v3`. What may be asked is the face's to say, by a token of its
own. Nothing of it ever reaches the network.
"""

import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import anyio

from luminaguard.gateway.book import Book
from luminaguard.gateway.conversation import READ_BYTES, Conversation, GoneError, RefusedError, Request
from luminaguard.gateway.link import GONE, Link, connected_to
from luminaguard.gateway.tunnel import proxy_holder, refuse_without_key
from luminaguard.gateway.wires import HOP_BY_HOP, Headers, error_body

PREFIX = "/forge"
HOSTS = ("api.github.localhost", "github.localhost")
LARGEST_BODY = 1024 * 1024
"""What the face takes."""
AT_ONCE, FOR_ONE, WAITING = 8, 3, 32
"""Requests at once, those of one caller, and how many more of his may wait: the orchestrator has other work too."""
WAIT_S = 60.0
ANSWER_S = 120.0
JSON = (b"content-type", b"application/json")
NOT_CARRIED = HOP_BY_HOP | {b"host", b"content-length", b"expect", b"x-forwarded-prefix"}


def is_for_forge(request: Request) -> bool:
    """Tell whether a request is for the forge, by its address."""
    if request.target.startswith("/"):
        return request.target.partition("?")[0].startswith(f"{PREFIX}/")
    return request.method != "CONNECT" and _host(request.target) in HOSTS


def _host(target: str) -> str:
    with contextlib.suppress(ValueError):
        address = urlsplit(target)
        return (address.hostname or "").rstrip(".") if address.scheme == "http" else ""
    return ""


class ForgeRoad:
    """Carries requests to the face, and its answers back."""

    def __init__(self, socket: Path, book: Book) -> None:
        self._socket = socket
        self._book = book
        self._turns = Turns()

    async def serve(self, talk: Conversation, request: Request) -> None:
        """Serve one request."""
        is_proxied = not request.target.startswith("/")
        holder = proxy_holder(request, self._book) if is_proxied else None
        if is_proxied and holder is None:
            return await refuse_without_key(talk, request)
        caller = request.header(b"authorization") or "" if holder is None else holder.key
        body = await _body(talk)
        with talk.watched():
            async with self._turns.taken(caller):
                await self._carry(talk, request, body)
        if talk.is_gone:
            raise GoneError
        return None

    async def _carry(self, talk: Conversation, request: Request, body: bytes) -> None:
        try:
            far = await connected_to(self._socket)
        except OSError:
            words = "the forge is served by luminaguard run, which does not run now: try again later"
            return await talk.answer(503, [JSON, (b"retry-after", b"5")], error_body(None, 503, words))
        with contextlib.closing(far):
            first = await _begun(far, _asked(request, body))
            if not first:
                return await talk.answer(502, [JSON], error_body(None, 502, "the forge gave no answer"))
            await talk.send_raw(first)
            await _pour(far, talk)
        raise GoneError  # the connection is used up


async def _body(talk: Conversation) -> bytes:
    body = await talk.body()
    if len(body) > LARGEST_BODY:
        raise RefusedError(413, f"the request is larger than {LARGEST_BODY} bytes")
    return body


def _asked(request: Request, body: bytes) -> bytes:
    """Write the request as the face takes it. Targets and headers were read by h11: there is no line end in them."""
    if request.target.startswith("/"):
        target, host, more = request.target.removeprefix(PREFIX), request.header(b"host") or "localhost", _prefix()
    else:
        address = urlsplit(request.target)
        target = f"{address.path or '/'}{'?' + address.query if address.query else ''}"
        host, more = _host(request.target), []
    headers = [*((name, value) for name, value in request.headers if name not in NOT_CARRIED), *more]
    lines = [
        f"{request.method} {target} HTTP/1.1".encode("latin-1"),
        b"host: " + re.sub(r"[^A-Za-z0-9.:\[\]-]", "", host).encode("ascii"),
        *(name + b": " + value for name, value in headers),
        b"content-length: %d" % len(body),
        b"connection: close",
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _prefix() -> Headers:
    # The addresses in its answers are to lead back here.
    return [(b"x-forwarded-prefix", PREFIX.encode())]


async def _begun(far: Link, asked: bytes) -> bytes:
    """Ask, and give the first piece of the answer; b"" where none comes."""
    with contextlib.suppress(*GONE, TimeoutError):
        await far.send(asked)
        return await far.receive(READ_BYTES, within_s=ANSWER_S)
    return b""


async def _pour(far: Link, talk: Conversation) -> None:
    with contextlib.suppress(*GONE, TimeoutError):
        while True:
            await talk.send_raw(await far.receive(READ_BYTES, within_s=ANSWER_S))


class Turns:
    """Lets some requests through at once, few of them one caller's; the others wait, and where too many do, leave."""

    def __init__(self) -> None:
        self._all = anyio.Semaphore(AT_ONCE)
        self._callers: dict[str, anyio.Semaphore] = {}
        self._there: Counter[str] = Counter()

    @asynccontextmanager
    async def taken(self, caller: str) -> AsyncIterator[None]:
        """Hold a turn.

        Raises:
            RefusedError: the caller asks for too much at once, or waited for too long.
        """
        if self._there[caller] >= FOR_ONE + WAITING:
            raise RefusedError(429, "too many requests to the forge at once")
        self._there[caller] += 1
        own = self._callers.setdefault(caller, anyio.Semaphore(FOR_ONE))
        try:
            async with _held(own), _held(self._all):
                yield
        finally:
            self._there[caller] -= 1
            if not self._there[caller]:
                del self._there[caller], self._callers[caller]


@asynccontextmanager
async def _held(semaphore: anyio.Semaphore) -> AsyncIterator[None]:
    with anyio.move_on_after(WAIT_S) as waited:
        await semaphore.acquire()
    if waited.cancelled_caught:
        raise RefusedError(503, "the forge is busy: try again")
    try:
        yield
    finally:
        semaphore.release()
