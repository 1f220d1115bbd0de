"""The plan of a project: its issues as read, what is there for each already, and the planner's answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from luminaguard.app.project import Project, is_trusted
from luminaguard.engine.run import branch_of
from luminaguard.model.facts import RUN
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import Backlog, Issue, IssueState, Notice
from luminaguard.model.plan import Plan, Present
from luminaguard.planner.plan import plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan, and all issues that it was made from."""

    plan: Plan
    backlog: Backlog


async def make_plan(project: Project, select: Sequence[str] = ()) -> Planned:
    """Read the backlog and plan it, or the issues named and what they need.

    Raises:
        UserFault: the backlog is broken, an issue is not there, or needs go round in a circle.
    """
    backlog = await project.forge.backlog()
    if any(issue.id == RUN for issue in backlog.issues):
        raise UserFault(f"{project.backlog}: no issue can have the id '{RUN}'", hint="give it another id")
    tip = await project.trunk.tip()
    make = partial(
        plan,
        base=tip,
        tracked=await project.trunk.paths(tip),
        present=await _present(project, backlog.issues, tip),
        slots=project.settings.run.slots,
        select=frozenset(IssueId(issue.removeprefix("#")) for issue in select) or None,
    )
    try:
        made = make(backlog.issues)
    except UserFault as fault:
        made = make(_without_words_of_strangers(project, backlog.issues, fault))
        backlog = replace(backlog, notices=(*backlog.notices, Notice(text=f"{_IGNORED}: {fault.message}")))
    return Planned(plan=replace(made, notices=(*backlog.notices, *made.notices)), backlog=backlog)


_IGNORED = "what issues of untrusted authors say about the order is ignored, because it cannot be planned"


def _without_words_of_strangers(project: Project, issues: Sequence[Issue], fault: UserFault) -> tuple[Issue, ...]:
    """Leave out what untrusted authors wrote: no stranger stops the plan. Without strangers, raise the fault."""
    strange = {it.id for it in issues if not is_trusted(project.settings, it.author, it.association)}
    if not strange:
        raise fault
    return tuple(replace(it, body="", title=f"Issue {it.id}") if it.id in strange else it for it in issues)


async def _present(project: Project, issues: Sequence[Issue], tip: Oid) -> Mapping[IssueId, Present]:
    """Look up what is there for each open issue: its branch, commits that the target has not, its pull request."""
    refs = (await project.git.text("for-each-ref", "--format=%(refname:short)", "refs/heads/feature")).splitlines()
    pulls = {pull.branch: pull.id for pull in project.store.pulls()}
    known = set(refs)
    found: dict[IssueId, Present] = {}
    for issue in issues:
        branch = branch_of(issue.id)
        if issue.state is IssueState.OPEN and branch in known:
            ahead = int(await project.git.text("rev-list", "--count", f"{tip}..refs/heads/{branch}"))
            found[issue.id] = Present(
                branch=branch, commits_ahead=ahead, pull_request=pulls.get(branch), left_to_do=_left(ahead)
            )
    return found


def _left(ahead: int) -> str:
    if not ahead:
        return "everything"
    return (
        f"finish or confirm the work ({ahead} commit{'' if ahead == 1 else 's'} ahead), then check, review and land it"
    )
