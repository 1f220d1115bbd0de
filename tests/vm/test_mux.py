"""TCP streams of a guest side by side on one channel: the real agent, built with sanitizers, and the host's end of it.

The agent runs on this machine as process 1 of a process-id namespace, with Unix sockets in place of a vsock; so the
ports that it listens on are this machine's. What is said of a lost host holds for a vsock alike.
"""

import asyncio
import contextlib
import hashlib
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luminaguard.model.faults import Fault, HostFault, UserFault
from luminaguard.vm.agent_binary import HERE, SOURCES
from luminaguard.vm.base import Forward
from luminaguard.vm.frames import (
    STREAMS,
    TOKEN_BYTES,
    Flow,
    Say,
    frame,
)
from luminaguard.vm.guest_vm import Guest, linked
from luminaguard.vm.jail import find_bwrap
from luminaguard.vm.mux import Mux, muxed

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the guest agent runs on Linux"),
]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler here")
    made = tmp_path_factory.mktemp("agent") / "agent"
    flags = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wall", "-Wextra", "-Werror"]
    sources = [HERE / name for name in SOURCES if name != "system.c"]
    stand_in = Path(__file__).with_name("standin_system.c")
    subprocess.run([compiler, *flags, "-I", str(HERE), "-o", str(made), *map(str, sources), str(stand_in)], check=True)
    return made


