"""The shim: real programs, ended in every way that they can end."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from luminaguard.host import detached, shim
from luminaguard.host.detached import (
    Command,
    Ended,
    ask_to_stop,
    is_known,
    is_running,
    result_of,
    run_attached,
    start,
    wait,
)
from luminaguard.host.limits import Limits

MIB = 1024 * 1024


def command(script: str, tmp_path: Path, **limits: int) -> Command:
    return Command(
        argv=("/bin/sh", "-c", script),
        env={"PATH": os.environ["PATH"]},
        cwd=tmp_path,
        limits=replace(Limits(), **limits),
        grow=tmp_path,
        die_with_parent=True,
    )


def run(place: Path, what: Command, *, timeout_s: float = 120, out_bytes: int = 0) -> Ended:
    async def go() -> Ended:
        return await run_attached(place, what, timeout_s=timeout_s, out_bytes=out_bytes)

    return anyio.run(go)


def waited(place: Path) -> Ended:
    async def go() -> Ended:
        with anyio.fail_after(60):
            return await wait(place)

    return anyio.run(go)


def until_said(place: Path, words: str) -> None:
    """Wait until a program has said something in its log."""

    async def go() -> None:
        with anyio.fail_after(60):
            while not (place / "log").exists() or words not in (place / "log").read_text():  # noqa: ASYNC110 a file has no event
                await anyio.sleep(0.01)

    anyio.run(go)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "place"


def test_a_result_says_how_a_program_ended(place: Path, tmp_path: Path) -> None:
    ended = run(place, command("echo out; echo err >&2; exit 3", tmp_path))
    assert (ended.cause, ended.exit_code) == ("exited", 3)
    assert sorted((place / "log").read_text().split()) == ["err", "out"]
    assert result_of(place) == ended


def test_a_program_killed_by_a_signal_has_a_negative_exit_code(place: Path, tmp_path: Path) -> None:
    assert run(place, command("kill -9 $$", tmp_path)).exit_code == -signal.SIGKILL


def test_a_program_that_is_not_there_is_said_to_be_missing(place: Path, tmp_path: Path) -> None:
    ended = run(place, replace(command("", tmp_path), argv=("/no/such/program",)))
    assert ended.exit_code == 127
    assert "/no/such/program" in (place / "log").read_text()


def test_standard_output_apart_is_kept_byte_for_byte(place: Path, tmp_path: Path) -> None:
    run(place, command(r"printf '\000\377\n'; echo log >&2", tmp_path), out_bytes=100)
    assert (place / "out").read_bytes() == b"\0\xff\n"
    assert (place / "log").read_text() == "log\n"


def test_too_much_output_ends_the_program(place: Path, tmp_path: Path) -> None:
    ended = run(place, command("yes", tmp_path), out_bytes=10_000)
    assert ended.cause == "output"
    assert (place / "out").stat().st_size <= 10_000


def test_a_second_start_in_a_place_changes_nothing(place: Path, tmp_path: Path) -> None:
    run(place, command("echo once >> said", tmp_path))
    start(place, command("echo twice >> said", tmp_path), timeout_s=10)
    assert (tmp_path / "said").read_text() == "once\n"
    assert is_known(place)


def test_a_program_is_attached_to_again_and_its_end_is_seen(place: Path, tmp_path: Path) -> None:
    go_on = tmp_path / "go on"
    os.mkfifo(go_on)
    start(place, command("echo ready; read line < 'go on'; exit 5", tmp_path), timeout_s=120)
    until_said(place, "ready")
    assert is_running(place)
    go_on.write_text("now\n")
    assert waited(place).exit_code == 5
    assert not is_running(place)


def test_a_killed_shim_takes_the_program_with_it_and_is_found_lost(place: Path, tmp_path: Path) -> None:
    start(place, command("echo $$; exec sleep 1000", tmp_path), timeout_s=60)
    until_said(place, "\n")
    program = int((place / "log").read_text())
    pidfd = os.pidfd_open(program)
    os.kill(int((place / "pid").read_text()), signal.SIGKILL)
    assert waited(place).cause == "lost"
    assert select.select([pidfd], [], [], 60)[0], "the program outlived its shim"
    os.close(pidfd)


def test_a_program_that_is_asked_to_stop_can_still_save_its_work(place: Path, tmp_path: Path) -> None:
    start(
        place,
        command("trap 'echo saved; exit 4' TERM; echo ready; while :; do sleep 0.05; done", tmp_path),
        timeout_s=60,
    )
    until_said(place, "ready")
    ask_to_stop(place)
    ended = waited(place)
    assert (ended.cause, ended.exit_code) == ("cancelled", 4)
    assert "saved" in (place / "log").read_text()


def test_a_program_ends_with_its_owner(place: Path, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    start(place, command("echo ready; exec sleep 1000", tmp_path), timeout_s=60, owner_fd=reading)
    until_said(place, "ready")
    os.close(reading)
    os.close(writing)
    assert waited(place).cause == "owner gone"


def test_a_daemon_that_left_its_session_is_gone_when_the_result_is_there(place: Path, tmp_path: Path) -> None:
    daemon = "import os, time; os.setsid(); print(os.getpid(), flush=True); os.close(1); os.close(2); time.sleep(1000)"
    ended = run(place, command(f'({sys.executable} -c "{daemon}" &) ; while [ ! -s place/log ]; do :; done', tmp_path))
    assert ended.cause == "exited"
    with pytest.raises(ProcessLookupError):
        os.kill(int((place / "log").read_text()), 0)


def test_a_program_is_asked_to_stop_after_its_time(place: Path, tmp_path: Path) -> None:
    ended = run(place, command("exec sleep 1000", tmp_path), timeout_s=0.5)
    assert (ended.cause, ended.exit_code) == ("timeout", -signal.SIGTERM)


def test_a_program_that_ignores_that_it_is_to_stop_is_killed(place: Path, tmp_path: Path) -> None:
    """Not at the end of its time, at which a busy machine may not have let it come as far as to ignore it."""
    start(place, command("trap '' TERM; echo ready; while :; do sleep 1; done", tmp_path), timeout_s=600)
    until_said(place, "ready")
    ask_to_stop(place)
    ended = waited(place)
    assert (ended.cause, ended.exit_code) == ("cancelled", -signal.SIGKILL)


LATE = """
import os, sys, time
from luminaguard.host import shim

