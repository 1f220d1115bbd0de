"""What every agent does: says why it cannot be started, and gives a command line without starting anything."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from luminaguard.agents.access import ModelAccess
from luminaguard.agents.acp import AcpAgent
from luminaguard.agents.base import Agent
from luminaguard.agents.builtin import BuiltinAgent
from luminaguard.agents.claude import ClaudeAgent
from luminaguard.agents.codex import CodexAgent
from luminaguard.agents.command import CommandAgent
from luminaguard.agents.replay import ReplayAgent
from luminaguard.model.brief import Brief
from luminaguard.model.ids import IssueId

BRIEF = Brief(issue=IssueId("1"), attempt=1, prompt="SECRET WORDS", timeout_s=60)
Make = Callable[[Path], Agent]


def command(folder: Path) -> Agent:
    return CommandAgent(name="mine", argv=("sh", "-c", f"touch {folder / 'started'}"))


def replay(folder: Path) -> Agent:
    script = folder / "script.json"
    script.write_text(json.dumps({"*": [{"write": {str(folder / "started"): ""}}]}), encoding="utf-8")
    return ReplayAgent(name="mine", script=script)


def acp(folder: Path) -> Agent:
    return AcpAgent(name="mine", argv=("sh", "-c", f"touch {folder / 'started'}"))


def claude(folder: Path) -> Agent:
    return ClaudeAgent(name="mine", argv=("sh", "-c", f"touch {folder / 'started'}"))


def codex(folder: Path) -> Agent:
    return CodexAgent(name="mine", argv=("sh", "-c", f"touch {folder / 'started'}"))


def builtin(folder: Path) -> Agent:
    return BuiltinAgent(name="mine", models=ModelAccess(provider="p", api="openai", model="m"))


def broken_command(folder: Path) -> Agent:
    return CommandAgent(name="mine", argv=("no-such-program-at-all",))


def broken_acp(folder: Path) -> Agent:
    return AcpAgent(name="mine", argv=("no-such-program-at-all",))


def broken_builtin(folder: Path) -> Agent:
    return BuiltinAgent(name="mine", models=ModelAccess(provider="p", api="gemini", model="m"))


def broken_replay(folder: Path) -> Agent:
    return ReplayAgent(name="mine", script=folder / "gone.json")


ready = pytest.mark.parametrize("make", [command, replay, acp, claude, codex, builtin], ids=lambda make: make.__name__)
broken = pytest.mark.parametrize(
    "make", [broken_command, broken_replay, broken_acp, broken_builtin], ids=lambda make: make.__name__
)


@ready
def test_agent_that_can_be_started_misses_nothing(make: Make, tmp_path: Path) -> None:
    agent = make(tmp_path)
    assert (agent.missing(), agent.name) == (None, "mine")


@broken
def test_agent_that_cannot_be_started_says_why_and_which(make: Make, tmp_path: Path) -> None:
    why = make(tmp_path).missing()
    assert why is not None
    assert "[agents.mine]" in why


@ready
def test_launch_starts_nothing_and_is_the_same_each_time(make: Make, tmp_path: Path) -> None:
    agent = make(tmp_path)
    assert agent.launch(BRIEF) == agent.launch(BRIEF)
    assert not (tmp_path / "started").exists()


@ready
def test_launch_names_a_program_and_mounts_what_is_there(make: Make, tmp_path: Path) -> None:
    launch = make(tmp_path).launch(BRIEF)
    assert launch.argv
    assert all("\0" not in word for word in launch.argv)
    for mount in launch.mounts:
        assert mount.source.exists()
        assert mount.at.is_absolute()
        assert not mount.writable


@ready
def test_prompt_and_our_environment_are_in_no_argument(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "hush")
    launch = make(tmp_path).launch(BRIEF)
    assert "SECRET WORDS" not in str(launch)
    assert "hush" not in str(launch)


def test_command_sees_the_variables_that_are_passed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANTED", "yes")
    monkeypatch.setenv("OTHER", "no")
    agent = CommandAgent(name="mine", argv=(sys.executable,), env_pass=("WANTED", "NOT_SET"))
    assert agent.launch(BRIEF).env == {"WANTED": "yes"}


def test_program_that_the_repository_carries_is_looked_for_at_the_start() -> None:
    assert CommandAgent(name="mine", argv=("tools/agent.py",)).missing() is None
