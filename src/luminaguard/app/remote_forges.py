"""Forges that are reached over a network, as the settings mean them. Imported only where one is used."""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from luminaguard.app.project import RemoteForge, report_place
from luminaguard.app.settings_tables import BacklogSettings, BacklogSource, Settings
from luminaguard.forges.base import Filters
from luminaguard.forges.gitea import forge as gitea
from luminaguard.forges.github.auth import AppKey, Credentials, find_credentials
from luminaguard.forges.github.forge import GitHub
from luminaguard.forges.github.repository import Repository, repository_at, repository_named
from luminaguard.forges.gitlab import forge as gitlab
from luminaguard.forges.http_project import Project, project_at, project_named
from luminaguard.host.upstream import LetIn, unasked
from luminaguard.model.faults import UserFault


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A forge, how it is called, and what lets git in there. `repository` is its path on the server."""

    forge: RemoteForge
    repository: str
    let_in: LetIn = field(default=unasked, repr=False)

    @property
    def name(self) -> str:
        """How a person calls it: "github owner/name"."""
        return f"{self.forge.name} {self.repository}"


def reached(settings: Settings, root: Path, *, remote: str) -> Reached:
    """Give the forge that [backlog] names; the repository is that of the remote where none is said.

    Raises:
        UserFault: no repository is named, or no token is there; says what to do.
    """
    match settings.backlog.source:
        case BacklogSource.GITHUB:
            return _github(settings, root, remote)
        case BacklogSource.GITLAB:
            return _gitlab(settings, root, remote)
        case _:
            return _gitea(settings, root, remote)


def _github(settings: Settings, root: Path, remote: str) -> Reached:
    said = settings.backlog
    repository = _repository(said, root, remote)
    forge = GitHub(
        repository, _credentials(said, root, repository), filters=_filters(said), report=report_place(settings)
    )
    _check(forge)
    assert repository is not None
    return Reached(
        forge=forge, repository=repository.full, let_in=_let_in(forge, _web_of(repository), user="x-access-token")
    )


def _credentials(said: BacklogSettings, root: Path, repository: Repository | None) -> Credentials | None:
    if repository is None:
        return None
    return find_credentials(repository.server, app=_app(said, root), is_named=repository.base_url is not None)


def _app(said: BacklogSettings, root: Path) -> AppKey | None:
    """Give the App that the settings name; its key's path is relative to the repository."""
    if said.app_id is None or said.app_key is None:
        return None
    path = os.path.expanduser(said.app_key)  # noqa: PTH111 Path's raises where nobody has the name behind a "~"
    return AppKey(app_id=said.app_id, key_path=root / path)


def _web_of(repository: Repository) -> str:
    """Name the server that git talks to: that of the API, unless it is github.com or an address of its own kind."""
    if repository.base_url is None:
        return f"https://{repository.host}"
    there = urlsplit(repository.base_url)
    return f"{there.scheme}://{there.netloc}"


def _repository(said: BacklogSettings, root: Path, remote: str) -> Repository | None:
    if said.repository is not None:
        return repository_named(said.repository, base_url=said.base_url)
    return repository_at(root, remote=remote, base_url=said.base_url)


def _gitlab(settings: Settings, root: Path, remote: str) -> Reached:
    project = _project(settings.backlog, root, remote, usual="https://gitlab.com")
    filters = _filters(settings.backlog)
    forge = gitlab.GitLab(project, gitlab.find_token(), filters=filters, report_issue=report_place(settings).issue)
    return _reached(forge, project, user="oauth2")


def _gitea(settings: Settings, root: Path, remote: str) -> Reached:
    project = _project(settings.backlog, root, remote, usual=None)
    filters = _filters(settings.backlog)
    forge = gitea.Gitea(project, gitea.find_token(), filters=filters, report_issue=report_place(settings).issue)
    return _reached(forge, project, user="luminaguard")


def _filters(said: BacklogSettings) -> Filters:
    return Filters(labels=said.labels, milestone=said.milestone, assignee=said.assignee)


def _project(said: BacklogSettings, root: Path, remote: str, *, usual: str | None) -> Project | None:
    if said.repository is None:
        return project_at(root, remote=remote, base_url=said.base_url)
    if (base_url := said.base_url or usual) is None:
        raise UserFault("[backlog] repository is named, but not where the server is", hint="set [backlog] base_url")
    return project_named(said.repository, base_url=base_url)


def _reached(forge: RemoteForge, project: Project | None, *, user: str) -> Reached:
    _check(forge)
    assert project is not None
    return Reached(forge=forge, repository=project.path, let_in=_let_in(forge, project.web, user=user))


def _check(forge: RemoteForge) -> None:
    if (why := forge.missing()) is not None:
        raise UserFault(f"{forge.name} cannot be reached: {why}", hint="then: luminaguard doctor")


def _let_in(forge: RemoteForge, web: str, *, user: str) -> LetIn:
    """Give what shows git's token to this server over HTTPS; SSH remotes ask nobody for it."""
    if os.environ.get("GIT_ASKPASS"):
        return unasked

    async def shown() -> Mapping[str, str]:
        return _shown(web, user, await forge.git_token())

    return shown


def _shown(web: str, user: str, token: str) -> Mapping[str, str]:
    words = base64.b64encode(f"{user}:{token}".encode()).decode()
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{web}/.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {words}",
    }
