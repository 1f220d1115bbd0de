"""Owners that are killed: nothing of their guests is left."""

import logging
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from luminaguard.vm.base import VmConfig
from luminaguard.vm.qemu import Qemu
from luminaguard.vm.qemu_templates import tidy
from luminaguard.vm.running import clear_orphans, listed, stop

OWNER = Path(__file__).parent / "owner.py"
LOG = logging.getLogger(__name__)


def of_this_cache(cache: Path) -> list[str]:
    """Processes that were told of our cache or of a memory in it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(cache) in line:
            found.append(folder.name)
    return found


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if (why := anyio.run(Qemu().missing)) is not None:
        if os.environ.get("LUMINAGUARD_MUST_RUN") == "1":
            pytest.fail(f"QEMU must run here: {why}")
        pytest.skip(why)
    return tmp_path


def make_template() -> None:
    async def go() -> None:
        await (await Qemu().spawn(VmConfig(memory_mib=128, boot_timeout_s=120))).stop()

    anyio.run(go)


def kill_after(seconds: float, *argv: str, has_guest: bool) -> None:
    with subprocess.Popen([sys.executable, str(OWNER), *argv], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        if has_guest:
            assert select.select([owner.stdout], [], [], 60)[0]
        select.select([], [], [], seconds)  # not to wait for anything: this is the random moment
        owner.send_signal(signal.SIGKILL)
    assert owner.returncode == -signal.SIGKILL  # it had not ended by itself


def wait_until_gone(cache: Path) -> None:
    until = time.monotonic() + 60
    while of_this_cache(cache) and time.monotonic() < until:
        select.select([], [], [], 0.01)
    assert of_this_cache(cache) == []


def kill_owners(cache: Path, times: int) -> None:
    make_template()
    chance = random.Random(7)
    for number in range(times):
        argv = ["stop"] if number % 2 else []
        if number % 4 == 3:
            kill_after(chance.uniform(0, 1.0), *argv, has_guest=False)
        else:
            kill_after(chance.uniform(0, 0.3), *argv, has_guest=True)
        clear_orphans()  # what anybody's next guest does first
        assert list((cache / "luminaguard/vm/running").iterdir()) == []
        assert listed() == ()
        wait_until_gone(cache)
        tidy("templates")
        assert not [path for path in (cache / "luminaguard/vm/templates").iterdir() if path.name.startswith(".")]
        LOG.info("%d of %d owners killed, nothing left", number + 1, times)


def test_twenty_killed_owners_leave_no_process_socket_or_file(cache: Path) -> None:
    kill_owners(cache, 20)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_killed_owners_leave_no_process_socket_or_file(cache: Path) -> None:
    kill_owners(cache, 200)


def test_a_template_half_made_by_a_killed_owner_is_removed_and_made_again(cache: Path) -> None:
    with subprocess.Popen([sys.executable, str(OWNER)], stdout=subprocess.PIPE) as owner:
        until = time.monotonic() + 60
        while not list(cache.glob("luminaguard/vm/templates/.making-*/memory")) and time.monotonic() < until:
            select.select([], [], [], 0.01)
        owner.send_signal(signal.SIGKILL)
    make_template()  # which clears what is left, first
    wait_until_gone(cache)
    assert not [path for path in (cache / "luminaguard/vm/templates").iterdir() if path.name.startswith(".")]


def test_a_guest_can_be_stopped_by_its_name_from_elsewhere(cache: Path) -> None:
    make_template()
    with subprocess.Popen([sys.executable, str(OWNER)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        name = owner.stdout.readline().strip()
        one = next(one for one in listed() if one.id == name)
        assert not one.is_orphan
        assert stop(name)
        until = time.monotonic() + 60
        while Path(f"/proc/{one.pid}").exists() and time.monotonic() < until:
            select.select([], [], [], 0.01)
        assert not Path(f"/proc/{one.pid}").exists()
        owner.send_signal(signal.SIGKILL)
    clear_orphans()
    wait_until_gone(cache)
    assert not stop(name)
