"""The proxy for listed hosts: tunnels (CONNECT) and plain HTTP, with the dummy key, to addresses that were checked."""

import base64
import binascii
import contextlib
import logging
import socket
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import anyio

from luminaguard.gateway.book import Book, Holder
from luminaguard.gateway.conversation import READ_BYTES, SEND_S, Conversation, GoneError, Request
from luminaguard.gateway.hosts import Entry, allows, entries_of, may_reach, split_host
from luminaguard.gateway.ledger import KEY_PREFIX
from luminaguard.gateway.link import GONE, Link, connected
from luminaguard.gateway.wires import HOP_BY_HOP, error_body

LOG = logging.getLogger(__name__)
CONNECT_S = 15.0
RESOLVE_S = 10.0
IDLE_S = 600.0
OVER = (*GONE, TimeoutError)
JSON = (b"content-type", b"application/json")
ASK_KEY = (b"proxy-authenticate", b'Basic realm="luminaguard"')


class NotAllowedError(Exception):
    """A host that is not reached; `status` and the message are the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(slots=True, kw_only=True)
class _Passing:
    """When bytes last went through a tunnel, either way."""

    at: float = field(default_factory=time.monotonic)


class Tunnels:
    """Lets programs inside reach the hosts of the list."""

    def __init__(self, hosts: tuple[str, ...], book: Book) -> None:
        self._entries: tuple[Entry, ...] = entries_of(hosts)
        self._book = book

    async def serve(self, talk: Conversation, request: Request) -> None:
        """Serve a CONNECT, or a request whose target is a whole address."""
        holder = proxy_holder(request, self._book)
        if holder is None:
            return await refuse_without_key(talk, request)
        try:
            name, port = _destination(request)
            far = await self._connected(name, port)
        except NotAllowedError as exc:
            LOG.info("Refused for issue %s: %s", holder.who.issue, exc.message)
            await talk.body() if request.method != "CONNECT" else None
            return await talk.answer(exc.status, [JSON], error_body(None, exc.status, exc.message))
        LOG.info("Let through to %s:%d for issue %s.", name, port, holder.who.issue)
        with contextlib.closing(far):
            if request.method == "CONNECT":
                await talk.begin(200, [])
                await _join(talk, far, first=talk.rest)
            else:
                await _ask(talk, request, far)
        raise GoneError  # the connection is used up

    async def _connected(self, name: str, port: int) -> Link:
        """Connect to an address that was checked; by it, not by the name, which may mean another one by then."""
        if not allows(self._entries, name, port):
            raise NotAllowedError(
                403, f"{name}:{port} is not on the list of hosts that sandboxes may reach ([gateway] hosts)"
            )
        found = await _addresses(name, port)
        allowed = [address for address in found if may_reach(self._entries, address, port)]
        if not allowed:
            raise NotAllowedError(
                403, f"{name} leads to {found[0]}, an address that is not public; to mean it, list the address itself"
            )
        for address in allowed:
            with contextlib.suppress(OSError), anyio.move_on_after(CONNECT_S):
                return await connected(address, port)
        raise NotAllowedError(502, f"{name}:{port} cannot be reached")


def proxy_holder(request: Request, book: Book) -> Holder | None:
    """Find who asks the proxy; None for nobody that we know."""
    scheme, _, said = (request.header(b"proxy-authorization") or "").partition(" ")
    words = [said.strip()]
    if scheme.lower() == "basic":
        with contextlib.suppress(binascii.Error, ValueError):
            words = base64.b64decode(said.strip()).decode("latin-1").split(":", 1)
    key = next((word for word in words if word.startswith(KEY_PREFIX)), None)
    return book.holder_of(key) if key else None


async def refuse_without_key(talk: Conversation, request: Request) -> None:
    """Say that the proxy wants a key."""
    words = error_body(None, 407, "the proxy wants the key that you were given, as user or password")
    await talk.body() if request.method != "CONNECT" else None
    await talk.answer(407, [JSON, ASK_KEY], words)


async def _addresses(name: str, port: int) -> list[str]:
    found: list[str] = []
    with contextlib.suppress(OSError, UnicodeError), anyio.move_on_after(RESOLVE_S):
        infos = await anyio.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        found = list(dict.fromkeys(str(info[4][0]) for info in infos))
    if not found:
        raise NotAllowedError(502, f"the name {name} is not known")
    return found


def _destination(request: Request) -> tuple[str, int]:
    if request.method == "CONNECT":
        name, port = split_host(request.target)
        if port is None:
            raise NotAllowedError(400, "CONNECT needs a host and a port")
        return name, port
    try:
        address = urlsplit(request.target)
        name, port = (address.hostname or "").rstrip("."), address.port or 80
    except ValueError:
        raise NotAllowedError(400, "this is no address") from None
    if address.scheme != "http" or not name:
        raise NotAllowedError(400, "only http:// addresses can be asked for; https goes through CONNECT")
    return name, port


async def _ask(talk: Conversation, request: Request, far: Link) -> None:
    """Send one plain request on, and give back what comes until the other side closes."""
    body = await talk.body()
    address = urlsplit(request.target)
    left_out = HOP_BY_HOP | {b"host", b"content-length", b"proxy-authorization"}
    lines = [
        f"{request.method} {address.path or '/'}{'?' + address.query if address.query else ''} HTTP/1.1".encode(
            "latin-1"
        ),
        b"host: " + address.netloc.rpartition("@")[2].encode("latin-1"),
        *(name + b": " + value for name, value in request.headers if name not in left_out),
        *([b"content-length: %d" % len(body)] if body or request.method not in ("GET", "HEAD") else []),
        b"connection: close",
    ]
    with contextlib.suppress(*OVER):
        await far.send(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        await _pour(far, talk.link, _Passing())


async def _join(talk: Conversation, far: Link, *, first: bytes) -> None:
    """Carry bytes both ways until one side has ended and the other has nothing more to say."""
    passing = _Passing()
    with contextlib.suppress(*OVER):
        if first:
            await far.send(first)
        async with anyio.create_task_group() as group:
            group.start_soon(_pour_one_way, talk.link, far, passing)
            await _pour_one_way(far, talk.link, passing)
            # What the far side has ended is over: who still sends to it would only wait.
            group.cancel_scope.cancel()


async def _pour_one_way(source: Link, to: Link, passing: _Passing) -> None:
    with contextlib.suppress(*OVER):
        await _pour(source, to, passing)
    with contextlib.suppress(*OVER, OSError):
        await to.send_eof()


async def _pour(source: Link, to: Link, passing: _Passing) -> None:
    while True:
        with anyio.move_on_after(IDLE_S) as waited:
            chunk = await source.receive(READ_BYTES)
        if waited.cancelled_caught:
            if time.monotonic() - passing.at >= IDLE_S:
                return
            continue
        passing.at = time.monotonic()
        with anyio.fail_after(SEND_S):
            await to.send(chunk)
