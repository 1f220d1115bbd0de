"""The demo as a person runs it: one process, the whole chain, and a verdict on itself."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from luminaguard.app.demo import LANDS, differences, open_sample
from luminaguard.app.demo_sample import make_sample
from luminaguard.app.steering import last_run
from luminaguard.model.facts import Fact
from luminaguard.model.faults import HostFault, UserFault
from luminaguard.reports.view import run_view
from luminaguard.sandboxes.namespace import Namespace


@dataclass(frozen=True, slots=True)
class Shown:
    folder: Path
    exit_code: int
    report: Any
    told: str

    def facts(self) -> tuple[Fact, ...]:
        with last_run(self.folder) as last:
            return last.facts()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """The demo, run once. Without walls on a machine that has none: the chain is the same."""
    scratch = tmp_path_factory.mktemp("demo")
    isolation = "auto" if Namespace(scratch / "probe").missing() is None else "none"
    words = ("demo", "--json", "--keep", str(scratch / "kept"), "--isolation", isolation)
    # As installed in a folder that is not on PATH, with a git that knows nobody.
    env = {"PATH": os.defpath, "HOME": str(scratch), "GIT_CONFIG_NOSYSTEM": "1"}
    argv = [sys.executable, "-m", "luminaguard", *words]
    ran = subprocess.run(argv, env=env, text=True, capture_output=True, check=False, timeout=240)
    assert ran.stdout, ran.stderr
    return Shown(scratch / "kept", ran.returncode, json.loads(ran.stdout), ran.stderr)


def test_the_demo_goes_as_it_must(shown: Shown) -> None:
    assert shown.exit_code == 0, shown.told
    assert "All went as it must" in shown.told


def test_the_demo_shows_landings_a_hold_a_conflict_and_retries(shown: Shown) -> None:
    totals = shown.report["totals"]
    assert (totals["issues"], totals["landed"], totals["held"], totals["failed"]) == (10, 9, 1, 0)
    assert totals["conflicts"] >= 1
    assert totals["agent_starts"] >= 10 + len(("the conflict", "the red one", "the idle one", "the held one"))
    assert all(shown.report["verified"].values())


def test_the_held_issue_says_why_and_stays_open(shown: Shown) -> None:
    held = next(issue for issue in shown.report["issues"] if issue["state"] == "held")
    assert "make test" in held["why"] or "unittest" in held["why"]
    assert not held["closed"]


def test_the_reviewers_findings_are_in_the_report(shown: Shown) -> None:
    assert {finding["severity"] for issue in shown.report["issues"] for finding in issue["findings"]} == {"low"}


def test_the_sample_holds_every_landed_change_and_its_tests_pass(shown: Shown) -> None:
    subjects = subprocess.run(
        ["git", "-C", shown.folder, "log", "--format=%s", "main"], text=True, capture_output=True, check=True
    ).stdout.splitlines()
    assert sorted(line.rpartition("(#")[2].rstrip(")") for line in subjects[:-1]) == sorted(LANDS)
    report = (shown.folder / "tally/report.py").read_text()
    assert "sentences" in report
    assert "characters" in report
    subprocess.run([sys.executable, "-B", "-m", "unittest", "-q"], cwd=shown.folder, check=True, capture_output=True)


def test_what_stays_and_how_to_look_at_it_is_told(shown: Shown) -> None:
    for verb in ("status", "problems", "report"):
        assert f"luminaguard --repo {shown.folder} {verb}" in shown.told


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        (lambda fact: fact.subject == "3" and fact.name == "landed", "#3 must be landed"),
        (lambda fact: fact.subject == "3" and fact.name == "closed", "#3 has landed, and its issue is still open"),
        (lambda fact: fact.subject == "7" and fact.name == "held", "#7 must be held"),
        (lambda fact: fact.subject == "8", "#8 is not in the run"),
        (lambda fact: fact.data.get("why") == "conflict", "neither was handed back"),
        (lambda fact: fact.subject == "6" and fact.kind == "attempt:2", "not sent back with the log"),
        (lambda fact: fact.subject == "9" and fact.kind == "attempt:2", "was not tried again"),
        (lambda fact: fact.name == "verified", "the final verification found"),
    ],
)
def test_the_demo_says_what_differs(shown: Shown, lost: Callable[[Fact], bool], told: str) -> None:
    facts: Sequence[Fact] = [fact for fact in shown.facts() if not lost(fact)]
    assert any(told in line for line in differences(run_view(facts)))


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserFault, match="is not empty"):
        make_sample(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_where_the_walls_do_not_work_the_way_without_is_told_and_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "git").symlink_to(str(shutil.which("git")))
    monkeypatch.setenv("PATH", str(tmp_path))  # no QEMU, no mkfs
    with pytest.raises(HostFault) as refused:
        open_sample(tmp_path / "kept", flags={"isolation": "vm"})
    assert "luminaguard demo --isolation none" in refused.value.hint
    assert not (tmp_path / "kept").exists()


def test_the_sample_is_made_without_the_users_hooks_and_ignored_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = tmp_path / "template/hooks"
    hooks.mkdir(parents=True)
    (hooks / "pre-commit").write_text("#!/bin/sh\nexit 1\n")
    (hooks / "pre-commit").chmod(0o755)
    (tmp_path / "ignored").write_text("recorded\n")
    names = f"[init]\ntemplateDir = {tmp_path}/template\n[core]\nexcludesFile = {tmp_path}/ignored\n"
    (tmp_path / ".gitconfig").write_text(names + "[commit]\ngpgSign = true\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = make_sample(tmp_path / "kept")
    tracked = subprocess.run(["git", "-C", folder, "ls-files"], text=True, capture_output=True, check=True).stdout
    assert "recorded/agent.json" in tracked
