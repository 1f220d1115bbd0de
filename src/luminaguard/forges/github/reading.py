"""An issue as GitHub tells it, turned into ours."""

import re

from luminaguard.forges.answers import list_at, names_in, number_at, text_at
from luminaguard.forges.fields import one_line
from luminaguard.forges.github.repository import Repository
from luminaguard.forges.items import is_closed, priority_in
from luminaguard.forges.words import kind_of
from luminaguard.model.ids import IssueId, Json
from luminaguard.model.issue import Issue, IssueState

_ISSUE_URL = re.compile(r"/repos/(?P<full>[^/]+/[^/]+)/issues/(?P<number>\d+)$")


def issue_of(item: Json, *, needs: tuple[IssueId, ...] = (), parent: IssueId | None = None) -> Issue:
    """Turn GitHub's issue into ours, with relations that were read beside it."""
    labels = names_in(list_at(item, "labels"), "name")
    return Issue(
        id=IssueId(str(number_at(item, "number"))),
        title=one_line(text_at(item, "title")) or "untitled",
        body=text_at(item, "body"),
        state=IssueState.CLOSED if is_closed(item) else IssueState.OPEN,
        labels=labels,
        kind=kind_of(text_at(item, "type", "name")) if text_at(item, "type", "name") else None,
        needs=needs,
        parent=parent,
        priority=priority_in(labels),
        author=text_at(item, "user", "login") or None,
        association=text_at(item, "author_association").lower() or None,
        milestone=text_at(item, "milestone", "title") or None,
        url=text_at(item, "html_url") or None,
    )


def reference(item: Json, repository: Repository) -> IssueId | None:
    """Name an issue as seen from `repository`: "12", or "owner/name#12" elsewhere."""
    number = number_at(item, "number")
    full = text_at(item, "repository", "full_name") or _full_of(text_at(item, "repository_url"))
    if number <= 0:
        return None
    return IssueId(str(number) if full.lower() in ("", repository.full.lower()) else f"{full}#{number}")


def parent_of(item: Json, repository: Repository) -> IssueId | None:
    """Name the parent that the issue itself tells."""
    found = _ISSUE_URL.search(text_at(item, "parent_issue_url"))
    if found is None:
        return None
    is_here = found["full"].lower() == repository.full.lower()
    return IssueId(found["number"] if is_here else f"{found['full']}#{found['number']}")


def _full_of(repository_url: str) -> str:
    return "/".join(repository_url.split("/")[-2:]) if "/repos/" in repository_url else ""
