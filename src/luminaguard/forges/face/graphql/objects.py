"""The repository, people, issues and pull requests as GraphQL objects. Members that cost something are functions."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from luminaguard.forges.face.answers import RefusalError
from luminaguard.forges.face.diffs import caught_up
from luminaguard.forges.face.graphql.people import actor, user
from luminaguard.forges.face.graphql.pull_members import review_members, work_members
from luminaguard.forges.face.graphql.search import found_by
from luminaguard.forges.face.graphql.values import Asked, Info, Value, asked, connection, nothing, paged
from luminaguard.forges.face.graphql.verdict_objects import commit_value, commits_connection, rollup
from luminaguard.forges.face.merging import closed_by
from luminaguard.forges.face.names import ISSUES_FROM, PULLS_FROM, iso, node_id
from luminaguard.forges.face.shapes import (
    association,
    dependencies_summary,
    login_in,
    milestones,
    number_for,
    sub_issues_summary,
)
from luminaguard.forges.records import IssueRecord, PullRecord
from luminaguard.forges.store import Comment
from luminaguard.forges.talk import Label

INT_MAX = 2**31 - 1
Either = IssueRecord | PullRecord


def database_id(base: int, number: int) -> int | None:
    """Give a database id where GraphQL's Int can hold it."""
    return base + number if base + number <= INT_MAX else None


def repository(asking: Asked) -> Value:
    """Give the repository."""
    site, urls = asking.view.site, asking.view.urls
    is_full = asking.call.holder.rights == "full"
    return {
        "__typename": "Repository",
        "id": node_id("R", f"{site.owner}/{site.name}"),
        "databaseId": number_for(f"{site.owner}/{site.name}"),
        "name": site.name,
        "nameWithOwner": f"{site.owner}/{site.name}",
        "owner": user(asking, site.owner),
        "url": urls.page,
        "sshUrl": f"{urls.page}.git",
        **dict.fromkeys(("createdAt", "updatedAt", "pushedAt"), iso(0)),
        **dict.fromkeys(("isArchived", "isFork", "isEmpty", "isTemplate", "isMirror", "isInOrganization"), False),
        **dict.fromkeys(("hasWikiEnabled", "hasProjectsEnabled", "hasDiscussionsEnabled"), False),
        "isPrivate": True,
        "hasIssuesEnabled": True,
        "visibility": "PRIVATE",
        "viewerPermission": "ADMIN" if is_full else "READ",
        "viewerCanAdminister": is_full,
        "viewerDefaultMergeMethod": "SQUASH",
        **dict.fromkeys(("mergeCommitAllowed", "squashMergeAllowed"), True),
        **dict.fromkeys(("rebaseMergeAllowed", "autoMergeAllowed", "deleteBranchOnMerge"), False),
        "defaultBranchRef": lambda info: ref(asked(info), site.target),
        "ref": lambda info, qualifiedName: ref(asked(info), qualifiedName.removeprefix("refs/heads/")),  # noqa: N803
        "issue": _issue,
        "pullRequest": _pull,
        "issueOrPullRequest": _either,
        "issues": _issues,
        "pullRequests": _pulls,
        "labels": _labels,
        "label": _label,
        "milestones": _milestones,
        "assignableUsers": paged(lambda: [site.owner], partial(user, asking)),
        **dict.fromkeys(("issueTemplates", "pullRequestTemplates", "contactLinks"), ()),
    }


def _missing(what: str, number: int) -> RefusalError:
    return RefusalError(404, f"Could not resolve to {what} with the number of {number}.")


def _issue(info: Info, number: int) -> Value:
    record = asked(info).view.snapshot.issues.get(number)
    if record is None:
        raise _missing("an Issue", number)
    return issue(asked(info), record)


def _pull(info: Info, number: int) -> Value:
    asking = fresh(asked(info))
    record = asking.view.snapshot.pulls.get(number)
    if record is None:
        raise _missing("a PullRequest", number)
    return pull(asking, record)


