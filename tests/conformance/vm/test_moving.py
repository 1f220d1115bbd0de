"""What every hypervisor that moves guests does with one."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import cast

import anyio
import pytest

from luminaguard.model.faults import HostFault
from luminaguard.vm.base import Hypervisor, Migrating, VmConfig

COUNT = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done"


BUSY = Path(__file__).parents[2] / "vm" / "busy.c"


@pytest.fixture(params=[False, True], ids=["", "movable"])
def config(request: pytest.FixtureRequest, root_image: Path) -> VmConfig:
    return VmConfig(root=root_image, boot_timeout_s=120.0, movable=request.param)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    made = tmp_path_factory.mktemp("busy") / "busy"
    subprocess.run([compiler, "-O2", "-static", "-o", str(made), str(BUSY)], check=True)
    return made


@pytest.fixture
def migrating(driver: Hypervisor) -> Migrating:
    if not anyio.run(driver.abilities).live_migrate:
        pytest.skip("this driver moves no guests here")
    return cast("Migrating", driver)


def test_programs_and_those_who_follow_them_go_along(migrating: Migrating, config: VmConfig) -> None:
    async def go() -> None:
        before = vm = await migrating.spawn(config)
        try:
            await vm.exec(["sh", "-c", "echo kept > /tmp/file"])
            async with vm.start(["sh", "-c", COUNT]) as running:
                seen = b""
                async for chunk in running:
                    seen += chunk.data
                    if vm is before and b"\n20\n" in seen:
                        vm = await migrating.migrate(before, to="here")
                    if b"\n60\n" in seen:
                        break
            said = seen.splitlines()[:60]
            assert said == [b"%d" % number for number in range(1, 61)]
            assert vm.pid != before.pid
            assert (await vm.exec(["cat", "/tmp/file"])).out == b"kept\n"
            with pytest.raises(ProcessLookupError):
                os.kill(before.pid, 0)
            await before.stop()  # it is somewhere else: this ends nothing
            assert (await vm.exec(["true"])).exit_code == 0
        finally:
            await vm.stop()
        with pytest.raises(HostFault):
            await vm.exec(["true"])

    anyio.run(go)


def test_a_guest_moves_as_often_as_it_must(migrating: Migrating, config: VmConfig) -> None:
    async def go() -> None:
        vm = await migrating.spawn(config)
        try:
            for number in range(4):
                await vm.exec(["sh", "-c", f"echo {number} >> /tmp/file"])
                vm = await migrating.migrate(vm, to="here")
            assert (await vm.exec(["cat", "/tmp/file"])).out == b"0\n1\n2\n3\n"
        finally:
            await vm.stop()

    anyio.run(go)


def moves_while_busy(migrating: Migrating, config: VmConfig, busy: Path, *, times: int) -> None:
    """Move a guest at each new pass of a program that rewrites 40 MiB, and looks that nothing else changed them."""

    async def go() -> None:
        vm = await migrating.spawn(config)
        try:
            await vm.put(busy, "/busy")
            moved = 0
            async with vm.start(["/busy", "run"]) as running:
                async for chunk in running:
                    assert b"WRONG" not in chunk.data
                    if moved == times:
                        break
                    vm = await migrating.migrate(vm, to="here")
                    moved += 1
                seen = 0
                async for chunk in running:
                    assert b"WRONG" not in chunk.data
                    seen += chunk.data.count(b"\n")
                    if seen > 2:  # all of the memory has been looked at since
                        break
            assert moved == times
        finally:
            await vm.stop()

    anyio.run(go)


def test_a_guest_that_rewrites_its_memory_finds_all_of_it_after_moves(
    migrating: Migrating, config: VmConfig, busy: Path
) -> None:
    moves_while_busy(migrating, config, busy, times=4)


@pytest.mark.slow
def test_a_guest_that_rewrites_its_memory_moves_fifty_times(migrating: Migrating, config: VmConfig, busy: Path) -> None:
    moves_while_busy(migrating, config, busy, times=50)
