"""What every hypervisor with snapshots does with a guest that runs."""

from collections.abc import Awaitable, Callable
from typing import cast

import anyio
import pytest

from luminaguard.vm.base import Hypervisor, Snapshotting, VmConfig, VmInstance

SCRIPT = "i=0; while :; do i=$((i+1)); echo $i > /tmp/count; sleep 0.02; done"


@pytest.fixture
def snapshotting(driver: Hypervisor) -> Snapshotting:
    if not anyio.run(driver.abilities).snapshot:
        pytest.skip("this driver has no snapshots here")
    return cast("Snapshotting", driver)


async def with_guests(body: Callable[[list[VmInstance]], Awaitable[None]]) -> None:
    guests: list[VmInstance] = []
    try:
        with anyio.fail_after(120):
            await body(guests)
    finally:
        for vm in guests:
            await vm.stop()


async def count(vm: VmInstance) -> int:
    return int((await vm.exec(["cat", "/tmp/count"])).out or 0)  # empty while it is being written


def test_a_snapshot_has_files_and_running_programs_and_its_guest_goes_on(
    snapshotting: Snapshotting, config: VmConfig
) -> None:
    async def body(guests: list[VmInstance]) -> None:
        vm = await snapshotting.spawn(config)
        guests.append(vm)
        await vm.exec(["sh", "-c", f"echo kept > /tmp/file; touch /tmp/count; ({SCRIPT}) >/dev/null 2>&1 &"])
        while await count(vm) < 3:
            pass
        snapshot = await snapshotting.snapshot(vm)
        assert snapshot.config == config
        guests += [await snapshotting.restore(snapshot) for _ in range(2)]
        for one in guests:
            assert (await one.exec(["cat", "/tmp/file"])).out == b"kept\n"
            at = await count(one)
            while await count(one) <= at:  # it counts on
                pass

    anyio.run(with_guests, body)


def test_what_begins_from_a_snapshot_draws_its_own_random_bytes(snapshotting: Snapshotting, config: VmConfig) -> None:
    async def body(guests: list[VmInstance]) -> None:
        vm = await snapshotting.spawn(config)
        guests.append(vm)
        snapshot = await snapshotting.snapshot(vm)
        guests += [await snapshotting.restore(snapshot) for _ in range(3)]
        drawn = {(await one.exec(["head", "-c", "16", "/dev/urandom"])).out for one in guests}
        assert len(drawn) == 4
        assert {one.spawned_from for one in guests[1:]} == {"snapshot"}

    anyio.run(with_guests, body)


def test_a_guest_begins_again_from_a_snapshot_after_it_was_killed(snapshotting: Snapshotting, config: VmConfig) -> None:
    async def body(guests: list[VmInstance]) -> None:
        vm = await snapshotting.spawn(config)
        guests.append(vm)
        await vm.exec(["sh", "-c", "echo before > /tmp/file"])
        snapshot = await snapshotting.snapshot(vm)
        await vm.exec(["sh", "-c", "echo after > /tmp/file"])
        await vm.stop()
        again = await snapshotting.restore(snapshot)
        guests.append(again)
        assert (await again.exec(["cat", "/tmp/file"])).out == b"before\n"

    anyio.run(with_guests, body)
