"""Guests in the hands of a keeper: reached by any process, and gone with it."""

import contextlib
import json
import os
import random
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest

from luminaguard.model.faults import Fault, HostFault, UserFault
from luminaguard.vm import named
from luminaguard.vm.all import DRIVERS
from luminaguard.vm.base import VmConfig
from luminaguard.vm.control import HEAD, WORDS_BYTES, reachable
from luminaguard.vm.keeper import Order
from luminaguard.vm.kept import Kept
from luminaguard.vm.places import cache_folder
from luminaguard.vm.remote import RemoteInstance, reached
from luminaguard.vm.running import clear_orphans, listed

QEMU = {"qemu": DRIVERS["qemu"]}
NAMES = {"qemu": "luminaguard.vm.qemu:Qemu"}
VISITOR = """
import sys, anyio
from luminaguard.vm.remote import reached

async def main():
    vm = await reached(sys.argv[1])
    print((await vm.exec(["cat"], stdin=b"it is me")).out)

anyio.run(main)
"""
CLIENT = """
import sys, anyio
from luminaguard.vm.remote import reached

async def main():
    vm = await reached(sys.argv[1])
    async with vm.start(["sh", "-c", "echo $$ > /tmp/pid; echo ready; exec sleep 1000"]) as running:
        async for chunk in running:
            print(chunk.data.decode(), end="", flush=True)

anyio.run(main)
"""


@pytest.fixture
def config(tools_image: Path) -> VmConfig:
    return VmConfig(root=tools_image, memory_mib=128, boot_timeout_s=120)


@contextlib.asynccontextmanager
async def kept(config: VmConfig) -> AsyncIterator[RemoteInstance]:
    vm = await Kept(QEMU).spawn(config)
    try:
        with anyio.fail_after(120):
            yield vm
    finally:
        await vm.stop()


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not is_so() and time.monotonic() < until:
        select.select([], [], [], 0.01)
    assert is_so()


def is_gone(pid: int) -> bool:
    with contextlib.suppress(OSError):
        # One that has ended and that nobody has asked after yet is gone, too.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    return True


def nothing_is_left() -> bool:
    return not list(cache_folder("running").iterdir())


def test_a_kept_guest_is_reached_by_another_process_and_outlives_it(config: VmConfig) -> None:
    async def go() -> None:
        async with kept(config) as vm:
            ran = await anyio.run_process([sys.executable, "-W", "error", "-c", VISITOR, vm.id])
            assert ran.stdout == b"b'it is me'\n"
            assert (await vm.exec(["true"])).exit_code == 0

    anyio.run(go)


def test_only_its_user_gets_at_the_control_socket(config: VmConfig) -> None:
    async def go() -> None:
        async with kept(config) as vm:
            assert stat.S_IMODE((vm.folder / "control").stat().st_mode) == 0o600
            assert stat.S_IMODE(vm.folder.stat().st_mode) == 0o700

    anyio.run(go)


def test_a_killed_keeper_takes_its_guest_along_and_the_rest_is_cleared(config: VmConfig) -> None:
    async def go() -> tuple[int, int, str]:
        vm = await Kept(QEMU).spawn(config)
        return vm.pid, vm.about.keeper, vm.id

    pid, keeper, name = anyio.run(go)
    os.kill(keeper, signal.SIGKILL)
    wait_until(lambda: is_gone(pid) and is_gone(keeper))
    assert clear_orphans() == (name,)
    assert listed() == ()
    assert nothing_is_left()


