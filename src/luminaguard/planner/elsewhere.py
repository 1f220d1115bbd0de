"""What issues refer to that is not among them: filters let part of a forge's issues through, and may hide a need."""

import re
from collections.abc import Mapping, Sequence

from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Issue, IssueState
from luminaguard.planner.directory import Directory
from luminaguard.planner.edges import claims
from luminaguard.planner.prose import read
from luminaguard.planner.references import Reader

_NUMBER = re.compile(r"(?:/(?:issues|pull)/|#|\bGH-|^)(?P<number>\d+)(?![\w.])", re.IGNORECASE)


def elsewhere(issues: Sequence[Issue], *, repository: str | None = None) -> Mapping[IssueId, tuple[IssueId, ...]]:
    """List by open issue the numbers that its fields and its text name and that no issue here has.

    Args:
        issues: all issues that were read, open and closed.
        repository: "owner/name" of this repository; other repositories' issues are not listed.
    """
    unfinished = tuple(issue for issue in issues if issue.state is IssueState.OPEN)
    reader = Reader(directory=Directory(issue.id for issue in issues), repository=repository)
    unknown = claims(unfinished, {issue.id: read(issue.body) for issue in unfinished}, reader).unknown
    numbered = {issue: tuple(dict.fromkeys(_numbers(names))) for issue, names in unknown.items()}
    return {issue: numbers for issue, numbers in numbered.items() if numbers}


def _numbers(names: Sequence[str]) -> list[IssueId]:
    return [IssueId(found["number"]) for name in names if (found := _NUMBER.search(name)) is not None]