@contextlib.contextmanager
def held_port() -> Iterator[int]:
    """Hold a port for the agent: bound and not listened on, it refuses callers, and nobody else is given it."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # so that who asks for it by number may listen
        sock.bind(("127.0.0.1", 0))
        yield int(sock.getsockname()[1])


async def connected(path: Path) -> socket.socket:
    """Connect as soon as somebody listens."""
    while True:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(str(path))
        except OSError:
            sock.close()
            await anyio.sleep(0.002)
        else:
            return sock


@dataclass
class Stage:
    """A guest agent, a link to it and the forwards of one port."""

    folder: Path
    process: subprocess.Popen[bytes]
    guest: Guest
    port: int
    mux: Mux | None = None
    broken: list[Fault] = field(default_factory=list)

    @property
    def server(self) -> Path:
        return self.folder / "server"

    async def forward(self, *ports: int) -> Mux:
        if self.mux is not None:
            self.mux.close()
        forwards = [Forward(port=port, socket=self.server) for port in ports]
        mux = Mux(self.broken.append)
        await self.guest.listen(mux.open(forwards), ports)
        self.mux = await muxed(await connected(self.folder / "mux"), mux)
        return mux

    async def call(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    @contextlib.asynccontextmanager
    async def serving(self, serve: Serve, *, backlog: int = 100) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(serve, self.server, backlog=backlog)
        try:
            yield
        finally:
            server.close()
            self.server.unlink()


def started(program: Path, folder: Path) -> subprocess.Popen[bytes]:
    bwrap = find_bwrap()
    if bwrap is None:
        pytest.skip("no bubblewrap that works here")
    return subprocess.Popen(
        [str(bwrap), "--unshare-pid", "--as-pid-1", "--die-with-parent", "--dev-bind", "/", "/", str(program)],
        env={"STANDIN_FOLDER": str(folder), "ASAN_OPTIONS": "detect_leaks=0"},
        stderr=subprocess.PIPE,
    )


@pytest.fixture
async def stage(program: Path, folder: Path) -> AsyncIterator[Stage]:
    process = started(program, folder)
    with anyio.fail_after(120), held_port() as port:
        guest = await linked(await connected(folder / "agent"), {})
        await guest.link.greeted(within_s=60)
        made = Stage(folder, process, guest, port)
        await made.forward(made.port)
        yield made
    assert made.mux is not None
    made.mux.close()
    guest.link.end(HostFault("over"))
    process.kill()
    _, said = await anyio.to_thread.run_sync(process.communicate)
    assert b"Sanitizer" not in said, said.decode()[-3000:]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


async def refused(stage: Stage) -> bool:
    """Whether a new connection is reset; that may be so early that it is never seen whole."""
    try:
        reader, writer = await stage.call()
    except ConnectionResetError:
        return True
    said = await ended(reader)
    await hung_up(writer)
    return said == "reset"


async def ended(reader: asyncio.StreamReader) -> str:
    """How a connection ends that nobody sends more on."""
    try:
        return "end" if await reader.read(1) == b"" else "data"
    except ConnectionResetError:
        return "reset"


async def sent(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()
    writer.write_eof()


async def hung_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def test_what_goes_in_at_the_port_comes_back_from_the_socket(stage: Stage) -> None:
    async with stage.serving(echo):
        reader, writer = await stage.call()
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        await hung_up(writer)


async def test_much_goes_both_ways_at_once_and_is_whole(stage: Stage) -> None:
    data = random.Random(1).randbytes(8 << 20)
    async with stage.serving(echo):
        reader, writer = await stage.call()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(sent(writer, data))
            back = await tasks.create_task(reader.read())
        assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest()
        await hung_up(writer)


async def test_an_end_in_one_direction_leaves_the_other_open(stage: Stage) -> None:
    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = len(await reader.read())  # to its end
        writer.write(b"%d bytes" % size)
        writer.close()

    async with stage.serving(count):
        reader, writer = await stage.call()
        await sent(writer, b"x" * 100_000)
        assert await reader.read() == b"100000 bytes"
        await hung_up(writer)


async def test_the_server_may_end_first_and_still_listen(stage: Stage) -> None:
    heard = asyncio.get_running_loop().create_future()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await sent(writer, b"go on")
        heard.set_result(await reader.read())
        writer.close()

    async with stage.serving(greet):
        reader, writer = await stage.call()
        assert await reader.read() == b"go on"
        await sent(writer, b"more" * 50_000)
        assert await heard == b"more" * 50_000
        await hung_up(writer)


async def test_as_many_streams_as_there_may_be_go_at_once_and_one_more_waits(stage: Stage) -> None:
    async with stage.serving(echo):
        open_now = [await stage.call() for _ in range(STREAMS + 1)]
        for number, (_, writer) in enumerate(open_now):
            writer.write(b"%4d" % number)
        for number, (reader, _) in enumerate(open_now[:STREAMS]):
            assert await reader.readexactly(4) == b"%4d" % number
        await hung_up(open_now[0][1])
        assert await open_now[STREAMS][0].readexactly(4) == b"%4d" % STREAMS
        for _, writer in open_now[1:]:
            await hung_up(writer)


async def test_streams_that_nobody_reads_hold_up_no_other(stage: Stage) -> None:
    async def choose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(1)
        if first == b"D":  # deaf: reads nothing more
            await released.wait()
        elif first == b"L":  # loud: says more than anybody takes
            with contextlib.suppress(OSError):
                while not released.is_set():
                    writer.write(bytes(1 << 16))
                    await writer.drain()
        else:
            await echo(reader, writer)
        writer.close()

    async def pour(writer: asyncio.StreamWriter) -> None:
        writer.write(b"D")
        with contextlib.suppress(OSError):
            while not released.is_set():
                writer.write(bytes(1 << 16))
                await writer.drain()

    released = asyncio.Event()
    async with stage.serving(choose):
        deaf, loud = [await stage.call() for _ in range(8)], [await stage.call() for _ in range(8)]
        pouring = [asyncio.create_task(pour(writer)) for _, writer in deaf]
        for _, writer in loud:
            writer.write(b"L")
        data = random.Random(2).randbytes(4 << 20)
        reader, writer = await stage.call()
        writer.write(b"E")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(sent(writer, data))
            assert await tasks.create_task(reader.read()) == data
        released.set()
        for task in pouring:
            task.cancel()
        for _, one in [*deaf, *loud, (reader, writer)]:
            one.transport.abort()
        await asyncio.gather(*pouring, return_exceptions=True)


async def test_a_server_that_is_not_there_resets_the_stream_and_harms_no_other(stage: Stage) -> None:
    async with stage.serving(echo):
        lasting, lasting_writer = await stage.call()
        lasting_writer.write(b"a")
        assert await lasting.readexactly(1) == b"a"
    assert await refused(stage)
    lasting_writer.write(b"b")
    assert await lasting.readexactly(1) == b"b"
    async with stage.serving(echo):
        reader, writer = await stage.call()
        writer.write(b"c")
        assert await reader.readexactly(1) == b"c"
        await hung_up(writer)
    await hung_up(lasting_writer)


async def test_a_server_that_takes_few_at_a_time_gets_all_of_them(stage: Stage) -> None:
    async with stage.serving(echo, backlog=1):
        callers = await asyncio.gather(*(stage.call() for _ in range(40)))
        for reader, writer in callers:
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            await hung_up(writer)


async def test_a_program_that_goes_away_is_reset_at_the_server(stage: Stage) -> None:
    gone = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        try:
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()
        except OSError as exc:
            gone.set_result(type(exc))

    async with stage.serving(serve):
        _, writer = await stage.call()
        writer.write(b"x")
        await writer.drain()
        writer.transport.abort()
        assert issubclass(await gone, OSError)


async def test_ports_come_and_go_as_they_are_asked_for(stage: Stage) -> None:
    with held_port() as other:
        async with stage.serving(echo):
            await stage.forward(other)
            with pytest.raises(ConnectionRefusedError):
                await stage.call()
            stage.port = other
            reader, writer = await stage.call()
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            await stage.forward()
            assert await ended(reader) == "reset"
            await hung_up(writer)
            with pytest.raises(ConnectionRefusedError):
                await stage.call()


async def test_a_port_that_a_program_has_is_refused(stage: Stage) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserFault, match="has one of the ports"):
            await stage.forward(taken.getsockname()[1])


async def test_streams_of_an_earlier_host_are_cut_and_its_words_forgotten(stage: Stage) -> None:
    async with stage.serving(echo):
        reader, writer = await stage.call()
        writer.write(b"x" * 1000)
        assert await reader.readexactly(1000) == b"x" * 1000
        await stage.forward(stage.port)
        assert await ended(reader) == "reset"
        await hung_up(writer)
        reader, writer = await stage.call()
        writer.write(b"y" * 1000)
        assert await reader.readexactly(1000) == b"y" * 1000
        await hung_up(writer)


async def test_who_calls_while_there_is_no_host_waits_for_the_next(stage: Stage) -> None:
    assert stage.mux is not None
    stage.mux.close()
    await asyncio.sleep(0)
    await stage.guest.link.ask(Say.PING)  # by now the agent has seen that the other channel is gone
    reader, writer = await stage.call()
    writer.write(b"early")
    async with stage.serving(echo):
        await stage.forward(stage.port)
        assert await reader.readexactly(5) == b"early"
        await hung_up(writer)


def is_there(argument: str) -> bool:
    """Whether a program with this argument runs on this machine."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if argument.encode() in path.read_bytes().split(b"\0"):
                return True
    return False