def _either(info: Info, number: int) -> Value:
    seen = asked(info).view.snapshot
    if number not in seen.issues and number not in seen.pulls:
        raise _missing("an issue or pull request", number)
    return _issue(info, number) if number in seen.issues else _pull(info, number)


def fresh(asking: Asked) -> Asked:
    """Bring pull requests up to their branches, once in an execution."""
    if "fresh" not in asking.seen:
        asking.view = caught_up(asking.view)
        asking.seen["fresh"] = True
    return asking


def _issues(info: Info, **arguments: Any) -> Value:
    asking = asked(info)
    filters = arguments.get("filterBy") or {}
    states = arguments.get("states") or filters.get("states")
    found = [
        it
        for it in asking.view.snapshot.issues.values()
        if (not states or it.issue.state.value.upper() in states)
        and _has_all(it.issue.labels, arguments.get("labels") or filters.get("labels"))
        and _is_by(asking, it.issue.author, filters.get("createdBy"))
        and not filters.get("assignee")
    ]
    return connection(asking, _ordered(found, arguments), partial(issue, asking), arguments)


def _pulls(info: Info, **arguments: Any) -> Value:
    asking = fresh(asked(info))
    states, head, base = (arguments.get(key) for key in ("states", "headRefName", "baseRefName"))
    found = [
        it
        for it in asking.view.snapshot.pulls.values()
        if (not states or pull_state(it) in states)
        and head in (None, it.branch)
        and base in (None, it.target)
        and _has_all(it.labels, arguments.get("labels"))
    ]
    return connection(asking, _ordered(found, arguments), partial(pull, asking), arguments)


def _has_all(labels: Sequence[str], wanted: Sequence[str] | None) -> bool:
    return {name.lower() for name in wanted or ()} <= {name.lower() for name in labels}


def _is_by(asking: Asked, author: str | None, wanted: str | None) -> bool:
    return wanted is None or login_in(asking.view, author).lower() == wanted.lower()


def _ordered(found: Sequence[Any], arguments: dict[str, Any]) -> list[Any]:
    order = arguments.get("orderBy") or {"field": "CREATED_AT", "direction": "ASC"}
    by = {"UPDATED_AT": "updated", "COMMENTS": "comments"}.get(order["field"], "created")
    return sorted(found, key=lambda it: (getattr(it, by), it.number), reverse=order["direction"] == "DESC")


def search(info: Info, query: str, type: str, **arguments: Any) -> Value:  # noqa: A002 GraphQL's name
    """Search issues and pull requests."""
    asking = fresh(asked(info))
    found = found_by(asking.view, query) if type == "ISSUE" else []
    answer = connection(asking, found, partial(either, asking), arguments)
    return {**answer, "issueCount": len(found), "repositoryCount": 0, "userCount": 0}


def either(asking: Asked, it: Either) -> Value:
    """Give an issue or a pull request."""
    return issue(asking, it) if isinstance(it, IssueRecord) else pull(asking, it)


def _all_labels(asking: Asked) -> Sequence[Label]:
    seen = asking.view.snapshot
    used = [name for it in seen.issues.values() for name in it.issue.labels]
    return asking.view.site.talk.labels([*used, *(name for it in seen.pulls.values() for name in it.labels)])


def _labels(info: Info, query: str | None = None, **arguments: Any) -> Value:
    asking = asked(info)
    found = [it for it in _all_labels(asking) if (query or "").lower() in it.name.lower()]
    return connection(asking, found, partial(label, asking), arguments)


def _label(info: Info, name: str) -> Value | None:
    found = next((it for it in _all_labels(asked(info)) if it.name.lower() == name.lower()), None)
    return None if found is None else label(asked(info), found)


