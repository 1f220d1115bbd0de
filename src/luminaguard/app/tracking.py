"""The local tracker's own words: add, edit, close, reopen; and where issues are added that live elsewhere."""

from luminaguard.app.project import Project
from luminaguard.app.settings_tables import BacklogSource
from luminaguard.forges.file_backlog import FileBacklog
from luminaguard.forges.store import Changes
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Issue

__all__ = ["Changes", "add", "close", "edit", "none_open", "read", "reopen", "way_to_add"]

_PROGRAMS = {
    BacklogSource.GITHUB: " with `gh issue`",
    BacklogSource.GITLAB: " with `glab issue`",
    BacklogSource.GITEA: " with `tea issues`",
}


def add(project: Project, title: str, *, issue: str | None, said: Changes) -> Issue:
    """Add an open issue under the next free number, or under an id of the user's.

    Raises:
        UserFault: the project's issues are elsewhere, so nobody would read it.
    """
    _must_be_here(project)
    return project.store.add(title, id=issue, **said)


def edit(project: Project, issue: str, *, title: str | None, said: Changes) -> Issue:
    """Change what is said of an issue.

    Raises:
        UserFault: the project's issues are elsewhere, and are changed there.
    """
    _must_be_here(project)
    return project.store.edit(issue, title=title, **said)


def close(project: Project, issue: str, *, comment: str) -> Issue:
    """Close an issue.

    Raises:
        UserFault: the project's issues are elsewhere, or this one is not among them.
    """
    _must_count(project, issue)
    return project.store.close(issue, comment=comment)


def reopen(project: Project, issue: str, *, comment: str) -> Issue:
    """Open a closed issue again.

    Raises:
        UserFault: the project's issues are elsewhere, or this one is not among them.
    """
    _must_count(project, issue)
    return project.store.reopen(issue, comment=comment)


async def read(project: Project, issue: str) -> Issue:
    """Read one issue, with what its source says now."""
    await project.forge.backlog()
    return await project.forge.issue(IssueId(issue.removeprefix("#")))


def way_to_add(project: Project) -> str:
    """Say how an issue gets into the project's backlog."""
    said = project.settings.backlog
    if said.source is BacklogSource.LOCAL:
        return "luminaguard issues add TITLE"
    return f"write it into {said.path}" if said.source is BacklogSource.FILE else f"add it at {project.backlog}"


def none_open(project: Project) -> str:
    """Say that no issue is open, and how one gets there."""
    if project.settings.backlog.source is BacklogSource.LOCAL:
        return f"no open issues; add one with: {way_to_add(project)}"
    return f"no open issues, from {project.backlog}"


def _must_count(project: Project, issue: str) -> None:
    """Refuse to turn an issue that nobody reads; one that came from the file is closed and opened in the tracker."""
    if isinstance(project.forge, FileBacklog):
        project.forge.own(issue)
    else:
        _must_be_here(project)


def _must_be_here(project: Project) -> None:
    said = project.settings.backlog
    if said.source is BacklogSource.LOCAL:
        return
    there = f" in {said.path}" if said.source is BacklogSource.FILE else f" there{_PROGRAMS.get(said.source, '')}"
    hint = f'add and change them{there}, or set [backlog] source = "local"'
    raise UserFault(f"the issues of this project are at {project.backlog}", hint=hint)