async def test_a_host_that_is_lost_is_followed_by_another_that_hears_nothing_of_the_programs_before(
    stage: Stage,
) -> None:
    out, life = stage.guest.link, str(10**6 + os.getpid())
    async with stage.guest.start(["/bin/sh", "-c", f"echo begun; exec sleep {life}"]) as running:
        async for chunk in running:
            assert chunk.data == b"begun\n"
            break
        out.end(HostFault("lost"))
    stage.guest = await linked(await connected(stage.folder / "agent"), {})
    await stage.guest.link.greeted(within_s=60)
    for _ in range(3):
        assert (await stage.guest.exec(["/bin/echo", "still here"])).out == b"still here\n"
    while is_there(life):  # noqa: ASYNC110 nobody is left who would be told of its end
        await asyncio.sleep(0.01)
    async with stage.serving(echo):
        await stage.forward(stage.port)
        reader, writer = await stage.call()
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        await hung_up(writer)


# ---- what the agent does not believe ----


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_agent_survives_any_bytes_of_a_host(program: Path, data: st.DataObject) -> None:
    kinds = st.sampled_from([*Flow, 0, 255])
    piece = st.one_of(
        st.binary(max_size=60),
        st.builds(
            lambda kind, name, payload: struct.pack("<IBI", len(payload) + 5, kind, name) + payload,
            kinds,
            st.integers(0, 2 * STREAMS),
            st.binary(max_size=40),
        ),
        st.builds(
            lambda name, size: frame(Flow.TAKEN, name, struct.pack("<I", size)),
            st.integers(0, 3),
            st.integers(0, 2**32 - 1),
        ),
    )
    pieces = data.draw(st.lists(piece, max_size=12))
    with tempfile.TemporaryDirectory(prefix="lg-fuzz-", dir="/tmp") as name:
        said = anyio.run(fuzzed, program, Path(name), pieces)
    assert b"Sanitizer" not in said, said.decode()[-3000:]


async def fuzzed(program: Path, folder: Path, pieces: list[bytes]) -> bytes:
    process = started(program, folder)
    token = os.urandom(TOKEN_BYTES)
    with anyio.fail_after(120), held_port() as port:
        guest = await linked(await connected(folder / "agent"), {})
        await guest.link.greeted(within_s=60)
        await guest.listen(token, [port])
        with await connected(folder / "mux") as mux, socket.create_connection(("127.0.0.1", port)) as caller:
            caller.sendall(b"said by a program")
            with contextlib.suppress(OSError):
                mux.sendall(token)
                for piece in pieces:
                    mux.sendall(piece)
            with contextlib.suppress(Fault):  # it answers, or has ended itself because of what it heard
                await guest.link.ask(Say.PING)
                await guest.link.ask(Say.PING)
    guest.link.end(HostFault("over"))
    process.kill()
    return (await anyio.to_thread.run_sync(process.communicate))[1]
