"""A guest that moves to a QEMU of another process, over TCP, and all that can come between."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import pytest

from luminaguard.model.faults import Fault, HostFault, UserFault
from luminaguard.vm.base import Disk, VmConfig
from luminaguard.vm.qemu import Qemu
from luminaguard.vm.qemu_instance import QemuInstance
from luminaguard.vm.running import listed

HERE = Path(__file__).parent
CONFIG = VmConfig(memory_mib=128, boot_timeout_s=120, movable=True)
KEY = secrets.token_bytes(32)
MIDWAY = 4 << 20


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture
def qemu(cache: Path) -> Qemu:
    made = Qemu()
    if (why := anyio.run(made.missing)) is not None:
        if os.environ.get("LUMINAGUARD_MUST_RUN") == "1":
            pytest.fail(f"QEMU must run here: {why}")
        pytest.skip(why)
    return made


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    made = tmp_path_factory.mktemp("busy") / "busy"
    subprocess.run([compiler, "-O2", "-static", "-o", str(made), str(HERE / "busy.c")], check=True)
    return made


@dataclass
class Receiving:
    """Another process that waits for a guest."""

    process: subprocess.Popen[str]
    address: str

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    async def says(self) -> str:
        return await anyio.to_thread.run_sync(self.line, abandon_on_cancel=True)

    async def ask(self, *words: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        return await self.says()


@contextlib.contextmanager
def receiving(*, ends_with: int = 0) -> Iterator[Receiving]:
    argv = [sys.executable, str(HERE / "receiving.py"), KEY.hex()]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        try:
            one = Receiving(process=process, address="")
            one.address = one.line()
            yield one
            process.stdin.close()
            assert process.wait(60) == ends_with
        finally:
            process.kill()


@dataclass
class Relay:
    """Somebody on the way, who keeps all bytes, and does something midway or cuts all at some word."""

    target: str
    midway: Callable[[], None] = lambda: None
    swallows: bytes = b"nothing of this kind"
    seen: bytearray = field(default_factory=bytearray)
    has_done: bool = False
    ends: list[socket.socket] = field(default_factory=list)

    def cut(self) -> None:
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self.seen += data
                if len(self.seen) > MIDWAY and not self.has_done:
                    self.has_done = True
                    self.midway()
                if self.swallows in data:
                    self.has_done = True
                    self.cut()
                target.sendall(data)
        # Closed as by a host that is gone: whoever still sends is refused, and does not wait for room.
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self, server: socket.socket) -> None:
        host, _, port = self.target.rpartition(":")
        with contextlib.suppress(OSError):
            while True:
                near, _ = server.accept()
                far = socket.create_connection((host, int(port)))
                self.ends += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    @contextlib.contextmanager
    def open(self) -> Iterator[str]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            accepting = threading.Thread(target=self._accept, args=(server,), daemon=True)
            accepting.start()
            yield f"127.0.0.1:{server.getsockname()[1]}"
            server.shutdown(socket.SHUT_RDWR)
            accepting.join()
        self.cut()
        for end in self.ends:
            end.close()


@contextlib.asynccontextmanager
async def guest(qemu: Qemu, busy: Path, config: VmConfig = CONFIG) -> AsyncIterator[QemuInstance]:
    with anyio.fail_after(200):
        async with await qemu.spawn(config) as vm:
            await vm.put(busy, "/busy")
            yield vm


async def passes(ask: Callable[[], Awaitable[str]]) -> int:
    said = await ask()
    assert said.isdecimal(), said
    return int(said)


async def goes_on(ask: Callable[[], Awaitable[str]]) -> None:
    """See that two more passes over all of its memory are made, and that none finds what it did not write."""
    at = await passes(ask)
    while await passes(ask) < at + 2:
        pass


def asking(vm: QemuInstance) -> Callable[[], Awaitable[str]]:
    async def ask() -> str:
        return (await vm.exec(["/busy", "passes"])).out.decode().strip()

    return ask


async def following(vm: QemuInstance, heard: list[Fault]) -> None:
    try:
        async with vm.start(["/busy", "run"]) as running:
            async for _ in running:
                pass
    except Fault as fault:
        heard.append(fault)


def test_programs_go_on_in_the_other_process_and_their_followers_hear_that_they_moved(qemu: Qemu, busy: Path) -> None:
    async def go() -> None:
        heard: list[Fault] = []
        with receiving() as other:
            async with guest(qemu, busy) as vm, anyio.create_task_group() as tasks:
                tasks.start_soon(following, vm, heard)
                await goes_on(asking(vm))
                at = await passes(asking(vm))
                assert (await vm.exec(["/busy", "wrong"])).exit_code == 0
                await qemu.send(vm, to=other.address, key=KEY)
                with pytest.raises(HostFault, match=f"moved to {other.address}"):
                    await vm.exec(["/busy", "passes"])
                with pytest.raises(ProcessLookupError):
                    os.kill(vm.pid, 0)
            assert [type(fault) for fault in heard] == [HostFault]
            assert heard[0].message.endswith(f"moved to {other.address}")
            arrived = (await other.says()).split()
            assert arrived[0] == "arrived"
            assert [one.id for one in listed()] == [arrived[1]]

            async def ask() -> str:
                return (await other.ask("/busy", "passes")).removeprefix("0 ")

            assert await passes(ask) >= at
            await goes_on(ask)
            clock = int((await other.ask("/busy", "clock")).removeprefix("0 "))
            assert abs(clock - time.time()) < 60  # and not long ago, as it was there
        assert listed() == ()

    anyio.run(go)


def test_a_guest_with_memory_of_its_own_kind_moves_too(qemu: Qemu, busy: Path) -> None:
    async def go() -> None:
        with receiving() as other:
            async with guest(qemu, busy, replace(CONFIG, movable=False)) as vm:
                await qemu.send(vm, to=other.address, key=KEY)
            assert (await other.says()).startswith("arrived")
            assert await other.ask("/busy", "passes") == "0 0"

    anyio.run(go)


def refused(
    qemu: Qemu, busy: Path, kind: type[Fault], text: str, *, to: str, key: bytes = KEY, config: VmConfig = CONFIG
) -> None:
    """See that it cannot be sent, and goes on unharmed."""

    async def go() -> None:
        async with guest(qemu, busy, config) as vm, anyio.create_task_group() as tasks:
            tasks.start_soon(following, vm, [])
            await goes_on(asking(vm))
            with pytest.raises(kind, match=text):
                await qemu.send(vm, to=to, key=key)
            await goes_on(asking(vm))
            assert list(vm.machine.keys.glob("*")) == []
            again = await qemu.migrate(vm)
            await goes_on(asking(again))
            await again.stop()

    anyio.run(go)


async def arrives(qemu: Qemu, other: Receiving, busy: Path) -> None:
    """See that the receiver waits still, for one that is right."""
    async with guest(qemu, busy) as vm:
        await qemu.send(vm, to=other.address, key=KEY)
    assert (await other.says()).startswith("arrived")


def test_a_wrong_key_is_refused_and_the_right_one_taken_after_it(qemu: Qemu, busy: Path) -> None:
    with receiving() as other:
        refused(qemu, busy, UserFault, "another key", to=other.address, key=secrets.token_bytes(32))
        anyio.run(arrives, qemu, other, busy)


def test_a_guest_that_the_receiver_does_not_expect_is_refused_with_the_difference(qemu: Qemu, busy: Path) -> None:
    with receiving() as other:
        larger = replace(CONFIG, memory_mib=160)
        text = "memory: 160 MiB at the sender, 128 MiB at the receiver"
        refused(qemu, busy, UserFault, text, to=other.address, config=larger)
        anyio.run(arrives, qemu, other, busy)


def test_where_nobody_listens_the_guest_stays(qemu: Qemu, busy: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    refused(qemu, busy, UserFault, "nobody waits for a guest", to=f"127.0.0.1:{port}")


def test_a_listener_that_is_something_else_is_told_apart(qemu: Qemu, busy: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            with contextlib.suppress(OSError):
                sock, _ = server.accept()
                with sock:
                    sock.sendall(b"220 mail.example ESMTP ready, and much more of this kind\r\n")
                    sock.recv(1)

        threading.Thread(target=greet, daemon=True).start()
        refused(qemu, busy, HostFault, "no part of this", to=f"127.0.0.1:{server.getsockname()[1]}")


def test_a_receiver_that_is_killed_midway_leaves_the_guest_where_it_was(qemu: Qemu, busy: Path) -> None:
    with receiving(ends_with=-signal.SIGKILL) as other:
        relay = Relay(target=other.address, midway=other.process.kill)
        with relay.open() as address:
            refused(qemu, busy, HostFault, "migration|gone", to=address)
        assert relay.has_done


def test_a_connection_that_breaks_midway_leaves_the_guest_and_the_receiver_as_they_were(qemu: Qemu, busy: Path) -> None:
    with receiving() as other:
        relay = Relay(target=other.address)
        relay.midway = relay.cut
        with relay.open() as address:
            refused(qemu, busy, HostFault, "migration|gone", to=address)
        assert relay.has_done
        anyio.run(arrives, qemu, other, busy)


@pytest.mark.parametrize("word", ["go on", "lives"])
def test_a_last_word_that_is_lost_leaves_one_guest_at_most(qemu: Qemu, busy: Path, word: str) -> None:
    async def go(other: Receiving, address: str) -> None:
        async with guest(qemu, busy) as vm:
            with pytest.raises(HostFault, match="did not say that it lives"):
                await qemu.send(vm, to=address, key=KEY)
            with pytest.raises(HostFault, match="did not say that it lives"):
                await vm.exec(["/busy", "passes"])
            assert vm.id not in {one.id for one in listed()}
        if word == "go on":
            await arrives(qemu, other, busy)
        else:
            assert (await other.says()).startswith("arrived")
        assert await other.ask("/busy", "passes") == "0 0"

    with receiving() as other:
        relay = Relay(target=other.address, swallows=f'"say": "{word}"'.encode())
        with relay.open() as address:
            anyio.run(go, other, address)
        assert relay.has_done


def test_whoever_sees_all_bytes_finds_neither_memory_nor_key_in_them(qemu: Qemu, busy: Path, cache: Path) -> None:
    marker = secrets.token_hex(24)
    modes: list[int] = []
    keys: list[bytes] = []
    commands: list[bytes] = []

    def look() -> None:
        for path in cache.glob("luminaguard/vm/running/*/keys/*"):
            modes.append(stat.S_IMODE(path.stat().st_mode))
            keys.append(path.read_bytes().strip().partition(b":")[2])
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                commands.append((process / "cmdline").read_bytes())

    async def go(other: Receiving, address: str) -> None:
        async with guest(qemu, busy) as vm, vm.start(["/busy", "keep", marker]) as running:
            async for _ in running:
                break
            with os.fdopen(os.dup(vm.machine.memory_fd), "rb") as memory:
                memory.seek(0)
                assert marker.encode() in memory.read()
            await qemu.send(vm, to=address, key=KEY)
        assert (await other.says()).startswith("arrived")

    with receiving() as other:
        relay = Relay(target=other.address, midway=look)
        with relay.open() as address:
            anyio.run(go, other, address)
    assert len(relay.seen) > MIDWAY
    assert marker.encode() not in relay.seen
    assert modes == [0o600, 0o600]
    assert len(set(keys)) == 1
    assert len(keys[0]) == 64
    for secret in (keys[0], KEY.hex().encode(), bytes.fromhex(keys[0].decode()), KEY):
        assert secret not in relay.seen
    assert [line for line in commands if keys[0] in line] == []


def test_a_guest_with_a_writable_disk_does_not_move_to_another_host(qemu: Qemu, busy: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(1 << 20)
    config = replace(CONFIG, disks=(Disk(path=disk, writable=True),))

    async def go() -> None:
        async with guest(qemu, busy, config) as vm:
            with pytest.raises(UserFault, match="writable disk"):
                await qemu.send(vm, to="127.0.0.1:1", key=KEY)
            assert (await vm.exec(["/busy", "passes"])).exit_code == 0
        with pytest.raises(UserFault, match="writable disk"):
            await qemu.receive(config, listen="127.0.0.1:0", key=KEY)

    anyio.run(go)


def test_a_place_that_is_taken_cannot_be_listened_at(qemu: Qemu) -> None:
    async def go() -> None:
        async with await qemu.receive(CONFIG, listen="127.0.0.1:0", key=KEY) as first:
            with pytest.raises(UserFault, match="cannot listen"):
                await qemu.receive(CONFIG, listen=first.address, key=KEY)

    anyio.run(go)
