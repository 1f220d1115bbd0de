"""Where a repository's issues may live, as its remote tells."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from luminaguard.app.settings_tables import BacklogSource
from luminaguard.forges.http_project import Project, project_at
from luminaguard.model.faults import Fault

REMOTE = "origin"
KNOWN_HOSTS: Mapping[str, BacklogSource] = MappingProxyType(
    {
        "github.com": BacklogSource.GITHUB,
        "ssh.github.com": BacklogSource.GITHUB,
        "gitlab.com": BacklogSource.GITLAB,
        "altssh.gitlab.com": BacklogSource.GITLAB,
        "codeberg.org": BacklogSource.GITEA,
        "gitea.com": BacklogSource.GITEA,
    }
)
HOST_WORDS: Mapping[str, BacklogSource] = MappingProxyType(
    {
        "github": BacklogSource.GITHUB,
        "gitlab": BacklogSource.GITLAB,
        "gitea": BacklogSource.GITEA,
        "forgejo": BacklogSource.GITEA,
    }
)
"""Names that people give to the host of their own server: gitlab.example.org tells, git.example.org does not."""

MARKERS: Mapping[str, BacklogSource] = MappingProxyType(
    {
        ".gitlab-ci.yml": BacklogSource.GITLAB,
        ".gitlab": BacklogSource.GITLAB,
        ".forgejo": BacklogSource.GITEA,
        ".gitea": BacklogSource.GITEA,
    }
)
"""What only one sort of server reads. `.github` is none: Gitea reads it too, and mirrors keep it."""

TOKENS: Mapping[BacklogSource, str] = MappingProxyType(
    {
        BacklogSource.GITHUB: "GITHUB_TOKEN, GH_TOKEN or `gh auth login`, or an App's key (app_id, app_key)",
        BacklogSource.GITLAB: "GITLAB_TOKEN",
        BacklogSource.GITEA: "GITEA_TOKEN or FORGEJO_TOKEN",
    }
)
"""Where each forge's token is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedForge:
    """Where the issues may live, and what says so."""

    source: BacklogSource
    why: str

    @property
    def token(self) -> str:
        """Where its token is looked for; "" where it needs none."""
        return TOKENS.get(self.source, "")


NO_FORGE = DetectedForge(source=BacklogSource.LOCAL, why=f"no remote {REMOTE} at a known forge; issues are kept here")


def detect_forge_in(folder: Path) -> DetectedForge:
    """Find out where the issues of a repository may live; asks no server."""
    project = _project(folder)
    host = (urlsplit(project.web).hostname or "") if project else ""
    if project is None or not host:
        return NO_FORGE
    there = f"the remote {REMOTE} is {project.path} at {host}"
    if (source := _source_of(host)) is not None:
        return DetectedForge(source=source, why=there)
    marker = next((name for name in MARKERS if (folder / name).exists()), None)
    return NO_FORGE if marker is None else DetectedForge(source=MARKERS[marker], why=f"{there}, and there is {marker}")


def _project(folder: Path) -> Project | None:
    try:
        return project_at(folder, remote=REMOTE)
    except Fault:  # git is missing or hangs, which is the doctor's to tell
        return None


def _source_of(host: str) -> BacklogSource | None:
    if host in KNOWN_HOSTS or host.endswith(".ghe.com"):
        return KNOWN_HOSTS.get(host, BacklogSource.GITHUB)
    parts = host.replace("-", ".").split(".")
    return next((source for word, source in HOST_WORDS.items() if word in parts), None)
