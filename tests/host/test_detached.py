"""Programs that outlive us: started once, found again, and nothing left behind."""

import gc
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from tests.alive import is_alive

from luminaguard.host.detached import (
    LOST,
    Command,
    Ended,
    ask_to_stop,
    is_known,
    is_lost,
    is_running,
    result_of,
    run_attached,
    start,
    wait,
)
from luminaguard.host.limits import Limits
from luminaguard.host.locks import try_lock
from luminaguard.host.nursery import NURSERY
from luminaguard.model.faults import HostFault

PARALLEL = """
import sys
from pathlib import Path
import anyio
from luminaguard.host.detached import Command, start, wait
from luminaguard.host.limits import Limits
place, script = Path(sys.argv[1]), sys.argv[2]
sys.stdin.readline()
command = Command(argv=("/bin/sh", "-c", script), env={}, cwd=place.parent, limits=Limits(), die_with_parent=True)
start(place, command, timeout_s=60)
print(anyio.run(wait, place).exit_code)
"""


def command(folder: Path, script: str, **env: str) -> Command:
    return Command(argv=("/bin/sh", "-c", script), env=env, cwd=folder, limits=Limits(), die_with_parent=True)


async def said(path: Path) -> str:
    """Wait until a file holds a line."""
    with anyio.fail_after(60):
        while not (path.exists() and path.read_text().endswith("\n")):  # noqa: ASYNC110 another process writes it
            await anyio.sleep(0.01)
    return path.read_text().strip()


def zombies() -> set[int]:
    """Children of ours that have ended and that nobody has asked about."""
    pids = map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
    return {pid for pid in pids if not is_alive(pid)}


def held() -> set[tuple[str, str]]:
    """What is open here, but the list itself."""
    found = ((fd.name, os.readlink(fd)) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink())  # noqa: PTH115
    return {(name, what) for name, what in found if not what.endswith("/fd")}


@pytest.fixture(autouse=True)
def settled() -> None:
    """What earlier tests dropped is let go of now, and not while one of these counts."""
    gc.collect()


def test_two_processes_that_start_at_once_start_one_program(tmp_path: Path) -> None:
    place, out = tmp_path / "place", tmp_path / "out"
    script = f"echo started >> {out}; exit 7"
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", PARALLEL, str(place), script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("go\n")
        starter.stdin.flush()
    assert [starter.communicate(timeout=120)[0] for starter in starters] == ["7\n"] * 3
    assert out.read_text() == "started\n"


def test_program_started_by_a_process_that_is_gone_is_waited_for(tmp_path: Path) -> None:
    place, gate = tmp_path / "place", tmp_path / "gate"
    os.mkfifo(gate)
    one = "import sys; sys.path = eval(sys.argv[3])" + PARALLEL.replace("print(anyio.run(wait, place).exit_code)", "")
    script = f"read line < {gate}; echo $line; exit 3"
    argv = [sys.executable, "-c", one, str(place), script, repr(sys.path)]
    subprocess.run(argv, input=b"go\n", check=True, timeout=60)
    assert is_running(place)
    assert result_of(place) is None
    gate.write_text("freed\n", encoding="utf-8")
    ended = anyio.run(wait, place)
    assert (ended.cause, ended.exit_code) == ("exited", 3)
    assert (place / "log").read_text() == "freed\n"
    assert not is_running(place)
    assert not is_lost(place)
    assert anyio.run(wait, place) == ended, "the result stays"


def test_environment_is_exactly_what_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hush")
    odd = os.fsdecode(b"caf\xe9\xff")
    what = Command(argv=("/usr/bin/env", "-0"), env={"A": "1", "ODD": odd}, cwd=tmp_path, limits=Limits())

    async def run() -> None:
        await run_attached(tmp_path / "place", what, timeout_s=60)

    anyio.run(run)
    assert sorted(filter(None, (tmp_path / "place/log").read_bytes().split(b"\0"))) == [b"A=1", b"ODD=caf\xe9\xff"]


def test_arguments_and_folder_of_odd_bytes_arrive(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9 dir")
    folder.mkdir()
    argv = ("/bin/sh", "-c", 'pwd; printf %s "$1"', "sh", os.fsdecode(b"\xff\n arg"))

    async def run() -> None:
        what = Command(argv=argv, env={}, cwd=folder, limits=Limits())
        await run_attached(tmp_path / "place", what, timeout_s=60)

    anyio.run(run)
    assert (tmp_path / "place/log").read_bytes() == os.fsencode(folder) + b"\n\xff\n arg"


def test_standard_input_is_the_file_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "prompt").write_text("do it", encoding="utf-8")

    async def run() -> list[Ended]:
        what = command(tmp_path, "/bin/cat")
        return [
            await run_attached(tmp_path / "with", what, timeout_s=60, stdin=tmp_path / "prompt"),
            await run_attached(tmp_path / "without", what, timeout_s=60),
        ]

    assert [ended.exit_code for ended in anyio.run(run)] == [0, 0]
    assert (tmp_path / "with/log").read_text() == "do it"
    assert (tmp_path / "without/log").read_text() == ""