def label(asking: Asked, it: Label) -> Value:
    """Give a label."""
    return {
        "__typename": "Label",
        "id": node_id("LA", it.name),
        "name": it.name,
        "color": it.colour,
        "description": it.description,
        "isDefault": False,
        "url": f"{asking.view.urls.page}/labels/{it.name}",
    }


def _milestones(info: Info, **arguments: Any) -> Value:
    asking = asked(info)
    arguments.pop("query", None)
    return connection(asking, list(milestones(asking.view)), lambda title: milestone(asking, title) or {}, arguments)


def milestone(asking: Asked, title: str | None) -> Value | None:
    """Give a milestone; None where there is none."""
    if not title:
        return None
    number = milestones(asking.view)[title]
    return {"id": node_id("MI", title), "number": number, "title": title, "state": "OPEN"}


def ref(asking: Asked, name: str) -> Value | None:
    """Give a branch; None where it is not there."""
    tip = asking.view.site.heads().get(name)
    if tip is None:
        return None
    target = partial(commit_value, asking.view, tip)
    return {
        "__typename": "Ref",
        "id": node_id("REF", name),
        "name": name,
        "prefix": "refs/heads/",
        "target": lambda _info: target(),
    }


def _both(asking: Asked, it: Either, author: str | None, said: str | None) -> Value:
    """Give what issues and pull requests have in common."""
    view = asking.view
    subject = it.subject if isinstance(it, PullRecord) else it.issue.id
    names = it.labels if isinstance(it, PullRecord) else it.issue.labels
    return {
        "number": it.number,
        "createdAt": iso(it.created),
        "updatedAt": iso(it.updated),
        "closed": not it.is_open,
        "closedAt": None if it.closed is None else iso(it.closed),
        "author": actor(asking, author),
        "authorAssociation": association(view, author, said),
        "locked": False,
        "repository": lambda info: repository(asked(info)),
        "labels": paged(lambda: _named(asking, names), partial(label, asking)),
        "assignees": nothing(),
        "comments": paged(lambda: view.site.comments(subject), lambda one: comment(asking, one, it.number)),
        "reactionGroups": [],
        "projectItems": nothing(),
    }


def _named(asking: Asked, names: Sequence[str]) -> list[Label]:
    known = {it.name.lower(): it for it in asking.view.site.talk.labels(())} if names else {}
    return [known.get(name.lower(), Label(name=name)) for name in names]


def issue(asking: Asked, it: IssueRecord) -> Value:
    """Give an issue."""
    view, said = asking.view, it.issue
    seen = view.snapshot
    above = seen.parent.get(it.number)

    def others(numbers: Sequence[int]) -> Callable[..., Value]:
        return paged(lambda: [seen.issues[number] for number in numbers], partial(issue, asking))

    return {
        "__typename": "Issue",
        "id": node_id("I", it.number),
        "databaseId": database_id(ISSUES_FROM, it.number),
        "fullDatabaseId": str(ISSUES_FROM + it.number),
        "title": said.title,
        "body": said.body,
        "state": said.state.value.upper(),
        "stateReason": None if it.turn is None else it.turn.reason.upper(),
        "url": f"{view.urls.page}/issues/{it.number}",
        **_both(asking, it, said.author, said.association),
        "isPinned": False,
        "milestone": lambda info: milestone(asked(info), said.milestone),
        "parent": lambda info: None if above is None else issue(asked(info), seen.issues[above]),
        "subIssues": others(seen.children.get(it.number, ())),
        "subIssuesSummary": _camel(sub_issues_summary(view, it.number)),
        "blockedBy": others(seen.blocked_by.get(it.number, ())),
        "blocking": others(seen.blocking.get(it.number, ())),
        "issueDependenciesSummary": _camel(dependencies_summary(view, it.number)),
        "closedByPullRequestsReferences": _closers(asking, it),
    }


def _camel(shape: dict[str, Any]) -> Value:
    names = {key: "".join(part.title() for part in key.split("_")) for key in shape}
    return {name[0].lower() + name[1:]: shape[key] for key, name in names.items()}


