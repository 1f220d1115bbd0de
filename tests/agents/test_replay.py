"""Recorded attempts: scripts that are broken are told, and what is recorded is what is done."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from luminaguard.agents.replay import ReplayAgent
from luminaguard.model.brief import Brief
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json


def agent(folder: Path, script: Json | bytes) -> ReplayAgent:
    path = folder / "script.json"
    path.write_bytes(script if isinstance(script, bytes) else json.dumps(script).encode())
    return ReplayAgent(name="told", script=path)


def brief(issue: str = "1", attempt: int = 1) -> Brief:
    return Brief(issue=IssueId(issue), attempt=attempt, prompt="do it", timeout_s=60)


def part(of: ReplayAgent, issue: str = "1", attempt: int = 1) -> Json:
    told: Json = json.loads(of.launch(brief(issue, attempt)).env["LUMINAGUARD_REPLAY"])
    return told


def test_attempts_are_played_in_order_and_the_last_for_all_that_follow(tmp_path: Path) -> None:
    told = agent(tmp_path, {"1": [{"say": "first"}, {"say": "second"}]})
    assert [part(told, attempt=n) for n in (1, 2, 3, 9)] == [{"say": "first"}, *[{"say": "second"}] * 3]


def test_star_stands_for_every_issue_not_named(tmp_path: Path) -> None:
    told = agent(tmp_path, {"1": [{"say": "one"}], "*": [{"say": "any"}]})
    assert (part(told, "1"), part(told, "2")) == ({"say": "one"}, {"say": "any"})


NOT_JSON: list[Json | bytes] = [b"", b"{", b"\xff\xfe", b"[" * 100_000]
NOT_A_SCRIPT: list[Json | bytes] = [[], {"2": [{}]}, {"1": []}, {"1": {}}, {"1": [3]}, {"1": ["x"]}, {"*": None}]


@pytest.mark.parametrize("script", NOT_JSON + NOT_A_SCRIPT, ids=lambda script: str(script)[:20])
def test_broken_script_is_the_users_to_mend_and_names_the_file(tmp_path: Path, script: Json | bytes) -> None:
    with pytest.raises(UserFault, match=r"script\.json: ") as caught:
        agent(tmp_path, script).launch(brief())
    assert caught.value.hint


def test_script_that_went_away_is_missing_and_told(tmp_path: Path) -> None:
    gone = ReplayAgent(name="told", script=tmp_path / "gone.json")
    why = gone.missing()
    assert why is not None
    assert "gone.json" in why
    with pytest.raises(UserFault, match=r"gone\.json"):
        gone.launch(brief())


def play(folder: Path, attempt: dict[str, Json]) -> subprocess.CompletedProcess[str]:
    """Run the player in a real repository, as the walls would."""
    launch = agent(folder, {"1": [attempt]}).launch(brief())
    seen = {str(mount.at): str(mount.source) for mount in launch.mounts}
    tree = folder / "tree"
    if not tree.exists():
        subprocess.run(("git", "init", "-q", str(tree)), check=True)
        for name in ("old.txt", "gone.txt"):
            (tree / name).write_text("old\n", encoding="utf-8")
        subprocess.run(("git", "-C", str(tree), "add", "-A"), check=True)
        commit = ("-c", "user.name=n", "-c", "user.email=e@x", "commit", "-q", "-m", "first")
        subprocess.run(("git", "-C", str(tree), *commit), check=True)
    names = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env = {"PATH": os.environ["PATH"], **names, **launch.env, "LUMINAGUARD_ISSUE": "1"}
    argv = [seen.get(word, word) for word in launch.argv]
    return subprocess.run(argv, cwd=tree, env=env, capture_output=True, text=True, check=False, timeout=60)


def log(folder: Path) -> list[str]:
    ran = subprocess.run(
        ("git", "-C", str(folder / "tree"), "log", "--format=%s"), capture_output=True, text=True, check=True
    )
    return ran.stdout.splitlines()


def status(folder: Path) -> list[str]:
    ran = subprocess.run(
        ("git", "-C", str(folder / "tree"), "status", "--porcelain"), capture_output=True, text=True, check=True
    )
    return ran.stdout.splitlines()


def test_recorded_work_is_done_and_committed(tmp_path: Path) -> None:
    ran = play(
        tmp_path,
        {
            "write": {"deep/ünï.txt": "new\n"},
            "append": {"old.txt": "more\n"},
            "delete": ["gone.txt"],
            "commit": "Do it\n\nWith a body",
            "say": "done",
        },
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert log(tmp_path) == ["Do it", "first"]
    assert status(tmp_path) == []
    assert (tmp_path / "tree/deep/ünï.txt").read_text(encoding="utf-8") == "new\n"
    assert (tmp_path / "tree/old.txt").read_text(encoding="utf-8") == "old\nmore\n"
    assert not (tmp_path / "tree/gone.txt").exists()
    assert ran.stdout.startswith("working on issue 1\n")
    assert ran.stdout.endswith("done")


def test_without_a_message_the_changes_are_left(tmp_path: Path) -> None:
    play(tmp_path, {"append": {"old.txt": "more\n"}})
    assert (log(tmp_path), status(tmp_path)) == (["first"], [" M old.txt"])


def test_exit_code_and_review_are_given(tmp_path: Path) -> None:
    ran = play(tmp_path, {"exit": 7, "review": {"grade": "A", "findings": []}})
    assert ran.returncode == 7
    assert json.loads(ran.stdout.splitlines()[-1]) == {"grade": "A", "findings": []}


def test_empty_attempt_changes_nothing(tmp_path: Path) -> None:
    assert play(tmp_path, {}).returncode == 0
    assert (log(tmp_path), status(tmp_path)) == (["first"], [])
