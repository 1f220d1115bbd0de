"""Runs a driver as the walls would run it, in a real repository, but without walls."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luminaguard.agents.base import Agent
from luminaguard.model.brief import Brief
from luminaguard.model.ids import IssueId
from luminaguard.sandboxes.base import GATEWAY_URL

KEY = "lg-dummy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A driver that runs."""

    child: subprocess.Popen[str]
    tree: Path

    def end(self, *, timeout_s: float = 120) -> tuple[int, str]:
        """Wait for it; its exit code and what it printed."""
        out, _ = self.child.communicate(timeout=timeout_s)
        return self.child.returncode, out


def brief(*, prompt: str = "", is_review: bool = False) -> Brief:
    return Brief(issue=IssueId("1"), attempt=1, prompt=prompt, timeout_s=60, key=KEY, is_review=is_review)


def repository(folder: Path) -> Path:
    tree = folder / "tree"
    if not tree.exists():
        subprocess.run(("git", "init", "-q", "-b", "main", str(tree)), check=True)
        (tree / "README.md").write_text("A project.\n", encoding="utf-8")
        subprocess.run(("git", "-C", str(tree), "add", "-A"), check=True)
        commit = ("-c", "user.name=n", "-c", "user.email=e@x", "commit", "-q", "-m", "first")
        subprocess.run(("git", "-C", str(tree), *commit), check=True)
    return tree


def start(
    agent: Agent,
    folder: Path,
    prompt: str,
    *,
    gateway: str,
    is_review: bool = False,
    env: Mapping[str, str] | None = None,
    task: Mapping[str, Any] | None = None,
    argv: Sequence[str] = (),
) -> Started:
    """Start it; `gateway` stands where the walls' door would be, `task` changes what the driver is told.

    `argv` takes the place of the driver's own command line.
    """
    launch = agent.launch(brief(is_review=is_review))
    seen = {str(mount.at): str(mount.source) for mount in launch.mounts}
    told = {**json.loads(launch.env["LUMINAGUARD_AGENT"].replace(GATEWAY_URL, gateway)), **(task or {})}
    names = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    tree = repository(folder)
    home = folder / "home"
    home.mkdir(exist_ok=True)
    child = subprocess.Popen(
        argv or [seen.get(word, word) for word in launch.argv],
        cwd=tree,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            **names,
            **(env or {}),
            "LUMINAGUARD_AGENT": json.dumps(told),
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert child.stdin is not None
    child.stdin.write(prompt)
    child.stdin.close()
    child.stdin = None
    return Started(child=child, tree=tree)
