"""Folders of running guests: whose they are, and when they are nobody's. No hypervisor is needed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from luminaguard.host.locks import try_lock
from luminaguard.vm.running import LOG, Place, clear_orphans, end_unwritten, listed

OWNER = """
import os, time
from luminaguard.vm.running import Place
place, owner = Place(), os.getpid()
place.write(pid=owner, hypervisor="none", spawned_from="boot")
if os.fork() == 0:  # it has the owner's descriptors, as every child between fork and exec
    while os.getppid() == owner:
        time.sleep(0.001)
    time.sleep(0.3)
    os._exit(0)
print(place.id, flush=True)
time.sleep(600)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "luminaguard/vm/running"


@pytest.fixture
def place(home: Path) -> Iterator[Place]:
    made = Place()
    yield made
    made.close()


def killed(code: str) -> str:
    """Give what an owner said before it was killed; it has been waited for."""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        said = owner.stdout.readline().strip()
        owner.send_signal(signal.SIGKILL)
    assert owner.returncode == -signal.SIGKILL
    return said


def test_the_folder_of_a_killed_owner_is_cleared_though_a_child_of_it_takes_its_time_to_die(home: Path) -> None:
    name = killed(OWNER)
    assert clear_orphans() == (name,)
    assert list(home.iterdir()) == []


def test_a_killed_owners_guest_is_listed_as_an_orphan_though_a_child_takes_its_time_to_die(home: Path) -> None:
    name = killed(OWNER)
    assert [(one.id, one.is_orphan) for one in listed()] == [(name, True)]


def test_a_living_owners_folder_is_left_alone(place: Place) -> None:
    place.write(pid=os.getpid(), hypervisor="none", spawned_from="boot")
    assert clear_orphans() == ()
    assert [(one.id, one.is_orphan) for one in listed()] == [(place.id, False)]


def test_an_owner_in_another_container_is_not_taken_for_dead(home: Path) -> None:
    folder = home / "vm-elsewhere"
    folder.mkdir(parents=True)
    held = try_lock(folder / "lock")
    assert held is not None
    (folder / "lock").write_text("999999999\t1\tanother namespace", encoding="ascii")
    assert clear_orphans() == ()
    os.close(held)
    assert clear_orphans() == ("vm-elsewhere",)


def test_a_folder_half_made_is_its_makers_for_as_long_as_that_lives(place: Place, home: Path) -> None:
    namespace = Path("/proc/self/ns/pid").stat().st_ino
    begun = home / f".new-{os.getpid()}-{namespace}-vm-begun"
    begun.mkdir()
    (begun / "lock").touch()
    assert clear_orphans() == ()
    died = killed("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    begun.rename(home / f".new-{died}-{namespace}-vm-begun")
    assert clear_orphans() == ("vm-begun",)


def test_a_folder_half_removed_is_cleared(home: Path) -> None:
    (home / "vm-half").mkdir(parents=True)
    (home / "vm-half" / "vm.json").touch()
    assert clear_orphans() == ("vm-half",)


def test_all_that_writes_to_the_log_of_a_folder_is_ended(tmp_path: Path) -> None:
    with (tmp_path / LOG).open("wb") as log:
        writers = [subprocess.Popen(["sleep", "600"], stderr=log) for _ in range(3)]
        other = subprocess.Popen(["sleep", "600"])
        end_unwritten(tmp_path)
        assert [writer.wait() for writer in writers] == [-signal.SIGKILL] * 3
        assert other.poll() is None
        other.kill()
        other.wait()
