"""The guest's one way out: ports of its own loopback that lead to sockets here. Nothing else leads anywhere."""

import asyncio
import contextlib
import errno
import hashlib
import itertools
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any, cast

import anyio
import pytest

from luminaguard.model.faults import UserFault
from luminaguard.vm.agent_binary import compilers
from luminaguard.vm.base import Forward, Hypervisor, Migrating, Snapshotting, VmConfig, VmInstance
from luminaguard.vm.kernel import machine
from luminaguard.vm.qemu import Qemu

CALLER = "/tmp/caller"
PORT = 8080
MUCH = 50 << 20
UNREACHABLE = {errno.ENETUNREACH, errno.ECONNREFUSED, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
ADDRESSES = (
    "1.1.1.1 443", "1.1.1.1 53", "8.8.8.8 53", "8.8.8.8 443", "10.0.2.2 22", "10.0.2.3 53", "10.0.0.1 80",
    "172.17.0.1 80", "192.168.0.1 80", "192.168.1.1 443", "169.254.169.254 80", "100.100.100.200 80", "224.0.0.1 80",
    "255.255.255.255 80", "2606:4700:4700::1111 443", "fd00:ec2::254 80", "fec0::1 80", "ff0e::1 80",
)  # fmt: skip
OWN_ADDRESSES = ("127.0.0.1 22", "127.0.0.1 80", "127.0.0.1 8081", "127.0.0.2 8080", "::1 8080", "::1 22", "0.0.0.0 81")
Body = Callable[[VmInstance], Awaitable[None]]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="session")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("caller") / "caller"
    compiler = next(compilers(machine()), None)
    if compiler is None:
        pytest.skip("no C compiler here")
    source = Path(__file__).with_name("caller.c")
    subprocess.run([*compiler, "-Os", "-static", "-s", "-o", str(made), str(source)], check=True)
    return made


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lg-", dir="/tmp") as name:  # the paths of sockets are short
        yield Path(name)


@pytest.fixture
def forwarding(config: VmConfig, folder: Path) -> VmConfig:
    return replace(config, forwards=(Forward(port=PORT, socket=folder / "server"),))


@pytest.fixture
def within(driver: Hypervisor, forwarding: VmConfig, caller: Path) -> Callable[[Body], None]:
    def run(body: Body) -> None:
        async def go() -> None:
            vm = await driver.spawn(forwarding)
            try:
                with anyio.fail_after(240):
                    await vm.put(caller, CALLER)
                    await body(vm)
            finally:
                await vm.stop()

        anyio.run(go)

    return run


@contextlib.asynccontextmanager
async def serving(path: Path, serve: Serve) -> AsyncIterator[None]:
    """A server at a socket; every connection ends with it."""
    writers = list[asyncio.StreamWriter]()

    async def kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(OSError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_unix_server(kept, path)
    try:
        yield
    finally:
        server.close()
        path.unlink()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


def call(port: int = PORT) -> list[str]:
    return [CALLER, "tcp", "127.0.0.1", str(port)]


def test_http_goes_through_a_forward(within: Callable[[Body], None], forwarding: VmConfig) -> None:
    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.path.encode() + b" heard " + body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingMixIn, UnixStreamServer):
        def get_request(self) -> tuple[Any, Any]:
            return super().get_request()[0], ("guest", 0)

    async def body(vm: VmInstance) -> None:
        asked = b"POST /there HTTP/1.0\r\nContent-Length: 4\r\n\r\nword"
        said = await vm.exec(call(), stdin=asked)
        assert said.out.startswith(b"HTTP/1.0 200 OK\r\n")
        assert said.out.endswith(b"\r\n\r\n/there heard word")

    with Server(str(forwarding.forwards[0].socket), Answers) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        within(body)
        server.shutdown()


def numbers(size: int) -> bytes:
    """What `seq 1 1000000000 | head -c SIZE` prints."""
    found = bytearray()
    for first in itertools.count(1, 100_000):
        found += b"".join(b"%d\n" % number for number in range(first, first + 100_000))
        if len(found) >= size:
            return bytes(found[:size])
    raise AssertionError


