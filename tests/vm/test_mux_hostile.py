"""The host's end of a mux, against a guest that breaks its word; and what both sides must agree on."""

import asyncio
import contextlib
import socket
import struct
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luminaguard.model.faults import Fault, HostFault, UserFault
from luminaguard.vm.agent_binary import HERE
from luminaguard.vm.base import Forward
from luminaguard.vm.frames import (
    FLOW_SIZES,
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
from luminaguard.vm.mux import Mux, checked, muxed

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the guest agent runs on Linux"),
]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class HostileGuest:
    """The other end of a mux, in the hands of a test."""

    mux: Mux
    sock: socket.socket
    broken: "asyncio.Future[Fault]"

    def say(self, what: Flow | int, name: int, payload: bytes = b"") -> None:
        self.sock.sendall(struct.pack("<IBI", len(payload) + 5, what, name) + payload)

    async def hear(self) -> Frame[Flow]:
        return (await self.hear_all(1))[0]

    async def hear_all(self, count: int) -> list[Frame[Flow]]:
        frames, found = Frames(FLOW_SIZES), list[Frame[Flow]]()
        while len(found) < count:
            found += frames.feed(await asyncio.get_running_loop().sock_recv(self.sock, 1 << 16))
        return found


@contextlib.contextmanager
def listening(path: Path) -> Iterator[None]:
    """A server that takes every connection and reads nothing."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(STREAMS)
        yield


@contextlib.asynccontextmanager
async def hostile(folder: Path) -> AsyncIterator[HostileGuest]:
    ours, theirs = socket.socketpair()
    broken = asyncio.get_running_loop().create_future()
    mux = await muxed(ours, Mux(broken.set_result))
    theirs.settimeout(0)
    token = mux.open([Forward(port=80, socket=folder / "server")])
    theirs.sendall(b"the rest of something " + token[:7])
    theirs.sendall(token)
    try:
        with theirs, anyio.fail_after(60):
            assert await asyncio.get_running_loop().sock_recv(theirs, TOKEN_BYTES) == token
            yield HostileGuest(mux, theirs, broken)
    finally:
        mux.close()
        await asyncio.sleep(0)


OPEN_80 = struct.pack("<H", 80)
FRAME_BYTES = len(frame(Flow.OPEN, 1, OPEN_80))


@pytest.mark.parametrize(
    "said",
    [
        [(Flow.OPEN, 1, struct.pack("<H", 81))],
        [(Flow.OPEN, 1, OPEN_80), (Flow.OPEN, 1, OPEN_80)],
        [(Flow.OPEN, number, OPEN_80) for number in range(STREAMS + 1)],
        [(Flow.OPEN, 1, OPEN_80), (Flow.TAKEN, 1, struct.pack("<I", 1))],
        [(Flow.OPEN, 1, OPEN_80), (Flow.TAKEN, 1, struct.pack("<I", 2**32 - 1))],
        [(Flow.OPEN, 1, OPEN_80), (Flow.END, 1, b""), (Flow.DATA, 1, b"x")],
        [(Flow.OPEN, 1, OPEN_80), (Flow.DATA, 1, b"")],
        [(Flow.DATA, 1, b"x" * (STREAM_BLOCK_BYTES + 1))],
        [(ord("Z"), 1, b"")],
    ],
)
async def test_a_guest_that_breaks_its_word_is_cut_off(folder: Path, said: list[tuple[int, int, bytes]]) -> None:
    with listening(folder / "server"):
        async with hostile(folder) as guest:
            with contextlib.suppress(OSError):
                for one in said:
                    guest.say(*one)
            assert "the guest sent" in (await guest.broken).message


async def test_a_guest_cannot_fill_the_memory_of_the_host_through_a_server_that_does_not_read(folder: Path) -> None:
    with listening(folder / "server"):
        async with hostile(folder) as guest:
            guest.say(Flow.OPEN, 1, OPEN_80)
            block = frame(Flow.DATA, 1, bytes(STREAM_BLOCK_BYTES))
            # A socket takes some; beyond that, more than a window is never asked for.
            with contextlib.suppress(OSError):
                for _ in range(64 * STREAM_WINDOW_BYTES // STREAM_BLOCK_BYTES):
                    await asyncio.get_running_loop().sock_sendall(guest.sock, block)
            assert "more of a stream than was asked for" in (await guest.broken).message


async def test_a_guest_that_wants_answers_and_does_not_take_them_is_read_no_more(folder: Path) -> None:
    async with hostile(folder) as guest:
        pairs = frame(Flow.OPEN, 1, OPEN_80) * 1000  # nobody listens: each is answered with a reset
        sent_bytes = 0
        while not guest.mux.is_choked and sent_bytes < 100 << 20:
            with contextlib.suppress(BlockingIOError):
                sent_bytes += guest.sock.send(pairs[sent_bytes % FRAME_BYTES :])
            await asyncio.sleep(0)
        assert guest.mux.is_choked
        assert not guest.broken.done()
        heard = await guest.hear_all(sent_bytes // FRAME_BYTES)  # taken at last, all of it comes
        assert {one.type for one in heard} == {Flow.RESET}


async def test_what_is_said_of_a_stream_that_has_ended_is_passed_over(folder: Path) -> None:
    async with hostile(folder) as guest:
        guest.say(Flow.OPEN, 7, OPEN_80)
        assert await guest.hear() == Frame(Flow.RESET, 7, b"")
        for kind, payload in ((Flow.DATA, b"x"), (Flow.TAKEN, bytes(4)), (Flow.END, b""), (Flow.RESET, b"")):
            guest.say(kind, 7, payload)
        guest.say(Flow.OPEN, 8, OPEN_80)
        assert await guest.hear() == Frame(Flow.RESET, 8, b"")
        assert not guest.broken.done()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.builds(
                lambda kind, name, payload: struct.pack("<IBI", len(payload) + 5, kind, name) + payload,
                st.sampled_from([*Flow, 0]),
                st.integers(0, 3),
                st.one_of(st.just(OPEN_80), st.binary(max_size=8)),
            ),
        ),
        max_size=20,
    )
)
def test_the_host_survives_any_bytes_of_a_guest(pieces: list[bytes]) -> None:
    async def go() -> None:
        with tempfile.TemporaryDirectory(prefix="lg-fuzz-", dir="/tmp") as name, listening(Path(name) / "server"):
            async with hostile(Path(name)) as guest:
                guest.sock.sendall(b"".join(pieces))
                guest.sock.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):
                    while await asyncio.get_running_loop().sock_recv(guest.sock, 1 << 16):
                        pass
                assert not guest.broken.done() or isinstance(guest.broken.result(), HostFault)

    anyio.run(go)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_frames_of_streams_or_malformed(data: bytes) -> None:
    try:
        found = list(Frames(FLOW_SIZES).feed(data))
    except MalformedFrame:
        return
    for one in found:
        least, most = FLOW_SIZES[one.type]
        assert least <= len(one.payload) <= most


def test_both_sides_say_the_same() -> None:
    source = (HERE / "mux.h").read_text(encoding="utf-8")
    for kind in Flow:
        assert f" STREAM_{kind.name} = '{chr(kind)}'," in source
    assert f"STREAMS = {STREAMS}," in source
    assert "STREAM_WINDOW = 1 << 18," in source
    assert STREAM_WINDOW_BYTES == 1 << 18
    assert "STREAM_BLOCK = (1 << 15) - FRAME_HEAD," in source
    assert f"TOKEN = {TOKEN_BYTES}," in source


@pytest.mark.parametrize(
    "wrong",
    [
        (Forward(port=0, socket=Path("/s")),),
        (Forward(port=65536, socket=Path("/s")),),
        (Forward(port=1, socket=Path("/a")), Forward(port=1, socket=Path("/b"))),
        (Forward(port=1, socket=Path("/" + "a" * 107)),),
        tuple(Forward(port=number, socket=Path("/s")) for number in range(1, 18)),
    ],
)
def test_forwards_that_cannot_be_are_refused(wrong: tuple[Forward, ...]) -> None:
    with pytest.raises(UserFault):
        checked(wrong)
