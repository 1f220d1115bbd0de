"""A guest of QEMU that moves to another process here: what becomes of its memory, its deadline and its failures."""

import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from luminaguard.model.faults import UserFault
from luminaguard.vm.base import Channel, VmConfig
from luminaguard.vm.qemu import Qemu
from luminaguard.vm.qemu_instance import QemuInstance
from luminaguard.vm.qemu_memory import can_be_passed_on
from luminaguard.vm.running import listed

CONFIG = VmConfig(memory_mib=128, boot_timeout_s=120)
MOVABLE = replace(CONFIG, movable=True)
AGENT = ["/proc/self/exe"]


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
    if not can_be_passed_on():
        pytest.skip("this system has no files without a name")
    return made


def memory_of(vm: QemuInstance) -> int:
    """Tell which file the guest's memory is; 0 for one that cannot be passed on."""
    return os.fstat(vm.machine.memory_fd).st_ino if vm.machine.memory_fd >= 0 else 0


@pytest.mark.parametrize("boots", [False, True])
def test_the_memory_of_a_movable_guest_is_passed_on_and_not_copied(qemu: Qemu, *, boots: bool) -> None:
    async def go() -> None:
        vm = await (qemu.boot(MOVABLE) if boots else qemu.spawn(MOVABLE))
        try:
            before = memory_of(vm)
            assert before
            for _ in range(3):
                vm = await qemu.migrate(vm)
                assert memory_of(vm) == before
                assert vm.machine.downtime_ms > 0
                assert (await vm.exec(AGENT)).exit_code == 0
        finally:
            await vm.stop()

    anyio.run(go)


def test_another_guest_is_copied_once_and_movable_from_then_on(qemu: Qemu) -> None:
    async def go() -> None:
        vm = await qemu.spawn(CONFIG)
        try:
            assert not memory_of(vm)
            vm = await qemu.migrate(vm)
            first = memory_of(vm)
            assert first
            vm = await qemu.migrate(vm)
            assert memory_of(vm) == first
            assert (await vm.exec(AGENT)).exit_code == 0
        finally:
            await vm.stop()

    anyio.run(go)


def test_clones_that_are_movable_share_no_memory(qemu: Qemu, tmp_path: Path) -> None:
    marker = secrets.token_hex(24)
    (tmp_path / "file").write_text(marker)

    async def go() -> None:
        async with await qemu.spawn(MOVABLE) as one, await qemu.spawn(MOVABLE) as other:
            await one.put(tmp_path / "file", "/file")
            held = [marker.encode() in os.pread(vm.machine.memory_fd, 128 << 20, 0) for vm in (one, other)]
            assert held == [True, False]
            assert (await other.exec(AGENT)).exit_code == 0

    anyio.run(go)


def test_a_snapshot_of_a_movable_guest_begins_guests_that_move(qemu: Qemu, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")

    async def go() -> None:
        async with await qemu.spawn(MOVABLE) as vm:
            await vm.put(tmp_path / "file", "/file")
            snapshot = await qemu.snapshot(vm)
        again = await qemu.migrate(await qemu.restore(snapshot))
        async with again:
            await again.get("/file", tmp_path / "got")
        assert (tmp_path / "got").read_text() == "kept"

    anyio.run(go)


def test_the_deadline_of_a_guest_that_moved_is_what_it_was(qemu: Qemu) -> None:
    async def go() -> None:
        vm = await qemu.spawn(MOVABLE)
        ends = vm.machine.ends_at
        vm = await qemu.migrate(vm)
        async with vm:
            assert vm.machine.ends_at == ends

    anyio.run(go)


def test_a_guest_that_cannot_move_goes_on_where_it_is(qemu: Qemu, tmp_path: Path) -> None:
    path = tmp_path / "channel"
    config = replace(MOVABLE, channels=(Channel(name="side", socket=path),))

    async def go() -> None:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen()
            vm = await qemu.spawn(config)
        path.unlink()
        async with vm:
            with pytest.raises(UserFault, match="nobody listens"):
                await qemu.migrate(vm)
            assert (await vm.exec(AGENT)).exit_code == 0
            assert [one.id for one in listed()] == [vm.id]

    anyio.run(go)


def test_a_guest_moves_to_one_place_at_a_time(qemu: Qemu) -> None:
    async def go() -> None:
        vm = await qemu.spawn(MOVABLE)
        moved: list[QemuInstance] = []
        refused: list[UserFault] = []

        async def move() -> None:
            try:
                moved.append(await qemu.migrate(vm))
            except UserFault as fault:
                refused.append(fault)

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(move)
        assert len(moved) == 1
        assert "moves already" in refused[0].message or "gone" in refused[0].message
        async with moved[0] as now:
            assert (await now.exec(AGENT)).exit_code == 0
        assert listed() == ()

    anyio.run(go)
