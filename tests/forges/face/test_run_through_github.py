"""A whole run whose backlog lives on a forge that speaks GitHub's language: our driver, real HTTP, real pushes."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from face_ground import Running, git

from luminaguard.forges.store import TrackerStore

AGENT = """
import os, pathlib
issue = os.environ["LUMINAGUARD_ISSUE"]
pathlib.Path(f"made_{issue}.txt").write_text("done by an agent\\n")
"""
SETTINGS = """
[backlog]
source = "github"
repository = "ann/demo"
base_url = "{url}/api/v3"

[run]
agent = "mine"
isolation = "none"
slots = 4

[agents.mine]
protocol = "command"
argv = ["{python}", "{agent}"]

[checks]
run = ["test -f README.md"]
"""


@pytest.fixture
def clone(running: Running, tmp_path: Path) -> Path:
    """A person's clone of the forge's repository, with settings that nobody has committed."""
    made = tmp_path / "clone"
    header = f"http.extraHeader=Authorization: Bearer {running.token}"
    git(tmp_path, "-c", header, "clone", "-q", f"{running.url}/ann/demo.git", str(made))
    for name, value in (("user.name", "Ann"), ("user.email", "ann@example.org")):
        git(made, "config", name, value)
    (tmp_path / "agent.py").write_text(AGENT)
    settings = SETTINGS.format(url=running.url, python=sys.executable, agent=tmp_path / "agent.py")
    (made / "luminaguard.toml").write_text(settings)
    (made / ".git/info/exclude").write_text("luminaguard.toml\n")
    return made


def luminaguard(clone: Path, running: Running, *words: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "GH_", "GITHUB_"))}
    return subprocess.run(
        [sys.executable, "-m", "luminaguard", *words],
        cwd=clone,
        env={**kept, "GITHUB_TOKEN": running.token, "GIT_CONFIG_GLOBAL": os.devnull},
        text=True,
        capture_output=True,
        check=False,
        timeout=280,
    )


def opened(running: Running, title: str, *, needs: Sequence[int] = ()) -> None:
    words = [f"--blocked-by={','.join(map(str, needs))}"] if needs else []
    ran = running.gh("issue", "create", "-t", title, "-b", "Make it.", *words, cwd=running.folder)
    assert ran.returncode == 0, ran.stderr


def test_twenty_issues_in_three_waves_are_merged_and_closed(running: Running, clone: Path) -> None:
    store = TrackerStore(running.folder / ".git/luminaguard/tracker.db")
    for number in range(1, 9):
        opened(running, f"Part {number}")
    for number in range(9, 17):
        opened(running, f"Part {number}", needs=[number - 8])
    for number in range(17, 21):
        opened(running, f"Part {number}", needs=[number - 8, number - 7])
    ran = luminaguard(clone, running, "run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert {issue.state.value for issue in store.issues()} == {"closed"}
    # A squash commit that is pushed shows no pull request as merged: they are closed with a comment that names it.
    assert len(store.pulls()) == 20
    still_open = running.gh("pr", "list", "--json", "number", cwd=running.folder)
    assert still_open.stdout.strip() == "[]", still_open.stderr
    subjects = git(running.folder, "log", "--first-parent", "--format=%s", "main").stdout.split("\n")
    for number in range(1, 21):
        assert sum(line.endswith(f"(#{number})") for line in subjects) == 1
    tip = git(running.folder, "rev-parse", "main").stdout
    assert git(clone, "rev-parse", "main").stdout == tip
    again = luminaguard(clone, running, "run")
    assert (again.returncode, git(running.folder, "rev-parse", "main").stdout) == (0, tip)


def test_an_issue_is_told_once_how_it_stands_and_its_commit_has_a_verdict(running: Running, clone: Path) -> None:
    opened(running, "Add the file")
    assert luminaguard(clone, running, "run").returncode == 0
    told = running.gh("issue", "view", "1", "--json", "comments", "-q", ".comments[].body", cwd=running.folder).stdout
    assert told.count("It landed as") == 1
    head = git(running.folder, "rev-parse", "feature/issue-1").stdout.strip()
    path = f"repos/ann/demo/commits/{head}/status"
    state = running.gh("api", path, "-q", ".state", cwd=running.folder)
    assert state.stdout.strip() == "success", state.stderr
