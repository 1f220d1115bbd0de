"""The plan of a project: its issues as read, what is there for each already, and the planner's answer."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

from luminaguard.app.around import Around, read_around, waiting_for_outside
from luminaguard.app.project import Project, is_trusted
from luminaguard.app.writing_back import not_written_back
from luminaguard.engine.opening import branch_of
from luminaguard.journal.sqlite import SqliteJournal
from luminaguard.model.facts import RUN
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Oid, natural
from luminaguard.model.issue import Backlog, Issue, IssueState, Notice
from luminaguard.model.plan import Plan, Present
from luminaguard.planner.plan import plan


def connected(project: Project) -> AbstractAsyncContextManager[None]:
    """Keep connections to the project's forge for the block; where it is here, there are none."""
    return project.reached.open() if project.reached is not None else nullcontext()


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan, and all issues that it was made from."""

    plan: Plan
    backlog: Backlog


async def make_plan(project: Project, select: Sequence[str] = ()) -> Planned:
    """Read the backlog and plan it, or the issues named and what they need.

    What waits for an open issue outside the backlog is left out with a notice, until that is closed.

    Raises:
        UserFault: the backlog is broken, an issue is not there or waits for one outside, or needs go round in a circle.
    """
    around = await read_around(project, select)
    backlog = around.backlog
    if any(issue.id == RUN for issue in backlog.issues):
        raise UserFault(f"{project.backlog}: no issue can have the id '{RUN}'", hint="give it another id")
    tip = await project.trunk.tip()
    tracked = await project.trunk.paths(tip)
    make = partial(
        plan,
        base=tip,
        tracked=tracked,
        present=await _present(project, backlog.issues, tip),
        slots=project.settings.run.slots,
        repository=project.repository,
    )
    wanted, issues = _wanted(around, select), backlog.issues
    try:
        made = make(issues, select=wanted)
    except UserFault as fault:
        issues = _without_words_of_strangers(project, issues, fault)
        made = make(issues, select=wanted)
        backlog = replace(backlog, notices=(*backlog.notices, Notice(text=f"{_IGNORED}: {fault.message}")))
    held = waiting_for_outside(around, {it.issue.id: it.needs for it in made.issues})
    if held or around.outside.intersection(it.issue.id for it in made.issues):
        _refuse_named(around, held)
        left = wanted if select or wanted is None else wanted - held.keys()
        made = make(_without(issues, held.keys() | around.outside), select=left)
    left_out = tuple(Notice(text=f"{why}; it is left out", issue=issue) for issue, why in held.items())
    unkept = await not_written_back(project, [it.issue for it in made.issues], tip, tracked=tracked)
    notices = (*backlog.notices, *left_out, *made.notices, *unkept)
    return Planned(plan=replace(made, notices=notices), backlog=backlog)


def _wanted(around: Around, select: Sequence[str]) -> frozenset[IssueId] | None:
    if select:
        return frozenset(IssueId(issue.removeprefix("#")) for issue in select)
    if not around.outside:
        return None
    issues = (it for it in around.backlog.issues if it.state is IssueState.OPEN)
    return frozenset(it.id for it in issues) - around.outside


def _refuse_named(around: Around, held: Mapping[IssueId, str]) -> None:
    for issue in sorted(around.named & held.keys(), key=natural):
        raise UserFault(f"#{issue} {held[issue]}", hint="name that one too, or wait until it is closed")


def _without(issues: Sequence[Issue], left_out: AbstractSet[IssueId]) -> tuple[Issue, ...]:
    """Leave issues out of a plan that others wait for, without their names being taken for unknown ones."""
    return tuple(replace(it, state=IssueState.CLOSED) if it.id in left_out else it for it in issues)


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
    pulls = _pulls(project)
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


def _pulls(project: Project) -> Mapping[str, str]:
    """Give the pull request of each branch: of the local tracker, or as the last run wrote it down."""
    if project.reached is None:
        return {pull.branch: pull.id for pull in project.store.pulls()}
    path = project.places.state / "journal.db"
    if not path.exists():
        return {}
    with SqliteJournal(path) as journal:
        published = [it.data for run in journal.runs()[-1:] for it in journal.facts(run) if it.name == "published"]
    return {str(it["branch"]): str(it["pull_request"]) for it in published if it.get("pull_request")}


def _left(ahead: int) -> str:
    if not ahead:
        return "everything"
    return (
        f"finish or confirm the work ({ahead} commit{'' if ahead == 1 else 's'} ahead), then check, review and land it"
    )
