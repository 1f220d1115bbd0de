"""Locks that go with their holder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from luminaguard.host.locks import only_one, try_lock
from luminaguard.model.faults import UserFault

HOLD = """
import sys
from pathlib import Path
from luminaguard.host.locks import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_lock_is_held_by_one(tmp_path: Path) -> None:
    first = try_lock(tmp_path / "lock")
    assert first is not None
    assert try_lock(tmp_path / "lock") is None
    os.close(first)
    second = try_lock(tmp_path / "lock")
    assert second is not None
    os.close(second)


def test_second_run_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "state" / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserFault, match=rf"process {holder.pid}\)") as caught, only_one(path):
            pass
        assert "status" in caught.value.hint
        holder.kill()
    with only_one(path):
        assert path.read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("last", [f"{os.getpid()}\n", ""], ids=["a holder that goes on", "none yet"])
def test_somebody_who_only_looks_is_no_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    path = tmp_path / "lock"
    path.write_text(last)
    looking = [fd for fd in [try_lock(path)] if fd is not None]

    def let_go(_seconds: float) -> None:
        while looking:
            os.close(looking.pop())

    assert looking
    monkeypatch.setattr("luminaguard.host.locks.time.sleep", let_go)
    with only_one(path):
        assert looking == []


def test_lock_is_not_inherited_unless_given(tmp_path: Path) -> None:
    with only_one(tmp_path / "lock"):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
    with child, only_one(tmp_path / "lock"):
        child.communicate()


def test_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), only_one(tmp_path / "lock"):
        _ = 1 / 0
    with only_one(tmp_path / "lock"):
        pass


def test_lock_on_descriptor_zero_is_a_lock(tmp_path: Path) -> None:
    """A program whose standard input is closed gets 0 for the first file that it opens."""
    script = "import os; os.close(0)" + HOLD.replace("sys.stdin.readline()", "print(os.path.exists('/proc/self/fd/0'))")
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "lock")], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.stdout == "held\nTrue\n", ran.stderr
