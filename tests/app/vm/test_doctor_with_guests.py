"""The doctor on a machine that starts guests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from luminaguard.app.doctor import diagnose
from luminaguard.app.doctor_check import Ok
from luminaguard.vm.enclosed_files import missing
from luminaguard.vm.qemu import Qemu

SETTINGS = '[agents.mine]\nprotocol = "command"\nargv = ["sh"]\n[run]\nisolation = "vm"\nvm_image = "/no/such/image"\n'


@pytest.fixture(autouse=True)
def guests() -> None:
    if (why := anyio.run(Qemu().missing) or missing()) is not None:
        if os.environ.get("LUMINAGUARD_MUST_RUN") == "1":
            pytest.fail(f"QEMU must run here: {why}")
        pytest.skip(why)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    who = ("-c", "user.name=A", "-c", "user.email=a@b.invalid")
    subprocess.run(["git", "init", "-q", "-b", "main", tmp_path], check=True)
    (tmp_path / "luminaguard.toml").write_text(SETTINGS)
    subprocess.run(["git", "-C", tmp_path, "add", "-A"], check=True)
    subprocess.run(["git", "-C", tmp_path, *who, "commit", "-q", "-m", "first"], check=True)
    return tmp_path


def test_the_level_is_tried_and_said_to_work_also_without_a_repository(tmp_path: Path) -> None:
    found = anyio.run(lambda: diagnose(tmp_path))
    (level,) = [check for check in found.checks if (check.group, check.name) == ("isolation", "vm")]
    assert level.ok is Ok.YES, level.said


def test_an_image_that_is_not_there_is_a_no_and_a_run_is_not_ready(repo: Path) -> None:
    argv = [sys.executable, "-m", "luminaguard", "doctor", "--json", "--repo", str(repo)]
    shown = subprocess.run(argv, text=True, capture_output=True, check=False)
    told = json.loads(shown.stdout)
    wrong = [check for check in told["checks"] if check["ok"] == "no"]
    assert (shown.returncode, told["ready"]) == (3, False), wrong
    assert any("/no/such/image" in check["said"] for check in wrong)
