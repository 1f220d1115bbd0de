"""The host's end of a guest's one way out: each TCP stream of the guest goes to the Unix socket of its port, and back.

`guest/mux.c` is the other end. All streams share one channel. Each has a window in each direction, so one that nobody
reads holds up no other, and what waits here is bounded. The guest is not trusted: one that breaks its word is cut off.
"""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence

from luminaguard.model.faults import Fault, HostFault, UserFault
from luminaguard.vm.base import Forward
from luminaguard.vm.frames import (
    FLOW_SIZES,
    FORWARDS,
    HEAD,
    STREAM_BLOCK_BYTES,
    STREAM_WINDOW_BYTES,
    STREAMS,
    TOKEN_BYTES,
    Flow,
    Frame,
    Frames,
    MalformedFrame,
    frame,
)

LOG = logging.getLogger(__name__)
ACKNOWLEDGE_BYTES = STREAM_WINDOW_BYTES // 4
CHOKE_BYTES = 1 << 18
CONNECT_WITHIN_S = 10.0
TRY_AGAIN_S = 0.005
TRY_LATE_S = 0.05
LONGEST_PATH = 107
"""sun_path has 108 bytes, and one of them ends it."""


class Stream:
    """One TCP connection of a program in the guest, and the Unix socket that it leads to."""

    def __init__(self, mux: "Mux", name: int, forward: Forward) -> None:
        self._mux = mux
        self._name = name
        self._path = forward.socket
        self._late_until = time.monotonic() + forward.patience_s
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._again: asyncio.TimerHandle | None = None
        self._until = time.monotonic() + CONNECT_WITHIN_S
        self._window = STREAM_WINDOW_BYTES
        self._waiting = bytearray()
        self._owed = 0
        self._reads = self._writes = False
        self._has_ended = False
        self._guest_ended = False

    # The Unix socket.

    def connect(self) -> None:
        """Connect; where nobody listens, the guest's connection is reset."""
        self._again = None
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.setblocking(False)  # noqa: FBT003 the standard library takes it by position
        try:
            made.connect(str(self._path))
        except BlockingIOError:  # too many wait there already; a Unix socket does not tell when it is less
            made.close()
            self._try_again()
        except OSError as exc:
            made.close()
            if time.monotonic() < self._late_until:
                self._again = self._loop.call_later(TRY_LATE_S, self.connect)
                return
            LOG.debug("Nobody answers a guest's connection at %s: %s.", self._path, exc.strerror)
            self._reset()
        else:
            self._socket = made
            self._write()
            self.watch()

    def _try_again(self) -> None:
        if time.monotonic() > self._until:
            self._reset()
        else:
            self._again = self._loop.call_later(TRY_AGAIN_S, self.connect)

    def watch(self) -> None:
        """Be told of the socket what matters now."""
        if self._socket is None:
            return
        reads = bool(self._window) and not self._has_ended and not self._mux.is_choked
        writes = bool(self._waiting)
        if reads != self._reads:
            self._loop.add_reader(self._socket, self._read) if reads else self._loop.remove_reader(self._socket)
        if writes != self._writes:
            self._loop.add_writer(self._socket, self._write) if writes else self._loop.remove_writer(self._socket)
        self._reads, self._writes = reads, writes

    def close(self) -> None:
        """Let go of the socket."""
        if self._again is not None:
            self._again.cancel()
        if self._socket is None:
            return
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        self._socket = None

    def _reset(self) -> None:
        self._mux.say(Flow.RESET, self._name)
        self._mux.forget(self._name)

    def _read(self) -> None:
        assert self._socket is not None
        room = self._mux.block[: HEAD.size + min(self._window, STREAM_BLOCK_BYTES)]
        try:
            size = self._socket.recv_into(room[HEAD.size :])
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._reset()
            return
        if size:
            self._window -= size
            self._mux.say_block(self._name, size)
        else:
            self._has_ended = True
            self._mux.say(Flow.END, self._name)
        self._look()

    def _write(self) -> None:
        assert self._socket is not None
        try:
            while self._waiting:
                size = self._socket.send(self._waiting)
                del self._waiting[:size]
                self._owed += size
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._reset()
            return
        if self._owed >= ACKNOWLEDGE_BYTES and not self._guest_ended:
            self._mux.say(Flow.TAKEN, self._name, self._owed.to_bytes(4, "little"))
            self._owed = 0
        if self._guest_ended and not self._waiting:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
        self._look()

    def _look(self) -> None:
        if self._has_ended and self._guest_ended and not self._waiting:
            self._mux.forget(self._name)
        else:
            self.watch()

    # The guest.

    def hear(self, told: Frame[Flow]) -> None:
        """Take what the guest says of this stream.

        Raises:
            MalformedFrame: the guest breaks its word.
        """
        if told.type == Flow.RESET:
            self._mux.forget(self._name)
        elif told.type == Flow.TAKEN:
            self._window += int.from_bytes(told.payload, "little")
            if self._window > STREAM_WINDOW_BYTES:
                raise MalformedFrame("more of a stream taken than was given")
            self.watch()
        else:
            self._take(told)

    def _take(self, told: Frame[Flow]) -> None:
        if self._guest_ended:
            raise MalformedFrame("something of a stream after its end")
        if told.type == Flow.END:
            self._guest_ended = True
        elif len(self._waiting) + self._owed + len(told.payload) > STREAM_WINDOW_BYTES:
            raise MalformedFrame("more of a stream than was asked for")
        self._waiting += told.payload
        if self._socket is not None:
            self._write()


