"""Commands behind walls live no longer than who started them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from luminaguard.vm.agent_binary import agent_binary, missing_agent
from luminaguard.vm.jail import jailed

OWNER = """
import os, subprocess, sys
subprocess.Popen([sys.argv[1], "bound", str(os.getpid()), *sys.argv[2:]])
sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux binds a process to its owner")


@pytest.fixture
def starter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if (why := missing_agent()) is not None:
        pytest.skip(why)
    return agent_binary()


def test_a_bound_command_is_run_with_its_words_and_ends_as_it_ends(starter: Path) -> None:
    command = jailed(None, ["/bin/sh", "-c", "echo $1; exit 7", "sh", "a b"], (), starter=starter, pid_fd=-1, kvm=False)
    ran = subprocess.run(command.argv, capture_output=True, check=False, timeout=60)
    assert command.preexec is None
    assert (ran.returncode, ran.stdout) == (7, b"a b\n")


def test_a_command_whose_owner_has_ended_already_does_not_begin(starter: Path, tmp_path: Path) -> None:
    mark = tmp_path / "begun"
    gone = subprocess.Popen(["/bin/true"])
    gone.wait(timeout=60)
    ran = subprocess.run(
        [str(starter), "bound", str(gone.pid), "/bin/sh", "-c", f"touch {mark}"], check=False, timeout=60
    )
    assert ran.returncode == 126
    assert not mark.exists()


def test_a_bound_command_ends_with_its_owner(starter: Path) -> None:
    ours, theirs = os.pipe()
    argv = [sys.executable, "-c", OWNER, str(starter), "/bin/sh", "-c", "echo begun; exec sleep 600"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=theirs) as process:
        os.close(theirs)
        assert os.read(ours, 100) == b"begun\n"
        process.kill()
    assert os.read(ours, 100) == b""  # the last one that could write there is gone
    os.close(ours)


def test_where_nothing_can_be_run_from_the_cache_the_owner_binds_it_itself(tmp_path: Path) -> None:
    plain = tmp_path / "agent"
    plain.write_bytes(b"")
    command = jailed(None, ["/bin/true"], (), starter=plain, pid_fd=-1, kvm=False)
    assert command.argv == ("/bin/true",)
    assert command.preexec is not None
