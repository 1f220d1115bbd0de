"""What a guest's keeper and others say to each other, over a Unix socket in the guest's folder.

A message: u32 size of its words, u32 size of its bytes, the words as a JSON object, the bytes; little-endian. The
keeper greets with the version; whoever called says one request; what follows is the request's own. A connection is
one request: its end is the end of what was asked for.
"""

import contextlib
import json
import os
import struct
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.abc import SocketListener, SocketStream

from luminaguard.model.faults import Fault, HostFault, Transient, UserFault
from luminaguard.model.ids import Json

VERSION = 1
HEAD = struct.Struct("<II")
WORDS_BYTES = 16 << 20
DATA_BYTES = 1 << 20
INPUT_BYTES = 1 << 18
"""How much of a program's input may be under way."""
SOCKET = "control"
KEPT = "kept.json"
"""What the keeper wrote about its guest, beside the socket."""
GREETING = "luminaguard"
GREETING_WITHIN_S = 10.0
FAULTS: dict[str, type[Fault]] = {"UserFault": UserFault, "HostFault": HostFault, "Transient": Transient}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One thing that was said: what, its words, its bytes."""

    what: str
    words: dict[str, Json]
    data: bytes

    def text(self, name: str) -> str:
        """Give a word that is text."""
        if not isinstance(found := self.words.get(name), str):
            raise _misspoken(f"'{self.what}' without '{name}'")
        return found

    def number(self, name: str) -> float:
        """Give a word that is a number."""
        if isinstance(found := self.words.get(name), bool) or not isinstance(found, int | float):
            raise _misspoken(f"'{self.what}' without '{name}'")
        return found

    def texts(self, name: str) -> list[str]:
        """Give a word that is a list of texts."""
        found = self.words.get(name)
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise _misspoken(f"'{self.what}' without '{name}'")
        return [str(one) for one in found]

    def pairs(self, name: str) -> dict[str, str]:
        """Give a word that is an object of texts."""
        found = self.words.get(name)
        if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
            raise _misspoken(f"'{self.what}' without '{name}'")
        return {key: str(one) for key, one in found.items()}


class Gone(Exception):  # noqa: N818 what it is, not that it is an error
    """Whoever is at the other end is there no more."""


class Wire:
    """One connection, from either end. Any task may say something; one at a time hears."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._bytes = bytearray()
        self._lock = anyio.Lock()

    async def say(self, what: str, words: Mapping[str, Json] | None = None, *, data: bytes = b"") -> None:
        """Say one thing; waits while the other end does not listen.

        Raises:
            Gone: nobody is there.
        """
        text = json.dumps({**(words or {}), "say": what}).encode()
        async with self._lock:
            try:
                await self._stream.send(HEAD.pack(len(text), len(data)) + text + data)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                raise Gone from None

    async def hear(self) -> Message:
        """Wait for the next thing that is said.

        Raises:
            Gone: nothing more comes.
            HostFault: it is no message.
        """
        head = await self._take(HEAD.size)
        words_bytes, data_bytes = HEAD.unpack(head)
        if words_bytes > WORDS_BYTES or data_bytes > DATA_BYTES:
            raise _misspoken("a message without end")
        try:
            words = json.loads(await self._take(words_bytes))
        except ValueError:
            words = None
        if not isinstance(words, dict) or not isinstance(what := words.pop("say", None), str):
            raise _misspoken("something that is no message")
        return Message(what=what, words=words, data=await self._take(data_bytes))

    async def _take(self, size: int) -> bytes:
        while len(self._bytes) < size:
            try:
                self._bytes += await self._stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                raise Gone from None
        found = bytes(self._bytes[:size])
        del self._bytes[:size]
        return found

    async def aclose(self) -> None:
        """Close it."""
        await self._stream.aclose()


def _misspoken(what: str) -> HostFault:
    return HostFault(f"the other end of a guest's control socket sent {what}", hint="are both of the same version?")


def fault_words(fault: Fault) -> dict[str, Json]:
    """Give a fault in words."""
    kind = next((name for name, kind in FAULTS.items() if isinstance(fault, kind)), "HostFault")
    return {"kind": kind, "message": fault.message, "hint": fault.hint}


def fault_of(words: dict[str, Json]) -> Fault:
    """Give the fault that was put in words."""
    kind = FAULTS.get(str(words.get("kind")), HostFault)
    return kind(str(words.get("message", "it failed")), hint=str(words.get("hint", "")))


@contextlib.contextmanager
def reachable(folder: Path) -> Iterator[Path]:
    """Give a path of the socket in a folder that is short enough: 108 bytes is all that the system takes."""
    if not sys.platform.startswith("linux"):
        yield folder / SOCKET
        return
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{fd}", SOCKET)
    finally:
        os.close(fd)


async def listen(folder: Path) -> SocketListener:
    """Listen in a guest's folder, for this user alone."""
    with reachable(folder) as path:
        return await anyio.create_unix_listener(path, mode=0o600)


@contextlib.asynccontextmanager
async def called(folder: Path) -> AsyncIterator[Wire]:
    """Call the keeper of the guest in a folder.

    Raises:
        HostFault: nobody keeps a guest there, or it is one of another version.
        Transient: it does not answer.
    """
    wire = await _connected(folder)
    try:
        yield wire
    finally:
        with anyio.CancelScope(shield=True):
            await wire.aclose()


async def _connected(folder: Path) -> Wire:
    try:
        with anyio.fail_after(GREETING_WITHIN_S), reachable(folder) as path:
            return await _greeted(Wire(await anyio.connect_unix(path)), folder.name)
    except TimeoutError:
        raise Transient(f"the keeper of {folder.name} does not answer", hint="is the machine very busy?") from None
    except (OSError, Gone):
        raise HostFault(f"the guest {folder.name} is gone", hint="`luminaguard vm list` shows what runs") from None


async def _greeted(wire: Wire, name: str) -> Wire:
    is_ours = False
    try:
        greeting = await wire.hear()
        is_ours = greeting.what == GREETING and greeting.number("version") == VERSION
    finally:
        if not is_ours:
            with anyio.CancelScope(shield=True):
                await wire.aclose()
    if not is_ours:
        raise HostFault(f"the keeper of {name} is of another version of luminaguard", hint="stop it, spawn anew")
    return wire