def kill_keepers(config: VmConfig, times: int) -> None:
    """Kill keepers from their first moment on, whatever they do: begin, wait, run programs, freeze."""
    chance = random.Random(11)

    async def go() -> None:
        async with kept(config):
            pass  # the template is there from now on

    anyio.run(go)
    for _ in range(times):
        order = Order(drivers=NAMES, asked="qemu", config=config)
        with subprocess.Popen(
            [sys.executable, "-m", "luminaguard.vm.keeper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            assert process.stdin is not None
            process.stdin.write(order.line())
            process.stdin.flush()
            process.wait(60)  # it leaves its keeper behind
            select.select([], [], [], chance.uniform(0, 1.5))
            for keeper in keepers_of(process.pid):
                os.kill(keeper, signal.SIGKILL)
        wait_until(lambda sid=process.pid: not keepers_of(sid))  # type: ignore[misc]
        clear_orphans()
        assert listed() == ()
        assert nothing_is_left()


def keepers_of(session: int) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] not in "ZX":
                found.append(int(process.name))
    return found


def test_keepers_killed_at_any_moment_leave_nothing(config: VmConfig) -> None:
    kill_keepers(config, 6)


@pytest.mark.slow
def test_two_hundred_killed_keepers_leave_nothing(config: VmConfig) -> None:
    kill_keepers(config, 200)


@pytest.mark.parametrize("is_early", [True, False])
def test_a_keeper_whose_starter_is_gone_before_it_said_so_keeps_nothing(config: VmConfig, *, is_early: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "luminaguard.vm.keeper"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(Order(drivers=NAMES, asked="qemu", config=config).line())
        process.stdin.flush()
        if not is_early:
            assert json.loads(process.stdout.readline())["say"] == "here"
        process.stdin.close()
        process.stdout.read()  # to its end: the keeper has gone
    assert listed() == ()
    assert nothing_is_left()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_keeper_and_guest(config: VmConfig, number: signal.Signals) -> None:
    async def go() -> RemoteInstance:
        return await Kept(QEMU).spawn(config)

    vm = anyio.run(go)
    os.kill(vm.about.keeper, number)
    wait_until(lambda: is_gone(vm.about.keeper) and is_gone(vm.pid))
    assert nothing_is_left()


def test_a_guest_that_ends_by_itself_ends_its_keeper(config: VmConfig) -> None:
    async def go() -> RemoteInstance:
        vm = await Kept(QEMU).spawn(config)
        async with vm.start(["sleep", "1000"]) as running:
            os.kill(vm.pid, signal.SIGKILL)
            with pytest.raises(HostFault, match="gone"):
                async for _ in running:
                    pass
        return vm

    vm = anyio.run(go)
    wait_until(lambda: is_gone(vm.about.keeper))
    assert nothing_is_left()


def test_the_deadline_of_a_guest_ends_its_keeper(config: VmConfig) -> None:
    async def go() -> RemoteInstance:
        vm = await Kept(QEMU).spawn(VmConfig(root=config.root, memory_mib=128, boot_timeout_s=120, deadline_s=3))
        with pytest.raises(Fault, match=r"time is over|gone"):
            await vm.exec(["sleep", "1000"])
        return vm

    vm = anyio.run(go)
    wait_until(lambda: is_gone(vm.about.keeper) and is_gone(vm.pid))
    assert nothing_is_left()


def test_a_program_ends_with_the_process_that_followed_it(config: VmConfig) -> None:
    async def go() -> None:
        async with kept(config) as vm:
            async with await anyio.open_process([sys.executable, "-c", CLIENT, vm.id]) as client:
                assert client.stdout is not None
                assert await client.stdout.receive() == b"ready\n"
                assert (await vm.exec(["sh", "-c", "kill -0 $(cat /tmp/pid)"])).exit_code == 0
                client.kill()
            while (await vm.exec(["sh", "-c", "kill -0 $(cat /tmp/pid) 2>/dev/null"])).exit_code == 0:
                pass

    anyio.run(go)


def test_a_signal_gets_past_input_that_nobody_reads(config: VmConfig) -> None:
    async def go() -> int | None:
        async with kept(config) as vm, vm.start(["sleep", "1000"]) as running:
            await running.give_all(bytes(20 << 20))
            await running.signal(signal.SIGTERM)
            assert [chunk async for chunk in running] == []
            return running.exit_code

    assert anyio.run(go) == -signal.SIGTERM


def test_output_that_nobody_takes_waits_in_the_guest(config: VmConfig) -> None:
    async def go() -> int:
        async with kept(config) as vm, vm.start(["head", "-c", "30000000", "/dev/zero"]) as running:
            for _ in range(20):
                assert (await vm.exec(["true"])).exit_code == 0  # others get through meanwhile
            return sum([len(chunk.data) async for chunk in running])

    assert anyio.run(go) == 30_000_000


GARBAGE = (
    b"",
    b"\0",
    bytes(8),
    HEAD.pack(WORDS_BYTES + 1, 0),
    HEAD.pack(3, 0) + b"abc",
    HEAD.pack(2, 0) + b"[]",
    HEAD.pack(13, 0) + b'{"say":"fly"}',
    HEAD.pack(14, 0) + b'{"say":"exec"}',
    HEAD.pack(36, 0) + b'{"say":"exec","argv":[1],"cwd":null}',
    random.Random(5).randbytes(5000),
)


def test_garbage_at_the_control_socket_harms_nobody(config: VmConfig) -> None:
    async def go() -> None:
        async with kept(config) as vm:
            for data in GARBAGE:
                await anyio.to_thread.run_sync(say_and_leave, vm.folder, data)
            assert (await vm.exec(["true"])).exit_code == 0

    anyio.run(go)


def say_and_leave(folder: Path, data: bytes) -> None:
    with reachable(folder) as path, socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.settimeout(60)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(1 << 16):
                pass


def test_what_cannot_begin_says_why_through_the_keeper(config: VmConfig) -> None:
    with pytest.raises(UserFault, match="1 MiB"):
        anyio.run(Kept(QEMU).spawn, VmConfig(memory_mib=1))
    with pytest.raises(UserFault, match="no hypervisor 'bochs'"):
        anyio.run(Kept(QEMU, "bochs").spawn, config)
    assert nothing_is_left()


def test_a_guest_that_is_not_there_is_not_reached(guests_cache: Path) -> None:
    for name in ("vm-000000000000", "vm-", "../vm-1", "other", ""):
        with pytest.raises(UserFault, match="guest"):
            anyio.run(reached, name)


def test_a_guest_moves_and_who_follows_a_program_goes_along(config: VmConfig) -> None:
    async def go() -> None:
        async with kept(config) as vm:
            count = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done"
            async with vm.start(["sh", "-c", count]) as running:
                seen, moved = b"", vm
                async for chunk in running:
                    seen += chunk.data
                    if moved is vm and b"\n20\n" in seen:
                        moved = await vm.migrate("here")
                    if b"\n60\n" in seen:
                        break
            try:
                assert seen.splitlines()[:60] == [b"%d" % number for number in range(1, 61)]
                assert moved.id != vm.id
                assert moved.about.keeper == vm.about.keeper
                assert not vm.folder.exists()
                assert (await (await reached(moved.id)).exec(["true"])).exit_code == 0
            finally:
                await moved.stop()

    anyio.run(go)
    assert nothing_is_left()


# Snapshots with a name.


@pytest.fixture
def no_names(guests_cache: Path) -> None:
    for one in named.named_snapshots():
        named.remove(one.name)


def test_a_named_snapshot_is_begun_from_by_any_process(config: VmConfig, no_names: None) -> None:
    async def go() -> None:
        async with kept(config) as vm:
            await vm.exec(["sh", "-c", "echo before > /tmp/file"])
            assert await vm.snapshot("ready") == "ready"
            await vm.exec(["sh", "-c", "echo after > /tmp/file"])
        for _ in range(2):
            async with await Kept(QEMU).restore_named("ready") as again:
                assert (await again.exec(["cat", "/tmp/file"])).out == b"before\n"
                assert again.spawned_from == "snapshot"

    anyio.run(go)
    (one,) = named.named_snapshots()
    assert (one.name, one.driver, one.config) == ("ready", "qemu", config)
    named.remove("ready")
    assert named.named_snapshots() == ()
    assert list(cache_folder("named").iterdir()) == []
    with pytest.raises(UserFault, match="no snapshot 'ready'"):
        anyio.run(Kept(QEMU).restore_named, "ready")


def test_a_snapshot_is_refused_when_what_it_was_made_with_has_changed(
    config: VmConfig, no_names: None, tmp_path: Path
) -> None:
    image = tmp_path / "root.erofs"
    image.write_bytes((config.root or Path()).read_bytes())

    async def go() -> None:
        async with kept(VmConfig(root=image, memory_mib=128, boot_timeout_s=120)) as vm:
            await vm.snapshot("ready")

    anyio.run(go)
    os.utime(image)
    with pytest.raises(UserFault, match="another root image") as refused:
        anyio.run(Kept(QEMU).restore_named, "ready")
    assert "--remove ready" in refused.value.hint
    image.unlink()
    with pytest.raises(UserFault, match="is not there"):
        anyio.run(Kept(QEMU).restore_named, "ready")


def test_a_snapshot_that_was_written_to_is_refused(config: VmConfig, no_names: None) -> None:
    async def go() -> None:
        async with kept(config) as vm:
            await vm.snapshot("ready")

    anyio.run(go)
    os.utime(cache_folder("named") / "ready" / "memory")
    with pytest.raises(UserFault, match="written to"):
        anyio.run(Kept(QEMU).restore_named, "ready")


def test_a_name_is_given_once_and_must_be_one(config: VmConfig, no_names: None) -> None:
    async def go() -> None:
        async with kept(config) as vm:
            await vm.snapshot("ready")
            for name in ("ready", "", "..", "a/b", ".hidden", "x" * 65, "a b"):
                with pytest.raises(UserFault, match=r"already|cannot be the name"):
                    await vm.snapshot(name)
            assert (await vm.exec(["true"])).exit_code == 0

    anyio.run(go)
    assert [path.name for path in cache_folder("named").iterdir()] == ["ready"]
