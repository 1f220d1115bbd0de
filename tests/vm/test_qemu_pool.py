"""Guests of QEMU that wait in a pool, and templates that are no longer what they were."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from luminaguard.model.faults import UserFault
from luminaguard.vm.base import Channel, VmConfig
from luminaguard.vm.qemu import Qemu
from luminaguard.vm.qemu_blueprint import blueprint
from luminaguard.vm.qemu_templates import template_of
from luminaguard.vm.running import listed

CONFIG = VmConfig(memory_mib=128, boot_timeout_s=120)


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


def test_a_guest_from_the_pool_is_one_that_waited_and_another_takes_its_place(qemu: Qemu) -> None:
    async def go() -> None:
        with anyio.fail_after(120):
            async with qemu.pool(CONFIG, size=2) as pool:
                await pool.full()
                waiting = {one.id for one in listed()}
                assert len(waiting) == 2
                vm = await qemu.spawn(CONFIG)
                assert vm.spawned_from == "pool"
                assert vm.id in waiting
                await pool.full()
                assert len(listed()) == 3
                await vm.stop()
        assert listed() == ()

    anyio.run(go)


def test_an_empty_pool_does_not_keep_anybody_waiting(qemu: Qemu) -> None:
    async def go() -> None:
        async with qemu.pool(CONFIG, size=1) as pool:
            await pool.full()
            guests = [await qemu.spawn(CONFIG) for _ in range(3)]
            assert guests[0].spawned_from == "pool"
            assert {vm.spawned_from for vm in guests} <= {"pool", "snapshot"}
            for vm in guests:
                await vm.stop()

    anyio.run(go)


def test_a_guest_that_died_in_the_pool_is_not_handed_out(qemu: Qemu) -> None:
    async def go() -> None:
        async with qemu.pool(CONFIG, size=1) as pool:
            await pool.full()
            dead = listed()[0]
            os.kill(dead.pid, 9)
            with anyio.fail_after(60):
                while Path(f"/proc/{dead.pid}").exists():
                    await anyio.lowlevel.checkpoint()
            async with await qemu.spawn(CONFIG) as vm:
                assert vm.id != dead.id
                assert (await vm.exec(["x"])).exit_code == 127

    anyio.run(go)
    assert listed() == ()


def test_an_error_in_the_block_comes_out_as_it_is(qemu: Qemu) -> None:
    async def go() -> None:
        async with qemu.pool(CONFIG, size=1):
            raise UserFault("mine")

    with pytest.raises(UserFault, match="mine"):
        anyio.run(go)
    assert listed() == ()


def test_a_guest_with_channels_cannot_wait_in_a_pool(qemu: Qemu) -> None:
    async def go() -> None:
        async with qemu.pool(VmConfig(channels=(Channel(name="a", socket=Path("/x")),)), size=1):
            pass

    with pytest.raises(UserFault, match="channels"):
        anyio.run(go)


def test_a_template_that_was_written_to_is_made_anew(qemu: Qemu) -> None:
    async def go() -> None:
        await (await qemu.spawn(CONFIG)).stop()
        template = template_of(blueprint(await qemu.program(), CONFIG).key)
        assert template is not None
        with template.memory.open("r+b") as file:
            file.write(b"poison")
        assert not template.is_sound
        for came in ("boot", "snapshot"):
            async with await qemu.spawn(CONFIG) as vm:
                assert vm.spawned_from == came

    anyio.run(go)


def test_two_who_need_the_same_template_make_it_once(qemu: Qemu, cache: Path) -> None:
    shutil.rmtree(cache / "luminaguard/vm/templates")

    async def go() -> None:
        came = []

        async def one() -> None:
            async with await qemu.spawn(CONFIG) as vm:
                came.append(vm.id)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(one)
        assert len(came) == 3

    anyio.run(go)
    made = [path for path in (cache / "luminaguard/vm/templates").iterdir() if path.is_dir()]
    assert len(made) == 1
