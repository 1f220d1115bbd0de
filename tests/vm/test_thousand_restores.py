"""Guests restored from one snapshot, one after the other, a thousand times without a failure."""

import logging
import shutil
import statistics
import subprocess
from pathlib import Path

import anyio
import pytest

from luminaguard.vm.base import VmConfig
from luminaguard.vm.qemu import Qemu

LOG = logging.getLogger(__name__)
TELL_EVERY = 50


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if (why := anyio.run(Qemu().missing)) is not None:
        pytest.skip(why)
    return tmp_path / "luminaguard/vm"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image with one program in it, `head`."""
    program = Path(str(shutil.which("head"))).resolve()
    said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
    wanted = {"bin/head": program, **{word[1:]: Path(word) for word in said.split() if word[0] == "/"}}
    for inside, source in wanted.items():
        target = tmp_path / "root" / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source.resolve(), target)
    subprocess.run(["mkfs.erofs", "--quiet", str(tmp_path / "image"), str(tmp_path / "root")], check=True)
    return tmp_path / "image"


def restore_times(config: VmConfig, running: Path, times: int) -> list[float]:
    """Give the milliseconds of each restore; every guest has run a program, drawn its own bytes, and left nothing."""
    drawn: set[bytes] = set()
    took: list[float] = []

    async def once(qemu: Qemu) -> None:
        vm = await qemu.spawn(config)
        try:
            assert vm.spawned_from == "snapshot"
            ran = await vm.exec(["head", "-c", "16", "/dev/urandom"])
            assert ran.exit_code == 0, ran.err
            assert len(ran.out) == 16
            drawn.add(ran.out)
        finally:
            await vm.stop()
        assert not Path(f"/proc/{vm.pid}").exists()
        assert list(running.iterdir()) == []
        took.append(vm.spawn_time_ms)

    async def go() -> None:
        qemu = Qemu()
        await (await qemu.spawn(config)).stop()  # makes the snapshot
        await once(qemu)
        opened = len(list(Path("/proc/self/fd").iterdir()))
        for number in range(2, times + 1):
            await once(qemu)
            assert len(drawn) == number
            if number % TELL_EVERY == 0:
                LOG.info("%d of %d restores, no failure, median %.1f ms", number, times, statistics.median(took))
        assert len(list(Path("/proc/self/fd").iterdir())) == opened

    anyio.run(go)
    return took


def test_twenty_restores_in_a_row_do_not_fail_and_leave_nothing(cache: Path, root: Path) -> None:
    config = VmConfig(root=root, memory_mib=128, boot_timeout_s=120)
    assert len(restore_times(config, cache / "running", 20)) == 20


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_thousand_restores_in_a_row_do_not_fail_and_leave_nothing(cache: Path, root: Path) -> None:
    config = VmConfig(root=root, memory_mib=128, boot_timeout_s=120)
    assert len(restore_times(config, cache / "running", 1000)) == 1000
