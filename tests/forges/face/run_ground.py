"""A clone of a repository whose backlog lives behind the face, and the commands that a person types in it."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from face_ground import Running, git

AGENT = """
import os, pathlib
issue = os.environ["LUMINAGUARD_ISSUE"]
pathlib.Path(f"made_{issue}.txt").write_text("done by an agent\\n")
"""
LISTENER = """
import os, pathlib, sys
prompt, said = sys.stdin.read(), ("Say it in French", "I will look tomorrow")
heard = " ".join([os.environ["LUMINAGUARD_ATTEMPT"], *(one for one in said if one in prompt)])
with pathlib.Path("heard.txt").open("a") as file:
    file.write(heard + "\\n")
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
poll_s = 0.2

[agents.mine]
protocol = "command"
argv = ["{python}", "{agent}"]

[checks]
run = ["test -f README.md"]

{more}
"""


def set_up(clone: Path, running: Running, *, backlog: str = "", more: str = "") -> None:
    agent = clone.parent / "agent.py"
    settings = SETTINGS.format(url=running.url, python=sys.executable, agent=agent, more=more)
    (clone / "luminaguard.toml").write_text(settings.replace("[backlog]", f"[backlog]\n{backlog}"))


def cloned(running: Running, folder: Path) -> Path:
    """Make a person's clone of the forge's repository, with settings that nobody has committed."""
    made = folder / "clone"
    header = f"http.extraHeader=Authorization: Bearer {running.token}"
    git(folder, "-c", header, "clone", "-q", f"{running.url}/ann/demo.git", str(made))
    for name, value in (("user.name", "Ann"), ("user.email", "ann@example.org")):
        git(made, "config", name, value)
    (folder / "agent.py").write_text(AGENT)
    (made / ".git/info/exclude").write_text("luminaguard.toml\n")
    set_up(made, running)
    return made


def command(running: Running, *words: str) -> tuple[list[str], dict[str, str]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "GH_", "GITHUB_"))}
    env = {**kept, "GITHUB_TOKEN": running.token, "GIT_CONFIG_GLOBAL": os.devnull}
    return [sys.executable, "-m", "luminaguard", *words], env


def luminaguard(clone: Path, running: Running, *words: str) -> subprocess.CompletedProcess[str]:
    argv, env = command(running, *words)
    return subprocess.run(
        argv,
        cwd=clone,
        env=env,
        text=True,
        capture_output=True,
        check=False,
        timeout=800,
    )


def opened(running: Running, title: str, *, needs: Sequence[int] = ()) -> None:
    words = [f"--blocked-by={','.join(map(str, needs))}"] if needs else []
    ran = running.gh("issue", "create", "-t", title, "-b", "Make it.", *words, cwd=running.folder)
    assert ran.returncode == 0, ran.stderr


def told(running: Running, *words: str) -> str:
    ran = running.gh(*words, cwd=running.folder)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def started(clone: Path, running: Running, *words: str) -> subprocess.Popen[bytes]:
    """Begin a command, and leave what it prints in `log` beside the clone."""
    argv, env = command(running, *words)
    with (clone.parent / "log").open("w") as log:
        return subprocess.Popen(argv, cwd=clone, env=env, stdout=log, stderr=log)


def facts(clone: Path, issue: str) -> list[str]:
    """Name an issue's facts of the last run, in order."""
    journal = clone / ".git/luminaguard/journal.db"
    if not journal.exists():
        return []
    with contextlib.closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as connection:
        try:
            found = connection.execute("SELECT kind FROM fact WHERE subject = ? ORDER BY seq", (issue,))
            return [str(kind) for (kind,) in found]
        except sqlite3.OperationalError:
            return []  # it is being made


def wait_for(clone: Path, issue: str, name: str, session: subprocess.Popen[bytes]) -> None:
    """Wait for a fact, by its kind or its name, or for the end of the session."""
    until = time.monotonic() + 240
    while session.poll() is None and not any(name in (kind, kind.partition(":")[0]) for kind in facts(clone, issue)):
        assert time.monotonic() < until, (clone.parent / "log").read_text()
        time.sleep(0.005)
