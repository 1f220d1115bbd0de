"""What every hypervisor that moves guests does with one."""

import os
from typing import cast

import anyio
import pytest

from luminaguard.model.faults import HostFault
from luminaguard.vm.base import Hypervisor, Migrating, VmConfig

COUNT = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done"


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
