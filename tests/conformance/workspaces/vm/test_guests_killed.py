"""Guests, their hypervisors and their parents are killed: what was committed is there, and nothing is left running."""

import functools
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from luminaguard.host.detached import Ended, run_attached, start, wait
from luminaguard.workspaces.base import Workspace, with_preparation

Bench = Any
WAIT_S = 120.0
COMMIT = (
    'echo "$1" > "$1"; git add -A; git commit -qm "$1"; echo "made $(git rev-parse HEAD) $(cut -d" " -f1 /proc/uptime)"'
)
ONE = f"commit() {{ {COMMIT}; }}; commit one; sleep 2; echo settled; sleep 1000"
MANY = f"commit() {{ {COMMIT}; }}; n=0; while :; do n=$((n + 1)); commit $n; sleep 0.1; done"
SETTLED_S = 1.5


@pytest.fixture
def work(guests_bench: Bench) -> Iterator[Workspace]:
    workspace = guests_bench.create()
    yield workspace
    guests_bench.discard(workspace)


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        try:
            found += map(int, Path(f"/proc/{one}/task/{one}/children").read_text(encoding="ascii").split())
        except OSError:
            continue
    return found


def words_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def victim_of(place: Path, name: str) -> int:
    shim = int((place / "pid").read_text(encoding="ascii"))
    inside = family(shim)
    if name == "shim":
        return shim
    if name == "runner":
        return next(pid for pid in inside[1:] if "vm.enclosed" in words_of(pid))
    return next(
        pid for pid in reversed(inside) if words_of(pid).startswith("/usr/bin/qemu") or "-accel" in words_of(pid)
    )


def wait_for(what: str, is_so: Callable[[], object]) -> None:
    until = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < until, what
        time.sleep(0.02)


def said(place: Path) -> str:
    return (place / "log").read_text(encoding="utf-8") if (place / "log").exists() else ""


def begun(guests_bench: Bench, work: Workspace, place: Path, script: str) -> None:
    argv = with_preparation(work, ("sh", "-c", script))
    start(place, guests_bench.sandbox.enclose(argv, work.walls), timeout_s=200)


def killed(place: Path, victim: str) -> Ended:
    processes = family(int((place / "pid").read_text(encoding="ascii")))
    os.kill(victim_of(place, victim), signal.SIGKILL)
    ended = anyio.run(wait, place)
    wait_for(f"the end of {processes}", lambda: not any("-accel" in words_of(pid) for pid in processes))
    return ended


@pytest.mark.parametrize("victim", ["shim", "runner", "machine"])
def test_what_was_committed_outlives_a_kill(guests_bench: Bench, work: Workspace, tmp_path: Path, victim: str) -> None:
    place = tmp_path / "place"
    begun(guests_bench, work, place, ONE)
    wait_for("a commit", lambda: "settled" in said(place) or (place / "result.json").exists())
    ended = killed(place, victim)
    assert ended.exit_code != 0
    assert ended.cause == ("exited" if victim == "runner" else "lost")
    assert guests_bench.collect(work).commit == said(place).split()[1]


def has_some(place: Path) -> bool:
    return said(place).count("made") > 2 or (place / "result.json").exists()


def test_kills_at_random_moments_lose_a_second_at_most(guests_bench: Bench, work: Workspace, tmp_path: Path) -> None:
    chance = random.Random(7)
    safe: list[str] = []
    for number in range(4):
        place = tmp_path / str(number)
        begun(guests_bench, work, place, MANY.replace("n=0", f"n={number}000"))
        wait_for("some commits", functools.partial(has_some, place))
        time.sleep(chance.uniform(0, 3))  # not to wait for anything: the random moment of the kill
        killed(place, chance.choice(["shim", "runner", "machine"]))
        made = [line.split()[1:] for line in said(place).splitlines() if line.startswith("made")]
        safe += [oid for oid, at in made if float(at) < float(made[-1][1]) - SETTLED_S]
    tip = guests_bench.collect(work).commit
    history = guests_bench.git("rev-list", tip).split()
    assert set(safe) <= set(history), set(safe) - set(history)


def test_two_guests_never_have_the_same_disk(guests_bench: Bench, work: Workspace, tmp_path: Path) -> None:
    begun(guests_bench, work, tmp_path / "first", "echo here; sleep 1000")
    wait_for("the first", lambda: "here" in said(tmp_path / "first"))

    async def second() -> Ended:
        return await run_attached(
            tmp_path / "second", guests_bench.sandbox.enclose(("true",), work.walls), timeout_s=200
        )

    assert anyio.run(second).cause == "lost"
    assert "another guest works" in said(tmp_path / "second")
    killed(tmp_path / "first", "shim")
