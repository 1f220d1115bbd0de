"""What two hosts say to each other as a guest moves from one to the other.

Both have a key. Each proves it for every message, and nothing that was said can be changed, left out or said again. It
can be read: it is no secret. What is in the guest goes over a connection of its own, by TLS between the two QEMUs.

Each side begins with the greeting and 32 random bytes. A message: u32 size, the words as a JSON object, HMAC-SHA-256.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import anyio

from luminaguard.model.faults import Fault, HostFault, Transient, UserFault
from luminaguard.model.ids import Json

GREETING = b"luminaguard guest 1\n"
NONCE_BYTES = 32
KEY_BYTES = 16
SIZE = struct.Struct("<I")
MESSAGE_BYTES = 1 << 16
MAC_BYTES = 32
GREETING_WITHIN_S = 10.0
ANSWER_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to listen or to connect."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address_of(text: str) -> Address:
    """Read HOST:PORT.

    Raises:
        UserFault: it is none.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UserFault(f"'{text}' is not an address", hint="write HOST:PORT, as in 192.0.2.7:4711")
    return Address(host=host, port=int(port))


def checked_key(key: bytes) -> bytes:
    """Give a key that can be one.

    Raises:
        UserFault: it is too short.
    """
    if len(key) < KEY_BYTES:
        raise UserFault(f"a key of {len(key)} bytes can be guessed", hint="take secrets.token_bytes(32)")
    return key


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One thing that was said."""

    what: str
    words: dict[str, Json]

    def text(self, name: str) -> str:
        """Give a word that is text, "" where there is none."""
        return found if isinstance(found := self.words.get(name), str) else ""

    def number(self, name: str) -> float:
        """Give a word that is a number, 0 where there is none."""
        return float(found) if isinstance(found := self.words.get(name), int | float) else 0.0

    def texts(self, name: str) -> dict[str, str]:
        """Give a word that is an object of texts, an empty one where there is none."""
        found = self.words.get(name)
        return {key: str(one) for key, one in found.items()} if isinstance(found, dict) else {}


class Wire:
    """One connection, from either end. `greeted` makes one."""

    def __init__(self, sock: socket.socket, session: bytes, *, is_sender: bool) -> None:
        self.socket = sock
        self._session = session
        self._ours, self._theirs = (b"s", b"r") if is_sender else (b"r", b"s")
        self._said = self._heard = 0

    @property
    def name(self) -> str:
        """What both ends call it; no secret."""
        return self.secret("name").hex()

    def secret(self, purpose: str) -> bytes:
        """Give a key that both ends have, for this connection alone."""
        return hmac.digest(self._session, b"for " + purpose.encode(), hashlib.sha256)

    def _mac(self, side: bytes, number: int, text: bytes) -> bytes:
        return hmac.digest(self._session, side + struct.pack("<Q", number) + text, hashlib.sha256)

    async def say(self, what: str, **words: Json) -> None:
        """Say one thing.

        Raises:
            HostFault: the other host is gone.
        """
        text = json.dumps({**words, "say": what}).encode()
        mac = self._mac(self._ours, self._said, text)
        self._said += 1
        await _told(self.socket, SIZE.pack(len(text)) + text + mac)

    async def hear(self, *, within_s: float = ANSWER_WITHIN_S) -> Message:
        """Wait for the next thing that is said.

        Raises:
            UserFault: whoever speaks has another key.
            HostFault: the other host is gone, or what came is no message.
            Transient: nothing came.
        """
        try:
            with anyio.fail_after(within_s):
                return _message(await self._text())
        except TimeoutError:
            raise Transient(f"the other host said nothing for {within_s:g} s") from None

    async def _text(self) -> bytes:
        (size,) = SIZE.unpack(await _taken(self.socket, SIZE.size))
        if size > MESSAGE_BYTES:
            raise _misspoken()
        text, mac = await _taken(self.socket, size), await _taken(self.socket, MAC_BYTES)
        if not hmac.compare_digest(mac, self._mac(self._theirs, self._heard, text)):
            raise UserFault("the other host has another key", hint="give both the same one")
        self._heard += 1
        return text

    async def expect(self, what: str, *, within_s: float = ANSWER_WITHIN_S) -> Message:
        """Wait for one thing.

        Raises:
            UserFault: the other host refuses, or has another key.
            HostFault: it cannot, is gone, or says something else.
            Transient: it says nothing.
        """
        message = await self.hear(within_s=within_s)
        if message.what == "refused":
            raise UserFault(message.text("why"), hint=message.text("hint"))
        if message.what == "failed":
            raise HostFault(f"the other host cannot: {message.text('why')}", hint=message.text("hint"))
        if message.what != what:
            raise _misspoken()
        return message


def _message(text: bytes) -> Message:
    try:
        words = json.loads(text)
    except ValueError:
        words = None
    if not isinstance(words, dict) or not isinstance(what := words.pop("say", None), str):
        raise _misspoken()
    return Message(what=what, words=words)


def _misspoken() -> HostFault:
    return HostFault("the other host sent something that is no part of this", hint="are both of the same version?")


async def greeted(sock: socket.socket, key: bytes, *, is_sender: bool) -> Wire:
    """Greet whoever is connected. That they have the key shows with the first message.

    Raises:
        HostFault: they do not greet, or in another way.
    """
    ours = os.urandom(NONCE_BYTES)
    try:
        with anyio.fail_after(GREETING_WITHIN_S):
            await _told(sock, GREETING + ours)
            said = await _taken(sock, len(GREETING) + NONCE_BYTES)
    except TimeoutError:
        raise HostFault("the other host does not greet", hint="is it luminaguard that listens there?") from None
    if not said.startswith(GREETING):
        raise _misspoken()
    theirs = said[len(GREETING) :]
    nonces = ours + theirs if is_sender else theirs + ours
    return Wire(sock, hmac.digest(key, b"session" + nonces, hashlib.sha256), is_sender=is_sender)


@contextlib.asynccontextmanager
async def called(address: Address, key: bytes) -> AsyncIterator[Wire]:
    """Connect to a host that waits for a guest.

    Raises:
        UserFault: nobody waits there.
        HostFault: whoever listens there is something else.
    """
    with await _connected(address) as sock:
        yield await greeted(sock, key, is_sender=True)


async def _connected(address: Address) -> socket.socket:
    loop, problem = asyncio.get_running_loop(), "it has no address"
    for family, at in await _found(address):
        sock = _unblocked(family)
        try:
            with anyio.fail_after(GREETING_WITHIN_S):
                await loop.sock_connect(sock, at)
        except OSError as exc:
            # Not its own text: asyncio's has the address in it once more.
            problem = os.strerror(exc.errno) if exc.errno else "no answer"
            sock.close()
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise UserFault(f"nobody waits for a guest at {address}: {problem}", hint="start the receiver first")


async def listening(address: Address) -> socket.socket:
    """Listen for connections; port 0 is any.

    Raises:
        UserFault: it cannot be listened there.
    """
    problem = "it has no address"
    for family, at in await _found(address):
        sock = _unblocked(family)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(at)
            sock.listen()
        except OSError as exc:
            problem = exc.strerror or str(exc)
            sock.close()
        else:
            return sock
    raise UserFault(f"cannot listen at {address}: {problem}", hint="take an address of this host, or port 0")


def address_at(sock: socket.socket) -> Address:
    """Tell where a socket listens."""
    host, port = sock.getsockname()[:2]
    return Address(host=host, port=port)


async def _found(address: Address) -> Iterator[tuple[int, Any]]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as exc:
        raise UserFault(f"{address.host} is no host known here: {exc.strerror}", hint="is it misspelt?") from None
    return ((family, at) for family, _, _, _, at in found)


def _unblocked(family: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)  # noqa: FBT003 the standard library takes it by position
    return sock


async def _told(sock: socket.socket, data: bytes) -> None:
    try:
        await asyncio.get_running_loop().sock_sendall(sock, data)
    except OSError as exc:
        raise _gone() from exc


async def _taken(sock: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        try:
            # Never more than is wanted: what follows the last message is not for us.
            piece = await asyncio.get_running_loop().sock_recv(sock, size - len(found))
        except OSError as exc:
            raise _gone() from exc
        if not piece:
            raise _gone()
        found += piece
    return found


def _gone() -> Fault:
    return HostFault("the other host is gone", hint="see what it says there")
