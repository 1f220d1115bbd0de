"""The local tracker's own words: add, edit, close, reopen."""

from luminaguard.app.project import Project
from luminaguard.forges.store import Changes
from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Issue

__all__ = ["Changes", "add", "close", "edit", "read", "reopen"]


def add(project: Project, title: str, *, issue: str | None, said: Changes) -> Issue:
    """Add an open issue under the next free number, or under an id of the user's."""
    return project.store.add(title, id=issue, **said)


def edit(project: Project, issue: str, *, title: str | None, said: Changes) -> Issue:
    """Change what is said of an issue."""
    return project.store.edit(issue, title=title, **said)


def close(project: Project, issue: str, *, comment: str) -> Issue:
    """Close an issue."""
    return project.store.close(issue, comment=comment)


def reopen(project: Project, issue: str, *, comment: str) -> Issue:
    """Open a closed issue again."""
    return project.store.reopen(issue, comment=comment)


async def read(project: Project, issue: str) -> Issue:
    """Read one issue, with what its source says now."""
    await project.forge.backlog()
    return await project.forge.issue(IssueId(issue.removeprefix("#")))
