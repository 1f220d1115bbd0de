"""What a task is about, as its `planned` fact fixed it."""

from dataclasses import dataclass

from luminaguard.engine.book import Book
from luminaguard.engine.record import issue_of, text, texts
from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Issue, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One issue of a run: what is asked, on which branch the work goes, what must have landed before."""

    id: IssueId
    issue: Issue
    kind: Kind
    branch: str
    needs: tuple[IssueId, ...]


def assignment_of(book: Book, issue: str) -> Assignment:
    """Read what was planned."""
    planned = book.get(issue, "planned")
    assert planned is not None, issue
    return Assignment(
        id=IssueId(issue),
        issue=issue_of(planned.data["issue"]),
        kind=Kind(text(planned.data, "kind")),
        branch=text(planned.data, "branch"),
        needs=tuple(map(IssueId, texts(planned.data, "needs"))),
    )
