"""The jail: the driver end to end through a stand-in that takes the jailer's published command line and no other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from luminaguard.model.faults import HostFault
from luminaguard.vm.firecracker import _seal, found_programs
from luminaguard.vm.firecracker_jail import Home, Programs

JAILER = Path(__file__).parent / "fake_jailer.py"
only_root = pytest.mark.skipif(os.getuid() != 0, reason="only root builds jails")


def script(at: Path, text: str) -> Path:
    at.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    at.chmod(0o755)
    return at


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on PATH with programs as a release has them: long names, and short links to them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script(folder / "firecracker-v1.13.0-x86_64", 'echo "$PWD $*"')
    script(folder / "jailer-v1.13.0-x86_64", f'exec {sys.executable} {JAILER} "$@"')
    for name in ("firecracker", "jailer"):
        (folder / name).symlink_to(f"{name}-v1.13.0-x86_64")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@only_root
def test_the_jailer_runs_firecracker_where_we_look_for_its_sockets(installed: Path, tmp_path: Path) -> None:
    home = Home(id="vm-0123456789ab", base=tmp_path, programs=found_programs())
    home.root.mkdir(parents=True)
    ran = subprocess.run(home.command(), cwd=home.root, capture_output=True, text=True, check=True)
    where, *arguments = ran.stdout.split()
    assert Path(where) == home.root
    assert arguments[:2] == ["--id", "vm-0123456789ab"]
    assert arguments[-2:] == ["--api-sock", "api.sock"]


@only_root
def test_a_program_that_the_jailer_refuses_by_its_name_is_told_before(installed: Path) -> None:
    (installed / "fc").write_bytes((installed / "firecracker").read_bytes())
    (installed / "fc").chmod(0o755)
    (installed / "firecracker").unlink()
    (installed / "firecracker").symlink_to("fc")
    with pytest.raises(HostFault, match="no program named 'fc'"):
        found_programs()


@pytest.mark.parametrize(
    "wrong",
    [
        ("--node", "0"),  # gone since 1.0
        ("--extra-args", "x"),
        ("--resource-limit", "memory=1"),
        ("--cgroup-version", "3"),
    ],
)
def test_the_stand_in_refuses_what_the_jailer_refuses(tmp_path: Path, wrong: tuple[str, str]) -> None:
    home = Home(id="a", base=tmp_path, programs=Programs(firecracker=Path("/bin/true"), jailer=JAILER))
    command = home.command()
    ran = subprocess.run((sys.executable, *command[:1], *wrong, *command[1:]), capture_output=True, check=False)
    assert ran.returncode == 2


@only_root
def test_what_a_jailed_firecracker_froze_is_not_its_user_s_to_write(tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    memory.write_bytes(b"frozen")
    os.chown(memory, 65534, 65534)
    _seal(memory)
    found = memory.stat()
    assert (found.st_uid, found.st_mode & 0o777) == (0, 0o444)
