"""What holds between the issues of one source: ids are unique, references are spelled as the ids are."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from luminaguard.forges.reading import broken
from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Issue, Origin


def unique(issues: Iterable[Issue], *, key: Callable[[str], str] = str) -> tuple[Issue, ...]:
    """Return the issues as they are.

    Raises:
        UserFault: two have the same id as `key` sees it; names both places.
    """
    seen: dict[str, Issue] = {}
    for issue in issues:
        first = seen.setdefault(key(issue.id), issue)
        if first is not issue:
            here, there = issue.origin or Origin(path="?"), first.origin or Origin(path="?")
            what = f"the id {issue.id!r} is also that of {there.path}:{there.line}"
            raise broken(here.path, here.line, what, hint="give one of the two another id")
    return tuple(seen.values())


def settled(issues: Sequence[Issue], *, key: Callable[[str], str]) -> tuple[Issue, ...]:
    """Spell each reference as the one issue that `key` takes it for; one that fits none or several stays as it is."""
    exact = {issue.id for issue in issues}
    counts = Counter(key(issue.id) for issue in issues)
    ids = {key(issue.id): issue.id for issue in issues if counts[key(issue.id)] == 1}

    def spelled(reference: IssueId) -> IssueId:
        return reference if reference in exact else ids.get(key(reference), reference)

    return tuple(
        replace(
            issue,
            needs=tuple(dict.fromkeys(map(spelled, issue.needs))),
            blocks=tuple(dict.fromkeys(map(spelled, issue.blocks))),
            parent=None if issue.parent is None else spelled(issue.parent),
        )
        for issue in issues
    )


def with_dotted_parents(issues: Sequence[Issue]) -> tuple[Issue, ...]:
    """Make "x-42.4" a child of "x-42" where that is there and nothing else is said."""
    ids = {issue.id for issue in issues}
    return tuple(_child(issue, ids) for issue in issues)


def _child(issue: Issue, ids: set[IssueId]) -> Issue:
    parent = IssueId(issue.id.rpartition(".")[0])
    return replace(issue, parent=parent) if issue.parent is None and parent in ids else issue