def test_fifty_megabytes_go_both_ways_at_once_and_are_whole(
    within: Callable[[Body], None], forwarding: VmConfig
) -> None:
    wanted = hashlib.sha256(numbers(MUCH)).hexdigest()
    heard = hashlib.sha256()

    async def hashed_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            heard.update(data)
            writer.write(data)
            await writer.drain()

    async def body(vm: VmInstance) -> None:
        async with serving(forwarding.forwards[0].socket, hashed_echo):
            script = f"seq 1 1000000000 | head -c {MUCH} | {' '.join(call())} | sha256sum"
            said = await vm.exec(["sh", "-c", script], timeout_s=200)
            assert said.out.split()[:1] == [wanted.encode()], said
            assert heard.hexdigest() == wanted

    within(body)


def test_an_end_in_one_direction_leaves_the_other_open(within: Callable[[Body], None], forwarding: VmConfig) -> None:
    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await sent(writer, b"%d bytes" % len(await reader.read()))  # to its end

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await sent(writer, b"I have said all")
        heard.set_result(await reader.read())

    async def sent(writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        writer.write_eof()
        await writer.drain()

    heard: asyncio.Future[bytes]

    async def body(vm: VmInstance) -> None:
        nonlocal heard
        heard = asyncio.get_running_loop().create_future()
        async with serving(forwarding.forwards[0].socket, count):
            assert (await vm.exec(call(), stdin=b"x" * 300_000)).out == b"300000 bytes"
        async with serving(forwarding.forwards[0].socket, greet):
            script = f"(head -c 15 <&3 >/dev/null; echo and I have not) | {' '.join(call())} >/tmp/pipe"
            said = await vm.exec(["sh", "-c", f"mkfifo /tmp/pipe; exec 3<>/tmp/pipe; {script}"])
            assert said.exit_code == 0, said
            assert await heard == b"and I have not\n"

    within(body)


def test_fifty_streams_are_open_at_once(within: Callable[[Body], None], forwarding: VmConfig) -> None:
    count = 50
    waiting = list[asyncio.Future[None]]()

    async def together(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting.append(asyncio.get_running_loop().create_future())
        if len(waiting) == count:
            for one in waiting:
                one.set_result(None)
        await waiting[-1]
        await echo(reader, writer)

    async def body(vm: VmInstance) -> None:
        async with serving(forwarding.forwards[0].socket, together):
            script = f'for i in $(seq {count}); do (echo "stream $i" | {" ".join(call())}) & done; wait'
            said = await vm.exec(["sh", "-c", script], timeout_s=120)
            assert sorted(said.out.splitlines()) == sorted(b"stream %d" % number for number in range(1, count + 1))

    within(body)


def test_a_server_that_is_not_there_resets_its_callers_and_harms_nobody_else(
    within: Callable[[Body], None], forwarding: VmConfig
) -> None:
    async def body(vm: VmInstance) -> None:
        path = forwarding.forwards[0].socket
        async with vm.start(call()) as lasting, serving(path, echo):
            await lasting.write(b"a")
            assert await first_of(lasting) == b"a"
            path.rename(path.with_name("gone"))
            assert (await vm.exec(call())).exit_code == errno.ECONNRESET
            await lasting.write(b"b")
            assert await first_of(lasting) == b"b"
            path.with_name("gone").rename(path)
            assert (await vm.exec(call(), stdin=b"again")).out == b"again"

    within(body)


async def first_of(running: Any) -> bytes:
    async for chunk in running:
        return bytes(chunk.data)
    raise AssertionError("it has ended")


def test_the_guest_reaches_nothing_else(within: Callable[[Body], None], forwarding: VmConfig) -> None:
    async def body(vm: VmInstance) -> None:
        async with serving(forwarding.forwards[0].socket, echo):
            for kind, address in [
                *itertools.product(("tcp", "udp"), ADDRESSES),
                *(("tcp", one) for one in OWN_ADDRESSES),
            ]:
                said = await vm.exec([CALLER, kind, *address.split()], timeout_s=60)
                assert said.exit_code in UNREACHABLE, (kind, address, said)
            assert (await vm.exec(call(), stdin=b"but this")).out == b"but this"

    within(body)


def test_the_guest_has_no_network_interface_but_its_loopback(within: Callable[[Body], None]) -> None:
    async def body(vm: VmInstance) -> None:
        assert (await vm.exec(["ls", "/sys/class/net"])).out == b"lo\n"

    within(body)


def test_a_guest_without_forwards_is_refused_at_every_port(driver: Hypervisor, config: VmConfig, caller: Path) -> None:
    async def go() -> None:
        vm = await driver.spawn(config)
        try:
            await vm.put(caller, CALLER)
            assert (await vm.exec(call())).exit_code == errno.ECONNREFUSED
        finally:
            await vm.stop()

    anyio.run(go)


def test_two_ports_lead_to_two_servers(driver: Hypervisor, config: VmConfig, caller: Path, folder: Path) -> None:
    def named(name: bytes) -> Serve:
        async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(name)
            await writer.drain()

        return say

    async def go() -> None:
        forwards = tuple(Forward(port=PORT + number, socket=folder / f"s{number}") for number in range(2))
        vm = await driver.spawn(replace(config, forwards=forwards))
        try:
            await vm.put(caller, CALLER)
            async with serving(folder / "s0", named(b"zero")), serving(folder / "s1", named(b"one")):
                assert (await vm.exec(call(PORT))).out == b"zero"
                assert (await vm.exec(call(PORT + 1))).out == b"one"
        finally:
            await vm.stop()

    anyio.run(go)


@pytest.mark.parametrize("port", [0, 65536])
def test_a_forward_that_cannot_be_is_refused(driver: Hypervisor, config: VmConfig, folder: Path, port: int) -> None:
    with pytest.raises(UserFault, match="no TCP port"):
        anyio.run(driver.spawn, replace(config, forwards=(Forward(port=port, socket=folder / "s"),)))


def test_a_clone_has_the_forwards_of_its_snapshot_and_its_open_streams_are_cut(
    driver: Hypervisor, forwarding: VmConfig, caller: Path
) -> None:
    if not anyio.run(driver.abilities).snapshot:
        pytest.skip("this driver has no snapshots here")
    snapshotting = cast("Snapshotting", driver)

    async def go() -> None:
        async with serving(forwarding.forwards[0].socket, echo):
            vm = await driver.spawn(forwarding)
            try:
                await vm.put(caller, CALLER)
                left = f"{' '.join(call())} <&3 >/tmp/said; echo $? >/tmp/code"
                script = f"mkfifo /tmp/in; exec 3<>/tmp/in; echo a >&3; ({left}) & until [ -s /tmp/said ]; do :; done"
                assert (await vm.exec(["sh", "-c", script])).exit_code == 0
                snapshot = await snapshotting.snapshot(vm)
            finally:
                await vm.stop()
            clones = [await snapshotting.restore(snapshot) for _ in range(2)]
            try:
                for clone in clones:
                    assert (await clone.exec(call(), stdin=b"new")).out == b"new"
                    script = "until [ -s /tmp/code ]; do sleep 0.01; done; cat /tmp/code"
                    assert int((await clone.exec(["sh", "-c", script])).out) == errno.ECONNRESET
            finally:
                for clone in clones:
                    await clone.stop()

    anyio.run(go)


def test_a_guest_that_moves_keeps_its_forwards_and_its_open_streams_are_cut(
    driver: Hypervisor, forwarding: VmConfig, caller: Path
) -> None:
    if not anyio.run(driver.abilities).live_migrate:
        pytest.skip("this driver moves no guests here")

    async def go() -> None:
        async with serving(forwarding.forwards[0].socket, echo):
            vm = await driver.spawn(forwarding)
            try:
                await vm.put(caller, CALLER)
                async with vm.start(call()) as running:
                    await running.write(b"before")
                    assert await first_of(running) == b"before"
                    vm = await cast("Migrating", driver).migrate(vm, to="here")
                    async for _ in running:
                        pass
                    assert running.exit_code == errno.ECONNRESET
                assert (await vm.exec(call(), stdin=b"after")).out == b"after"
            finally:
                await vm.stop()

    anyio.run(go)


def test_a_guest_of_a_pool_gets_the_forwards_of_whoever_takes_it(
    driver: Hypervisor, config: VmConfig, forwarding: VmConfig, caller: Path
) -> None:
    if not isinstance(driver, Qemu):
        pytest.skip("this driver has no pools")

    async def go() -> None:
        async with serving(forwarding.forwards[0].socket, echo), driver.pool(config, size=1) as pool:
            for wanted, says in ((forwarding, 0), (config, errno.ECONNREFUSED)):
                await pool.full()
                async with await driver.spawn(wanted) as vm:
                    assert vm.spawned_from == "pool"
                    await vm.put(caller, CALLER)
                    assert (await vm.exec(call(), stdin=b"x")).exit_code == says

    anyio.run(go)
