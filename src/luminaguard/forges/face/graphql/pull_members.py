"""What belongs to a pull request as GraphQL members: its work and its reviews."""

from collections.abc import Mapping, Sequence
from functools import partial

from luminaguard.forges.face.diffs import kinds_of, work_of
from luminaguard.forges.face.graphql.people import actor
from luminaguard.forges.face.graphql.values import Asked, Value, nothing, paged
from luminaguard.forges.face.graphql.verdict_objects import commit_value
from luminaguard.forges.face.names import iso, node_id
from luminaguard.forges.face.pull_shapes import Work, mergeable_state
from luminaguard.forges.face.shapes import association
from luminaguard.forges.records import PullRecord
from luminaguard.forges.talk import Review
from luminaguard.model.ids import Oid

_CHANGES = {"added": "ADDED", "removed": "DELETED", "modified": "MODIFIED", "changed": "CHANGED"}


def work_members(asking: Asked, it: PullRecord) -> Value:
    """Give what git says of a pull request; git is asked once, when something of it is wanted."""

    def work() -> Work:
        key = f"work {it.number}"
        if key not in asking.seen:
            asking.seen[key] = work_of(asking.view.site, it)
        found: Work = asking.seen[key]
        return found

    def kinds() -> Mapping[str, str]:
        key = f"kinds {it.number}"
        if key not in asking.seen:
            asking.seen[key] = kinds_of(asking.view.site, it, work().base)
        found: Mapping[str, str] = asking.seen[key]
        return found

    fits = {True: "MERGEABLE", False: "CONFLICTING", None: "UNKNOWN"}
    return {
        "mergeable": lambda _info: fits[work().fits],
        "mergeStateStatus": lambda _info: mergeable_state(it, work()).upper(),
        "additions": lambda _info: sum(file.added for file in work().files),
        "deletions": lambda _info: sum(file.removed for file in work().files),
        "changedFiles": lambda _info: len(work().files),
        "files": paged(
            lambda: work().files,
            lambda file: {
                "path": file.path,
                "additions": file.added,
                "deletions": file.removed,
                "changeType": _CHANGES[kinds().get(file.path, "changed")],
            },
        ),
    }


def review_members(asking: Asked, it: PullRecord) -> Value:
    """Give what people say of a pull request."""

    def reviews() -> tuple[Review, ...]:
        return asking.view.site.talk.reviews(it.number)

    def latest() -> list[Review]:
        return list({review.author: review for review in reviews()}.values())

    return {
        "reviewDecision": lambda _info: decision(latest()),
        "reviews": paged(reviews, partial(review_value, asking)),
        "latestReviews": paged(latest, partial(review_value, asking)),
        "reviewRequests": nothing(),
    }


def decision(latest: Sequence[Review]) -> str | None:
    """Say what everybody's last reviews come to; None where nobody decided."""
    states = {review.state for review in latest}
    for state in ("CHANGES_REQUESTED", "APPROVED"):
        if state in states:
            return state
    return None


def review_value(asking: Asked, it: Review) -> Value:
    """Give a review."""
    return {
        "__typename": "PullRequestReview",
        "id": node_id("PRR", it.seq),
        "body": it.text,
        "author": actor(asking, it.author),
        "authorAssociation": association(asking.view, it.author),
        "state": it.state,
        "submittedAt": iso(it.time),
        "createdAt": iso(it.time),
        "includesCreatedEdit": False,
        "reactionGroups": [],
        "url": f"{asking.view.urls.page}/pull/{it.pull}#pullrequestreview-{it.seq}",
        "commit": lambda _info: commit_value(asking.view, Oid(it.head)),
    }
