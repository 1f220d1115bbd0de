"""A plan as shell steps for a person who wants to do the work by hand. POSIX sh."""

import re
import shlex
from collections.abc import Iterator, Sequence

from luminaguard.model.ids import IssueId
from luminaguard.model.plan import Plan, PlannedIssue
from luminaguard.reports.checklist import attempt_checklist
from luminaguard.reports.messages import subject
from luminaguard.reports.wording import counted, ids, plain

_SIMPLE_COMMAND = re.compile(r"[\w./:=@%+,][\w ./:=@%+,-]*", re.ASCII)
_RESERVED = frozenset({"if", "then", "else", "elif", "fi", "do", "done", "case", "esac", "while", "until", "for", "in"})
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")


def plan_script(plan: Plan, *, target: str, checks: Sequence[str]) -> str:
    """Write the plan as a script that stops where a person has to work.

    Each branch takes in the target before it is checked, so what is merged has exactly the files that were checked.
    Text of issues stands only in comments and in quoted words.
    """
    items = {item.issue.id: item for item in plan.issues}
    lines = list(_head(plan, target))
    for number, wave in enumerate(plan.waves, start=1):
        here = [items[issue] for issue in wave if issue in items]
        lines += ["", _comment(f"Wave {number}: {ids(tuple(item.issue.id for item in here))}"), ""]
        lines += [line for item in here for line in _begin(item, target)]
        for item in here:
            lines += ["", *_finish(item, target=target, checks=checks)]
    return "\n".join(lines) + "\n"


def _head(plan: Plan, target: str) -> Iterator[str]:
    yield "#!/bin/sh"
    yield _comment(f"{counted(len(plan.issues), 'issue')} in {counted(len(plan.waves), 'wave')}, landing on {target}.")
    yield _comment("Run it at the root of the repository. The issues of a wave may be worked on side by side.")
    yield "set -eu"
    yield f"git switch {shlex.quote(target)}"


def _begin(item: PlannedIssue, target: str) -> Iterator[str]:
    yield _comment(f"#{item.issue.id} {item.issue.title}")
    if item.present.branch:
        yield _comment(f"There already: {item.present.branch}, {counted(item.present.commits_ahead, 'commit')} ahead")
        yield f"git worktree add {_folder(item)} {shlex.quote(item.present.branch)}"
        return
    yield f"git worktree add {_folder(item)} -b {_branch(item)} {shlex.quote(target)}"


def _finish(item: PlannedIssue, *, target: str, checks: Sequence[str]) -> Iterator[str]:
    message = f"-m {shlex.quote(_subject(item))} -m {shlex.quote(f'Closes #{plain(item.issue.id)}')}"
    yield _comment(f"#{item.issue.id} {item.issue.title} ({item.kind})")
    for need in item.needs:
        yield _comment(f"needs #{need}")
    for entry in attempt_checklist((), deliverables=item.deliverables, target=target, checks=checks):
        yield _comment(f"[ ] {entry.text}")
    prompt = f"Do the work in {_folder(item)}, then press Enter: "
    yield f"printf %s {shlex.quote(prompt)} && read -r _"
    yield "("
    yield f"  cd {_folder(item)}"
    yield "  git add -A"
    yield f"  git diff --cached --quiet || git commit {message}"
    yield f"  git merge --no-edit {shlex.quote(target)}"
    yield from (f"  {_command(check)}" for check in checks)
    yield ")"
    yield f"git merge --no-ff {_branch(item)} {message}"
    # Checks leave files behind, and git refuses to remove those: only a person knows whether they may go.
    yield _comment(f"when all is well: git worktree remove {_folder(item)}")


def _subject(item: PlannedIssue) -> str:
    return subject(kind=item.kind, issue=item.issue.id, title=item.issue.title)


def _comment(text: str) -> str:
    return f"# {plain(text)}"


def _command(check: str) -> str:
    # A check may be any shell text, even one that does not close its quotes; in a shell of its own it spoils nothing.
    simple = _SIMPLE_COMMAND.fullmatch(check) and check.split(maxsplit=1)[0] not in _RESERVED
    return check if simple else f"sh -c {shlex.quote(check)}"


def _folder(item: PlannedIssue) -> str:
    return f"../wt-{_name(item.issue.id)}"


def _branch(item: PlannedIssue) -> str:
    return shlex.quote(item.present.branch) if item.present.branch else f"feature/issue-{_name(item.issue.id)}"


def _name(issue: IssueId) -> str:
    return _NOT_IN_NAMES.sub("-", issue).strip("-") or "issue"
