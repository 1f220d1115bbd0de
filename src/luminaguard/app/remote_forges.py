"""Forges that are reached over a network, as the settings mean them. Imported only where one is used."""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from luminaguard.app.settings_tables import BacklogSettings, BacklogSource, Settings
from luminaguard.forges.base import Forge
from luminaguard.forges.gitea import forge as gitea
from luminaguard.forges.gitea import issues as gitea_issues
from luminaguard.forges.github.auth import Token, find_credentials
from luminaguard.forges.github.forge import GitHub
from luminaguard.forges.github.issues import Filters
from luminaguard.forges.github.repository import Repository, repository_at, repository_named
from luminaguard.forges.gitlab import forge as gitlab
from luminaguard.forges.gitlab import issues as gitlab_issues
from luminaguard.forges.http_project import ApiToken, Project, project_at, project_named
from luminaguard.model.faults import UserFault


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A forge, how it is called, and what git needs in its environment to be let in there."""

    forge: Forge
    name: str
    git_env: Mapping[str, str] = field(default_factory=dict, repr=False)


def reached(settings: Settings, root: Path, *, remote: str) -> Reached:
    """Give the forge that [backlog] names; the repository is that of the remote where none is said.

    Raises:
        UserFault: no repository is named, or no token is there; says what to do.
    """
    match settings.backlog.source:
        case BacklogSource.GITHUB:
            return _github(settings.backlog, root, remote)
        case BacklogSource.GITLAB:
            return _gitlab(settings.backlog, root, remote)
        case _:
            return _gitea(settings.backlog, root, remote)


def _github(said: BacklogSettings, root: Path, remote: str) -> Reached:
    repository = _repository(said, root, remote)
    credentials = find_credentials(repository.host) if repository else None
    filters = Filters(labels=said.labels, milestone=said.milestone, assignee=said.assignee)
    forge = GitHub(repository, credentials, filters=filters)
    _check(forge)
    assert repository is not None
    token = credentials.text if isinstance(credentials, Token) else ""
    return Reached(
        forge=forge,
        name=f"github {repository.full}",
        git_env=_let_in(_web_of(repository), "x-access-token", token),
    )


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


def _gitlab(said: BacklogSettings, root: Path, remote: str) -> Reached:
    project, token = _project(said, root, remote, usual="https://gitlab.com"), gitlab.find_token()
    filters = gitlab_issues.Filters(labels=said.labels, milestone=said.milestone, assignee=said.assignee)
    forge = gitlab.GitLab(project, token, filters=filters)
    return _reached(forge, project, token, user="oauth2")


def _gitea(said: BacklogSettings, root: Path, remote: str) -> Reached:
    project, token = _project(said, root, remote, usual=None), gitea.find_token()
    filters = gitea_issues.Filters(labels=said.labels, milestone=said.milestone, assignee=said.assignee)
    forge = gitea.Gitea(project, token, filters=filters)
    return _reached(forge, project, token, user="luminaguard")


def _project(said: BacklogSettings, root: Path, remote: str, *, usual: str | None) -> Project | None:
    if said.repository is None:
        return project_at(root, remote=remote, base_url=said.base_url)
    if (base_url := said.base_url or usual) is None:
        raise UserFault("[backlog] repository is named, but not where the server is", hint="set [backlog] base_url")
    return project_named(said.repository, base_url=base_url)


def _reached(forge: Forge, project: Project | None, token: ApiToken | None, *, user: str) -> Reached:
    _check(forge)
    assert project is not None
    env = _let_in(project.web, user, token.text if token else "")
    return Reached(forge=forge, name=f"{forge.name} {project.path}", git_env=env)


def _check(forge: Forge) -> None:
    if (why := forge.missing()) is not None:
        raise UserFault(f"{forge.name} cannot be reached: {why}", hint="see `luminaguard doctor`")


def _let_in(web: str, user: str, token: str) -> Mapping[str, str]:
    """Give the environment by which git shows the token to this server over HTTPS; SSH remotes ask nobody for it."""
    if not token or os.environ.get("GIT_ASKPASS"):
        return {}
    shown = base64.b64encode(f"{user}:{token}".encode()).decode()
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{web}/.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {shown}",
    }