def test_cancelled_call_returns_when_its_program_has_ended(tmp_path: Path) -> None:
    pid_file, before = tmp_path / "pid", zombies()

    async def run() -> int:
        async with anyio.create_task_group() as group:

            async def work() -> None:
                what = command(tmp_path, f"echo $$ > {pid_file}; exec /bin/sleep 1000")
                await run_attached(tmp_path / "place", what, timeout_s=2000)

            group.start_soon(work)
            pid = int(await said(pid_file))
            group.cancel_scope.cancel()
        return pid

    pid = anyio.run(run)
    assert not is_alive(pid)
    ended = result_of(tmp_path / "place")
    assert ended is not None
    assert ended.cause == "owner gone"
    assert zombies() <= before


def test_cancelled_wait_leaves_the_program_at_work(tmp_path: Path) -> None:
    place, gate, pid_file = tmp_path / "place", tmp_path / "gate", tmp_path / "pid"
    os.mkfifo(gate)

    async def run() -> Ended:
        start(place, command(tmp_path, f"echo $$ > {pid_file}; read line < {gate}"), timeout_s=60)
        async with anyio.create_task_group() as group:
            group.start_soon(wait, place)
            pid = int(await said(pid_file))
            group.cancel_scope.cancel()
        assert is_alive(pid)
        gate.write_text("go\n", encoding="utf-8")
        return await wait(place)

    assert anyio.run(run).exit_code == 0


def test_nothing_of_ours_stays_open_or_unburied(tmp_path: Path) -> None:
    async def run(name: str) -> None:
        await run_attached(tmp_path / name, command(tmp_path, "true"), timeout_s=60)

    async def count() -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        await run("first")
        before = held()
        for number in range(5):
            await run(f"{number}")
        return before, held()

    unburied = zombies()
    before, after = anyio.run(count)
    assert before == after
    assert zombies() <= unburied


def test_place_where_nothing_was_started_is_neither_known_nor_running_nor_lost(tmp_path: Path) -> None:
    assert (is_known(tmp_path), is_running(tmp_path), is_lost(tmp_path)) == (False, False, False)
    assert anyio.run(wait, tmp_path) == LOST
    ask_to_stop(tmp_path)


def test_place_that_was_cut_short_before_its_program_began_is_started_again(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "spec.json").write_text('{"argv": ["/bin/', encoding="utf-8")

    async def run() -> Ended:
        start(place, command(tmp_path, "exit 5"), timeout_s=60)
        return await wait(place)

    assert anyio.run(run).exit_code == 5
    assert json.loads((place / "spec.json").read_text())["argv"][0] == "/bin/sh"


@pytest.mark.parametrize("place", ["/proc/luminaguard", "/dev/null/place"])
def test_place_that_cannot_be_written_is_the_hosts_fault(tmp_path: Path, place: str) -> None:
    with pytest.raises(HostFault, match="cannot start a program in") as caught:
        start(Path(place), command(tmp_path, "true"), timeout_s=60)
    assert caught.value.hint


def test_full_disk_is_the_hosts_fault_and_nothing_was_started(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "spec.json").symlink_to("/dev/full")
    before = held()
    with pytest.raises(HostFault, match="No space left"):
        start(place, command(tmp_path, f"touch {tmp_path / 'ran'}"), timeout_s=60)
    assert not is_running(place)
    assert held() == before


def test_who_only_looks_at_a_place_for_long_keeps_no_program_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    looking = try_lock(place / "lock")
    assert looking is not None
    waits = iter(range(100))

    def slept(_: float) -> None:
        if next(waits) == 50:
            os.close(looking)

    monkeypatch.setattr("luminaguard.host.detached.time.sleep", slept)
    start(place, command(tmp_path, "exit 5"), timeout_s=60)
    assert next(waits) > 50
    assert anyio.run(wait, place).exit_code == 5


def test_place_of_a_lost_program_is_started_again_also_where_the_nursery_has_died(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "pid").write_text("1\n")
    start(tmp_path / "other", command(tmp_path, "true"), timeout_s=60)
    with socket.socket(fileno=os.dup(NURSERY._socket)) as nursery:
        nursery.shutdown(socket.SHUT_RDWR)
    start(place, command(tmp_path, "exit 5"), timeout_s=60)
    assert anyio.run(wait, place).exit_code == 5


def test_request_to_stop_waits_for_the_number_of_a_program_that_is_being_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    start(place, command(tmp_path, "exec /bin/sleep 1000"), timeout_s=600)
    pid = (place / "pid").read_text()
    (place / "pid").write_text("")
    monkeypatch.setattr("luminaguard.host.detached.time.sleep", lambda _: (place / "pid").write_text(pid))
    ask_to_stop(place)
    monkeypatch.undo()
    assert anyio.run(wait, place).cause == "cancelled"