def _closers(asking: Asked, it: IssueRecord) -> Callable[..., Value]:
    def resolve(info: Info, **arguments: Any) -> Value:
        every = arguments.pop("includeClosedPrs", False)
        pulls = [one for one in asking.view.snapshot.pulls.values() if one.is_open or one.merged or every]
        found = [one for one in pulls if it.number in _closing(asking, one)]
        return connection(asked(info), found, partial(pull, asked(info)), arguments)

    return resolve


def _closing(asking: Asked, it: PullRecord) -> tuple[int, ...]:
    site = asking.view.site
    found = closed_by(it.body, repository=f"{site.owner}/{site.name}")
    return tuple(number for number in found if number in asking.view.snapshot.issues)


def comment(asking: Asked, it: Comment, number: int) -> Value:
    """Give a comment on the issue or pull request with that number."""
    kind = "pull" if number in asking.view.snapshot.pulls else "issues"
    return {
        "__typename": "IssueComment",
        "id": node_id("IC", it.seq),
        "databaseId": database_id(0, it.seq),
        "fullDatabaseId": str(it.seq),
        "body": it.text,
        "author": actor(asking, it.author),
        "authorAssociation": association(asking.view, it.author),
        "createdAt": iso(it.time),
        "updatedAt": iso(it.edited or it.time),
        "includesCreatedEdit": it.edited is not None,
        "isMinimized": False,
        "reactionGroups": [],
        "url": f"{asking.view.urls.page}/{kind}/{number}#issuecomment-{it.seq}",
        "viewerDidAuthor": it.author == asking.call.holder.login,
    }


def pull_state(it: PullRecord) -> str:
    """Give a pull request's state in GraphQL's word."""
    return "MERGED" if it.merged is not None else "CLOSED" if it.is_closed else "OPEN"


def pull(asking: Asked, it: PullRecord) -> Value:
    """Give a pull request."""
    view = asking.view
    merged_at = iso(it.closed or 0) if it.merged is not None else None
    return {
        "__typename": "PullRequest",
        "id": node_id("PR", it.number),
        "databaseId": database_id(PULLS_FROM, it.number),
        "fullDatabaseId": str(PULLS_FROM + it.number),
        "title": it.title,
        "body": it.body,
        "state": pull_state(it),
        "url": f"{view.urls.page}/pull/{it.number}",
        **_both(asking, it, it.author, None),
        "isDraft": it.is_draft,
        "merged": it.merged is not None,
        "mergedAt": merged_at,
        "mergedBy": actor(asking, it.turn.who) if it.merged is not None and it.turn is not None else None,
        "mergeCommit": lambda _info: None if it.merged is None else commit_value(view, it.merged),
        **_ends(asking, it),
        **work_members(asking, it),
        **dict.fromkeys(("maintainerCanModify", "isInMergeQueue", "isMergeQueueEnabled", "canBeRebased"), False),
        "commits": commits_connection(view, it),
        "statusCheckRollup": lambda _info: rollup(view, it.head),
        **review_members(asking, it),
        "closingIssuesReferences": paged(
            lambda: [view.snapshot.issues[number] for number in _closing(asking, it)], partial(issue, asking)
        ),
    }


def _ends(asking: Asked, it: PullRecord) -> Value:
    site = asking.view.site
    return {
        "headRefName": it.branch,
        "headRefOid": it.head,
        "headRef": lambda info: ref(asked(info), it.branch),
        "headRepository": lambda info: repository(asked(info)),
        "headRepositoryOwner": user(asking, site.owner),
        "baseRefName": it.target,
        "baseRefOid": lambda _info: site.commit(it.target) or it.head,
        "baseRef": lambda info: ref(asked(info), it.target),
        "baseRepository": lambda info: repository(asked(info)),
        "isCrossRepository": False,
    }