class Mux(asyncio.Protocol):
    """All streams of one guest. It serves what it was opened with, over the channel that `muxed` gives it."""

    def __init__(self, broken: Callable[[Fault], None]) -> None:
        """Take whom to tell that the guest breaks its word."""
        self._broken = broken
        self._transport: asyncio.Transport | None = None
        self._token = b""
        self._sought: bytes | None = b""
        self._frames = Frames(FLOW_SIZES)
        self._ports: dict[int, Forward] = {}
        self._streams: dict[int, Stream] = {}
        self.forwards: tuple[Forward, ...] = ()
        """What it was opened with last."""
        self.is_choked = False
        """Whether the guest takes less than is to be said: then nothing more is read, from it or for it."""
        self.block = memoryview(bytearray(HEAD.size + STREAM_BLOCK_BYTES))
        """Where streams read to, for one call; the head's place is before."""

    def open(self, forwards: Sequence[Forward]) -> bytes:
        """Cut all streams, and serve these ports from the moment on at which the guest says the token that this gives.

        What comes before it was said to an earlier host: channels live on in snapshots, and so do their halves of
        frames.

        Raises:
            UserFault: see `checked`.
        """
        self.forwards = checked(forwards)
        self._cut()
        self._ports = {forward.port: forward for forward in forwards}
        self._frames = Frames(FLOW_SIZES)
        self._token, self._sought = os.urandom(TOKEN_BYTES), b""
        return self._token

    def close(self) -> None:
        """Cut all streams, and the channel."""
        self._cut()
        if self._transport is not None:
            self._transport.abort()

    def _cut(self) -> None:
        for name in tuple(self._streams):
            self.forget(name)

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=CHOKE_BYTES)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 whoever holds the guest tells why
        """Cut all streams."""
        self._transport = None
        self._cut()

    def pause_writing(self) -> None:
        """Read nothing more: all that is heard may want an answer."""
        assert self._transport is not None
        self.is_choked = True
        self._transport.pause_reading()
        self._watch()

    def resume_writing(self) -> None:
        """Read again."""
        assert self._transport is not None
        self.is_choked = False
        self._transport.resume_reading()
        self._watch()

    def _watch(self) -> None:
        for stream in self._streams.values():
            stream.watch()

    def data_received(self, data: bytes) -> None:
        """Take what came; a guest that does not keep to the protocol is cut off."""
        try:
            for told in self._frames.feed(self._after_token(data)):
                if self._transport is None:
                    return
                self._hear(told)
        except MalformedFrame as exc:
            self.close()
            self._broken(HostFault(f"the guest sent {exc}", hint="it was tampered with: throw it away"))

    def _after_token(self, data: bytes) -> bytes:
        if self._sought is None:
            return data
        self._sought += data
        _, found, rest = self._sought.partition(self._token)
        if not found:
            self._sought = self._sought[-(TOKEN_BYTES - 1) :]
            return b""
        self._sought = None
        self._write(self._token)
        return rest

    def _hear(self, told: Frame[Flow]) -> None:
        stream = self._streams.get(told.id)
        if told.type == Flow.OPEN:
            self._open(told, int.from_bytes(told.payload, "little"))
        elif stream is not None:  # else it ended here while this was under way
            stream.hear(told)

    def _open(self, told: Frame[Flow], port: int) -> None:
        if told.id in self._streams or len(self._streams) >= STREAMS or port not in self._ports:
            raise MalformedFrame("a stream that cannot be")
        stream = self._streams[told.id] = Stream(self, told.id, self._ports[port])
        stream.connect()

    # What streams call.

    def forget(self, name: int) -> None:
        """Close a stream without a word."""
        stream = self._streams.pop(name, None)
        if stream is not None:
            stream.close()

    def say(self, what: Flow, name: int, payload: bytes = b"") -> None:
        """Say something of a stream."""
        self._write(frame(what, name, payload))

    def say_block(self, name: int, size: int) -> None:
        """Say the data that a stream has read to `block`."""
        HEAD.pack_into(self.block, 0, size + HEAD.size - 4, Flow.DATA, name)
        self._write(bytes(self.block[: HEAD.size + size]))

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def muxed(sock: socket.socket, mux: Mux) -> Mux:
    """Let a mux take over a socket that leads to its guest's second channel."""
    sock.setblocking(False)  # noqa: FBT003 the standard library takes it by position
    await asyncio.get_running_loop().create_connection(lambda: mux, sock=sock)
    return mux


def checked(forwards: Sequence[Forward]) -> tuple[Forward, ...]:
    """Give forwards as they came, if they can be.

    Raises:
        UserFault: a port is none or is there twice, a path is too long for a socket, or there are too many.
    """
    if (problem := next(_problems(forwards), None)) is not None:
        raise UserFault(problem, hint="look at the forwards of the guest's configuration")
    return tuple(forwards)


def _problems(forwards: Sequence[Forward]) -> Iterator[str]:
    if len(forwards) > FORWARDS:
        yield f"a guest can have {FORWARDS} forwards, not {len(forwards)}"
    if len({forward.port for forward in forwards}) < len(forwards):
        yield "a port is forwarded twice"
    for forward in forwards:
        if not 1 <= forward.port <= 65535:
            yield f"{forward.port} is no TCP port"
        if len(os.fsencode(forward.socket)) > LONGEST_PATH:
            yield f"{forward.socket} is too long a path for a socket"
