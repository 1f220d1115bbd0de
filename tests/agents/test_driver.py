"""What every driver shares: its end, whichever that is, leaves nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.alive import is_alive

DRIVER = """
import os, signal, subprocess, sys
from luminaguard.agents.inside import driver
from luminaguard.agents.inside.task import EndedError

def drive(told, prompt):
    # Nobody takes note of it, as where a request to stop comes while a program is being started.
    child = subprocess.Popen(("setsid", "sh", "-c", "echo $$; exec sleep 600"), stdout=subprocess.PIPE)
    print(child.stdout.readline().decode(), end="", flush=True)
    if prompt == "stopped":
        os.kill(os.getpid(), signal.SIGTERM)
    if prompt == "failed":
        raise EndedError("no more")

sys.exit(driver.run(drive))
"""


def told(home: Path) -> dict[str, str]:
    return {**os.environ, "LUMINAGUARD_AGENT": '{"agent": "any"}', "HOME": str(home)}


@pytest.mark.parametrize(
    ("how", "code", "last"),
    [("ended", 0, []), ("failed", 1, ["ended: no more"]), ("stopped", 1, ["ended: it was asked to stop"])],
)
def test_nothing_that_it_started_outlives_a_driver(tmp_path: Path, how: str, code: int, last: list[str]) -> None:
    argv = (sys.executable, "-c", DRIVER)
    ran = subprocess.run(
        argv, check=False, input=how, env=told(tmp_path), cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    pid, *said = ran.stdout.splitlines()
    assert (ran.returncode, said) == (code, last), ran.stderr
    assert not is_alive(int(pid))


def test_request_to_stop_during_the_end_does_not_cut_it_short(tmp_path: Path) -> None:
    deaf = DRIVER.replace("echo $$; exec sleep 600", "trap '' TERM; echo $$; while :; do sleep 1; done")
    child = subprocess.Popen(
        (sys.executable, "-c", deaf),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=told(tmp_path),
        cwd=tmp_path,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("ended")
    child.stdin.close()
    child.stdin = None
    pid = int(child.stdout.readline())
    while is_alive(pid) and child.poll() is None:
        child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) in {(0, ""), (1, "")}
    assert not is_alive(pid)


FIRST_AT_THE_END = """
deafened = driver._be_deaf

def be_deaf():
    driver._be_deaf = deafened
    os.kill(os.getpid(), signal.SIGTERM)

driver._be_deaf = be_deaf
"""


def test_request_to_stop_right_before_the_end_leaves_nothing(tmp_path: Path) -> None:
    argv = (sys.executable, "-c", DRIVER.replace("\nsys.exit", FIRST_AT_THE_END + "\nsys.exit"))
    ran = subprocess.run(
        argv, check=False, input="ended", env=told(tmp_path), cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    pid, *said = ran.stdout.splitlines()
    assert (ran.returncode, said) == (1, ["ended: it was asked to stop"]), ran.stderr
    assert not is_alive(int(pid))


LATE = """
import itertools, subprocess, time
from luminaguard.agents.inside import processes

child = subprocess.Popen(("sh", "-c", "trap '' TERM; echo; while :; do sleep 1; done"), stdout=subprocess.PIPE)
child.stdout.readline()
clock = itertools.chain((0.0, 1.9), itertools.repeat(100.0))
time.monotonic = lambda: next(clock)
processes.end_all()
print(child.poll())
"""


def test_what_does_not_heed_is_killed_however_late_we_are(tmp_path: Path) -> None:
    ran = subprocess.run((sys.executable, "-c", LATE), check=False, capture_output=True, text=True, timeout=60)
    assert ran.stdout == f"{-signal.SIGKILL}\n", ran.stderr
