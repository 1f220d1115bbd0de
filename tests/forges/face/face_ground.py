"""A repository with a tracker, and the face before it: in process, and as the command that a person types."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx
from starlette.applications import Starlette

from luminaguard.forges.face.app import face
from luminaguard.forges.face.site import Site, site_of
from luminaguard.forges.face.tokens import Holder, Rights, Tokens
from luminaguard.forges.store import TrackerStore
from luminaguard.host.git import find_repository
from luminaguard.model.ids import IssueId

ME = ("Ann", "ann@example.org")
BIN = Path(sys.executable).parent


def git(folder: Path, *args: str, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
    who = {f"GIT_{role}_{what}": ME[what == "EMAIL"] for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(
        ["git", "-c", "protocol.version=2", *args],
        cwd=folder,
        env={**plain, **who, "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_GLOBAL": "/dev/null", **env},
        text=True,
        capture_output=True,
        check=check,
        timeout=240,
    )


def commit(folder: Path, path: str, text: str) -> str:
    (folder / path).write_text(text)
    git(folder, "add", path)
    git(folder, "commit", "-q", "-m", f"change {path}")
    return git(folder, "rev-parse", "HEAD").stdout.strip()


def work_on(folder: Path, branch: str, path: str, text: str) -> str:
    """Put one commit on a new branch, and go back to main."""
    git(folder, "checkout", "-q", "-b", branch)
    made = commit(folder, path, text)
    git(folder, "checkout", "-q", "main")
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The face in process, and what stands behind it."""

    folder: Path
    site: Site
    tokens: Tokens
    app: Starlette
    full: str

    @property
    def store(self) -> TrackerStore:
        return self.site.store

    def client(self, token: str | None = None) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token or self.full}", "Accept": "application/vnd.github+json"}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app), base_url="http://forge.test", headers=headers
        )

    def token(self, rights: Rights, issue: str | None = None) -> str:
        name = f"{rights.value}[bot]"
        return self.tokens.make(Holder(login=name, rights=rights, issue=None if issue is None else IssueId(issue)))


def ground_of(folder: Path, state: Path) -> Ground:
    places = find_repository(folder)
    store = TrackerStore(places.state / "tracker.db", who=ME[0])
    site = site_of(places, target="main", identity=ME, store=store, owner="ann", name="demo")
    tokens = Tokens(state)
    return Ground(
        folder=folder,
        site=site,
        tokens=tokens,
        app=face(site, tokens, folder=state),
        full=tokens.full(login="ann"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The command at work. `url` is its TCP address."""

    folder: Path
    env: dict[str, str]
    url: str
    token: str

    def gh(self, *args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "gh", *args], cwd=cwd, env=self.env, text=True, capture_output=True, check=False, timeout=240
        )


def running_at(project: Path, url: str, home: Path) -> Running:
    """Read the file that a person's shell would read."""
    script = f". {project}/.git/luminaguard/forge/env; env"
    told = subprocess.run(["sh", "-c", script], text=True, capture_output=True, check=True, env={"HOME": str(home)})
    said = dict(line.split("=", 1) for line in told.stdout.splitlines() if "=" in line)
    env = {**os.environ, **{name: value for name, value in said.items() if name.startswith("GH_")}, "HOME": str(home)}
    return Running(folder=project, env=env, url=url, token=said["GH_ENTERPRISE_TOKEN"])
