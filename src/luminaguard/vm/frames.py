"""What host and agent say to each other, put together and taken apart. `guest/frames.h` is the other side.

A frame: u32 size of what follows, u8 type, u32 id, payload; little-endian. The guest is not trusted: whatever comes
from there is a frame of a known type and of a size that this type has, or the connection ends.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

from luminaguard.model.faults import UserFault

VERSION = 1
HEAD = struct.Struct("<IBI")
FRAME_BYTES = 1 << 20
BLOCK_BYTES = 32768
WINDOW_BYTES = 1 << 20
INPUT_BYTES = 1 << 18
WORDS = 4096
ENTROPY_BYTES = 32
STREAMS = 128
STREAM_WINDOW_BYTES = 1 << 18
STREAM_BLOCK_BYTES = (1 << 15) - HEAD.size
FORWARDS = 16
TOKEN_BYTES = 16


class Say(IntEnum):
    """What the host says."""

    PING = ord("P")
    EXEC = ord("E")
    GET = ord("G")
    PUT = ord("U")
    INPUT = ord("I")
    CLOSE = ord("C")
    SIGNAL = ord("S")
    TAKEN = ord("A")
    MOUNT = ord("M")
    ROOT = ord("R")
    REFRESH = ord("T")
    FREEZE = ord("Z")
    LISTEN = ord("L")
    ADOPT = ord("D")
    WATCH = ord("W")
    OFF = ord("Q")


class Told(IntEnum):
    """What the agent says."""

    HELLO = ord("h")
    PONG = ord("p")
    OUT = ord("o")
    ERR = ord("e")
    EXIT = ord("x")
    EATEN = ord("a")
    DONE = ord("r")
    BYE = ord("b")


class Flow(IntEnum):
    """What both say of a TCP stream, on the second channel. `guest/mux.h` is the other side."""

    OPEN = ord("O")
    DATA = ord("D")
    TAKEN = ord("A")
    END = ord("E")
    RESET = ord("X")


SIZES: Mapping[Told, tuple[int, int]] = {
    Told.HELLO: (4, 4),
    Told.PONG: (0, BLOCK_BYTES),
    Told.OUT: (1, BLOCK_BYTES),
    Told.ERR: (1, BLOCK_BYTES),
    Told.EXIT: (4, 4),
    Told.EATEN: (4, 4),
    Told.DONE: (4, 4),
    Told.BYE: (0, BLOCK_BYTES),
}
"""Type -> the least and the most bytes of its payload."""
FLOW_SIZES: Mapping[Flow, tuple[int, int]] = {
    Flow.OPEN: (2, 2),
    Flow.DATA: (1, STREAM_BLOCK_BYTES),
    Flow.TAKEN: (4, 4),
    Flow.END: (0, 0),
    Flow.RESET: (0, 0),
}
"""The same of what the guest says of a stream."""

Kind = TypeVar("Kind", bound=IntEnum)


@dataclass(frozen=True, slots=True)
class Frame(Generic[Kind]):
    """One thing that the agent said. Positional, for speed: the agent sends thousands a second."""

    type: Kind
    id: int
    payload: bytes

    @property
    def number(self) -> int:
        """The payload as a signed number."""
        return int.from_bytes(self.payload, "little", signed=True)


class MalformedFrame(ValueError):  # noqa: N818 what it is, not that it is an error
    """The bytes are no frame: nothing after them can be understood."""


class Frames(Generic[Kind]):
    """Takes the agent's bytes apart, however they are cut."""

    def __init__(self, sizes: Mapping[Kind, tuple[int, int]]) -> None:
        """Take the types that there are, each with the least and the most bytes of its payload."""
        self._bytes = bytearray()
        self._kinds = {int(kind): (kind, *limits) for kind, limits in sizes.items()}

    def feed(self, data: bytes) -> Iterator[Frame[Kind]]:
        """Give the frames that are whole now.

        Raises:
            MalformedFrame: it is none; feed nothing more.
        """
        self._bytes += data
        at = 0
        try:
            while (frame := self._frame_at(at)) is not None:
                at += HEAD.size + len(frame.payload)
                yield frame
        finally:
            del self._bytes[:at]

    def _frame_at(self, at: int) -> Frame[Kind] | None:
        if len(self._bytes) - at < HEAD.size:
            return None
        size, number, name = HEAD.unpack_from(self._bytes, at)
        length = size - (HEAD.size - 4)
        known = self._kinds.get(number)
        if known is None or not known[1] <= length <= known[2]:
            raise MalformedFrame(f"a frame of type {number} and size {size}")
        begin = at + HEAD.size
        if len(self._bytes) < begin + length:
            return None
        return Frame(known[0], name, bytes(self._bytes[begin : begin + length]))


def frame(what: Say | Flow, name: int = 0, payload: bytes = b"") -> bytes:
    """Give a frame's bytes."""
    return HEAD.pack(len(payload) + HEAD.size - 4, what, name) + payload


def words(*texts: str) -> bytes:
    """Give strings as the agent reads them, each ended by a zero byte.

    Raises:
        UserFault: one holds a zero byte itself.
    """
    encoded = [text.encode(errors="surrogateescape") for text in texts]
    if any(b"\0" in text for text in encoded):
        raise UserFault("an argument, variable or path for the guest holds a zero byte", hint="leave it out")
    return b"".join(text + b"\0" for text in encoded)


def exec_payload(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> bytes:
    """Give the payload of EXEC.

    Raises:
        UserFault: the command line cannot be given to a program.
    """
    if not argv or not argv[0]:
        raise UserFault("there is no program to run in the guest", hint="give at least one argument")
    if len(argv) > WORDS or len(env) > WORDS:
        raise UserFault(f"more than {WORDS} arguments or variables for one program", hint="put them into a file")
    if (wrong := next((name for name in env if not name or "=" in name), None)) is not None:
        raise UserFault(f"'{wrong}' cannot be the name of a variable", hint="names have no '=' in them")
    head = struct.pack("<HH", len(argv), len(env))
    payload = head + words(cwd, *argv, *(f"{name}={value}" for name, value in env.items()))
    if len(payload) > FRAME_BYTES - HEAD.size:
        raise UserFault("arguments and variables for one program take more than 1 MiB", hint="put them into a file")
    return payload


def mount_payload(source: str, target: str, *, filesystem: str, flags: int, options: str = "") -> bytes:
    """Give the payload of MOUNT."""
    return struct.pack("<I", flags) + words(source, target, filesystem, options)


def refresh_payload(*, time_ns: int, entropy: bytes) -> bytes:
    """Give the payload of REFRESH."""
    assert len(entropy) == ENTROPY_BYTES
    return struct.pack("<qq", *divmod(time_ns, 10**9)) + entropy


def listen_payload(token: bytes, ports: Sequence[int]) -> bytes:
    """Give the payload of LISTEN."""
    assert len(token) == TOKEN_BYTES
    return token + struct.pack(f"<{len(ports)}H", *ports)