go, tell = os.pipe()
wake, _ = os.pipe()
merged, merged_in = os.pipe()
child = os.fork()
if not child:
    os.setsid()
    os.read(go, 1)
    os.write(merged_in, b"last words")
    os._exit(0)
os.close(merged_in)

def wait4(pid, options, real=os.wait4):
    # It speaks and ends right behind the look at what it has said.
    os.wait4 = real
    os.write(tell, b"x")
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return real(pid, options)

os.wait4 = wait4
clock = iter(range(0, 10**9, 10))
time.monotonic = lambda: float(next(clock))
spec = {"log_bytes": 1000, "out_bytes": 0, "timeout_s": 1e12, "processes": 10**6, "memory_bytes": 10**15, "grow": ""}
spec["told"] = ""
shim.watch(spec, sys.argv[1], child, 0.0, -1, wake, merged, -1, [])
"""


def test_what_a_program_says_last_is_kept_however_late_the_shim_is(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", LATE, str(tmp_path)], capture_output=True, check=False, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert (tmp_path / "log").read_text() == "last words"


def test_the_limit_of_a_file_holds_from_the_first_instruction(place: Path, tmp_path: Path) -> None:
    run(place, command("head -c 100000 /dev/zero > big; exit 0", tmp_path, file_bytes=1000))
    assert (tmp_path / "big").stat().st_size == 1000


def test_the_disk_is_bounded_even_by_empty_files(place: Path, tmp_path: Path) -> None:
    (tmp_path / "grow").mkdir()
    what = replace(
        command("n=0; while :; do n=$((n+1)); : > grow/$n; done", tmp_path, disk_bytes=2 * MIB), grow=tmp_path / "grow"
    )
    assert run(place, what).cause == "disk"


def test_a_look_finds_what_no_control_group_holds(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detached, "groups_for", lambda name, limits: ())
    hog = "import time; held = bytearray(b'x') * 150_000_000; time.sleep(1000)"
    what = replace(command("", tmp_path, memory_bytes=80 * MIB), argv=(sys.executable, "-c", hog))
    assert run(place, what).cause == "memory"


def test_a_look_finds_too_many_processes(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detached, "groups_for", lambda name, limits: ())
    ended = run(place, command("for n in $(seq 40); do sleep 1000 & done; wait", tmp_path, processes=20))
    assert ended.cause == "processes"


def test_a_log_keeps_its_head_and_its_tail_and_says_what_is_missing(place: Path, tmp_path: Path) -> None:
    run(place, command("seq 100000", tmp_path, log_bytes=4000))
    log = (place / "log").read_text()
    assert log.startswith("1\n2\n")
    assert log.endswith("99999\n100000\n")
    assert "bytes not kept" in log
    assert len(log) < 4000 + shim.CHUNK + 100


def test_a_tail_of_single_bytes_is_held_in_few_pieces(tmp_path: Path) -> None:
    log = shim.Log(str(tmp_path / "log"), 200_000)
    for _ in range(150_000):
        log.write(b"x")
    assert len(log.tail) < 10
    log.close()
    assert (tmp_path / "log").stat().st_size == 150_000


def test_the_program_holds_no_descriptor_of_the_shim(place: Path, tmp_path: Path) -> None:
    run(place, command("ls /proc/self/fd", tmp_path))
    # ls itself opens the folder as 3.
    assert (place / "log").read_text().split() == ["0", "1", "2", "3"]


def test_a_half_written_result_is_no_result(place: Path) -> None:
    place.mkdir()
    (place / "result.tmp").write_text(json.dumps({"cause": "exited"}))
    assert result_of(place) is None


def test_the_nursery_starts_without_what_lies_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    with theirs:
        ran = subprocess.run(
            [sys.executable, "-I", "-S", shim.__file__],
            cwd=tmp_path,
            stdin=theirs.fileno(),
            capture_output=True,
            check=False,
        )
    assert (ran.returncode, ran.stderr) == (0, b"")
