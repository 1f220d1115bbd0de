"""The backlog and what lies around it: issues that a person names, and those that its issues wait for.

Filters say which issues are worked on. They say nothing about what these wait for, and they bind nobody who names an
issue.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from luminaguard.app.project import Project
from luminaguard.app.settings_tables import BacklogSettings
from luminaguard.forges.gathering import each
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Backlog, Issue, IssueState
from luminaguard.planner.directory import Directory
from luminaguard.planner.elsewhere import elsewhere

READ_AT_MOST = 200
"""Issues beyond the backlog that are read one by one, to learn whether somebody waits for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """All that was read. `outside` are open and not to be worked on; `unread` wait for more than was read."""

    backlog: Backlog
    named: frozenset[IssueId]
    outside: frozenset[IssueId]
    unread: frozenset[IssueId]


async def read_around(project: Project, select: Sequence[str]) -> Around:
    """Read the backlog, what a person names, and what these wait for.

    Raises:
        UserFault: the backlog is broken, or an issue that was named is not there.
    """
    backlog = await project.forge.backlog()
    if project.reached is None:
        named = _named(backlog.issues, select)
        outside = _filtered_out(backlog.issues, project.settings.backlog) - named
        return Around(backlog=backlog, named=named, outside=outside, unread=frozenset())
    added = await _read_named(project, backlog.issues, select)
    within = (*backlog.issues, *added)
    # Without a filter all open issues are in the backlog, and what is not there is done, or was never an issue.
    waited_for = elsewhere(within, repository=project.repository) if _has_filter(project.settings.backlog) else {}
    wanted = tuple(dict.fromkeys(number for numbers in waited_for.values() for number in numbers))
    found = [it for it in await each(wanted[:READ_AT_MOST], lambda issue: _there(project, issue)) if it is not None]
    left_out = frozenset(wanted[READ_AT_MOST:])
    return Around(
        backlog=replace(backlog, issues=(*within, *found)),
        named=_named(within, select),
        outside=frozenset(it.id for it in found if it.state is IssueState.OPEN),
        unread=frozenset(issue for issue, numbers in waited_for.items() if left_out.intersection(numbers)),
    )


def _named(issues: Sequence[Issue], select: Sequence[str]) -> frozenset[IssueId]:
    directory = Directory(issue.id for issue in issues)
    return frozenset(found for name in select if (found := directory.resolve(name.removeprefix("#"))) is not None)


async def _read_named(project: Project, issues: Sequence[Issue], select: Sequence[str]) -> list[Issue]:
    directory = Directory(issue.id for issue in issues)
    names = dict.fromkeys(name.removeprefix("#") for name in select)
    absent = [IssueId(name) for name in names if directory.resolve(name) is None]
    read = await each(absent, project.forge.issue)
    return list({issue.id: issue for issue in read if directory.exact(issue.id) is None}.values())


def _has_filter(said: BacklogSettings) -> bool:
    return bool(said.labels or said.milestone or said.assignee)


async def _there(project: Project, issue: IssueId) -> Issue | None:
    """Read an issue; None where the number is nobody's, or a pull request's."""
    try:
        return await project.forge.issue(issue)
    except UserFault:
        return None


def _filtered_out(issues: Sequence[Issue], said: BacklogSettings) -> frozenset[IssueId]:
    """Filter where the source does not by itself."""
    return frozenset(it.id for it in issues if it.state is IssueState.OPEN and not _passes(it, said))


def _passes(issue: Issue, said: BacklogSettings) -> bool:
    has = {label.casefold() for label in issue.labels}
    if not all(label.casefold() in has for label in said.labels):
        return False
    return said.milestone is None or (issue.milestone or "").casefold() == said.milestone.casefold()


def waiting_for_outside(around: Around, needs: Mapping[IssueId, Sequence[IssueId]]) -> dict[IssueId, str]:
    """Say of each issue that cannot be worked on now what it waits for, directly or through others.

    Args:
        around: what was read.
        needs: issue -> what it needs, for every issue of a plan that holds those outside as well.
    """
    inside = {issue: needed for issue, needed in needs.items() if issue not in around.outside}
    held = dict.fromkeys(around.unread & inside.keys(), "waits for more issues outside this backlog than are read")
    held |= _waiting(inside, around.outside, "which is open and not in this backlog")
    while fresh := _waiting({it: of for it, of in inside.items() if it not in held}, held.keys(), "which is left out"):
        held |= fresh
    return held


def _waiting(
    needs: Mapping[IssueId, Sequence[IssueId]], blockers: AbstractSet[IssueId], why: str
) -> dict[IssueId, str]:
    firsts = {issue: next((it for it in needed if it in blockers), None) for issue, needed in needs.items()}
    return {issue: f"waits for #{first}, {why}" for issue, first in firsts.items() if first is not None}
