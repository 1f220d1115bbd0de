"""What GraphQL's mutations change: the same functions as behind REST, and the same rights."""

from collections.abc import Callable, Mapping
from typing import Any

from luminaguard.forges.face.answers import RefusalError, not_found
from luminaguard.forges.face.calls import forbidden
from luminaguard.forges.face.graphql.objects import comment, either, fresh, issue, pull
from luminaguard.forges.face.graphql.pull_members import review_value
from luminaguard.forges.face.graphql.values import Asked, Info, Value, asked
from luminaguard.forges.face.merging import MergeForm, merge
from luminaguard.forges.face.names import node_of
from luminaguard.forges.face.pulls import STATES, must_be_branch, open_pull, style_of
from luminaguard.forges.face.relations import add_need, adopt, remove_need
from luminaguard.forges.records import IssueRecord, PullRecord
from luminaguard.forges.store import Changes, Comment
from luminaguard.model.ids import Oid

Input = Mapping[str, Any]
Mutation = Callable[[Asked, Input], Value]


def _number(node: str, kind: str) -> int:
    found = node_of(node)
    if found.kind != kind or not found.key.isdigit() or len(found.key) > 15:
        raise RefusalError(404, f"Could not resolve to a node with the global id of '{node[:80]}'")
    return int(found.key)


def _issue(asking: Asked, node: str) -> IssueRecord:
    record = asking.view.snapshot.issues.get(_number(node, "I"))
    if record is None:
        raise not_found()
    return record


def _pull(asking: Asked, node: str) -> PullRecord:
    record = fresh(asking).view.snapshot.pulls.get(_number(node, "PR"))
    if record is None:
        raise not_found()
    return record


def _labelable(asking: Asked, node: str) -> IssueRecord | PullRecord:
    return _pull(asking, node) if node.startswith("PR_") else _issue(asking, node)


def _again(asking: Asked, it: IssueRecord | PullRecord) -> Value:
    """Give an issue or a pull request as it is after a change."""
    seen = asking.look_again().snapshot
    return either(asking, seen.issues[it.number] if isinstance(it, IssueRecord) else seen.pulls[it.number])


def _names(nodes: list[str] | None) -> tuple[str, ...] | None:
    return None if nodes is None else tuple(node_of(node).key for node in nodes)


def create_issue(asking: Asked, said: Input) -> Value:
    """Create an issue, with its parent where one is named."""
    changes = Changes(body=said.get("body") or "", author=asking.call.holder.login)
    if labels := _names(said.get("labelIds")):
        changes["labels"] = labels
    if milestone := said.get("milestoneId"):
        changes["milestone"] = node_of(milestone).key
    if parent := said.get("parentIssueId"):
        changes["parent"] = _issue(asking, parent).issue.id
    made = asking.view.site.store.add(said["title"], **changes)
    seen = asking.look_again().snapshot
    return {"issue": issue(asking, seen.issues[seen.numbers[made.id]])}


def update_issue(asking: Asked, said: Input) -> Value:
    """Change what an issue says, and whether it is open."""
    it = _issue(asking, said["id"])
    changes = Changes()
    if said.get("body") is not None:
        changes["body"] = said["body"]
    if (labels := _names(said.get("labelIds"))) is not None:
        changes["labels"] = labels
    if "milestoneId" in said:
        changes["milestone"] = node_of(said["milestoneId"]).key if said["milestoneId"] else None
    store, who = asking.view.site.store, asking.call.holder.login
    store.edit(it.issue.id, title=said.get("title"), **changes)
    if said.get("state") == "CLOSED":
        store.close(it.issue.id, who=who)
    elif said.get("state") == "OPEN":
        store.reopen(it.issue.id, who=who)
    return {"issue": _again(asking, it)}


def close_issue(asking: Asked, said: Input) -> Value:
    """Close an issue."""
    it = _issue(asking, said["issueId"])
    reason = (said.get("stateReason") or "COMPLETED").lower()
    asking.view.site.store.close(it.issue.id, reason=reason, who=asking.call.holder.login)
    return {"issue": _again(asking, it)}


def reopen_issue(asking: Asked, said: Input) -> Value:
    """Open an issue again."""
    it = _issue(asking, said["issueId"])
    asking.view.site.store.reopen(it.issue.id, who=asking.call.holder.login)
    return {"issue": _again(asking, it)}


def add_comment(asking: Asked, said: Input) -> Value:
    """Comment on an issue or a pull request: the one change that a token for an issue may make to it."""
    it = _labelable(asking, said["subjectId"])
    subject = it.subject if isinstance(it, PullRecord) else it.issue.id
    if not asking.call.holder.may_comment(subject):
        raise forbidden()
    if not said["body"].strip():
        raise RefusalError(422, "Body cannot be blank")
    made = asking.view.site.say(subject, said["body"], holder=asking.call.holder)
    node = _again(asking, it)
    return {"subject": node, "commentEdge": {"cursor": "", "node": comment(asking, made, it.number)}}


def _own_comment(asking: Asked, node: str) -> tuple[Comment, int]:
    found = asking.view.site.talk.comment(_number(node, "IC"))
    if found is None:
        raise not_found()
    holder = asking.call.holder
    if not (found.author == holder.login and holder.may_comment(found.subject)):
        asking.call.must_be_full()
    bare = found.subject.removeprefix("pull:")
    return found, int(bare) if bare != found.subject else asking.view.snapshot.numbers[found.subject]


def update_comment(asking: Asked, said: Input) -> Value:
    """Change a comment's text."""
    found, number = _own_comment(asking, said["id"])
    found = asking.view.site.reword(found, said["body"], holder=asking.call.holder)
    return {"issueComment": comment(asking, found, number)}


def delete_comment(asking: Asked, said: Input) -> Value:
    """Take a comment away."""
    found, _ = _own_comment(asking, said["id"])
    asking.view.site.unsay(found, holder=asking.call.holder)
    return {}


def add_blocked_by(asking: Asked, said: Input) -> Value:
    """Let an issue wait for another."""
    it, need = _issue(asking, said["issueId"]), _issue(asking, said["blockingIssueId"])
    add_need(asking.view, it, need)
    return {"issue": _again(asking, it), "blockingIssue": _again(asking, need)}


def remove_blocked_by(asking: Asked, said: Input) -> Value:
    """Let an issue wait no longer for another."""
    it, need = _issue(asking, said["issueId"]), _issue(asking, said["blockingIssueId"])
    remove_need(asking.view, it, need)
    return {"issue": _again(asking, it), "blockingIssue": _again(asking, need)}


def add_sub_issue(asking: Asked, said: Input) -> Value:
    """Put an issue below another."""
    if not said.get("subIssueId"):
        raise RefusalError(422, "subIssueId is needed")
    above, child = _issue(asking, said["issueId"]), _issue(asking, said["subIssueId"])
    adopt(asking.view, above, child, is_moved=bool(said.get("replaceParent")))
    return {"issue": _again(asking, above), "subIssue": _again(asking, child)}


def remove_sub_issue(asking: Asked, said: Input) -> Value:
    """Take an issue out from below another."""
    above, child = _issue(asking, said["issueId"]), _issue(asking, said["subIssueId"])
    if asking.view.snapshot.parent.get(child.number) != above.number:
        raise not_found()
    asking.view.site.store.edit(child.issue.id, parent=None)
    return {"issue": _again(asking, above), "subIssue": _again(asking, child)}


def _relabel(asking: Asked, said: Input, change: Callable[[tuple[str, ...], tuple[str, ...]], list[str]]) -> Value:
    it = _labelable(asking, said["labelableId"])
    named = _names(said["labelIds"]) or ()
    if isinstance(it, PullRecord):
        who = asking.call.holder.login
        asking.view.site.talk.relabel_pull(it.number, lambda before: change(before, named), who=who)
    else:
        asking.view.site.store.relabel(it.issue.id, lambda before: change(before, named))
    return {"labelable": _again(asking, it)}


def add_labels(asking: Asked, said: Input) -> Value:
    """Add labels."""
    return _relabel(asking, said, lambda before, named: [*before, *named])


def remove_labels(asking: Asked, said: Input) -> Value:
    """Take labels away."""
    return _relabel(asking, said, lambda before, named: [it for it in before if it not in named])


def create_pull(asking: Asked, said: Input) -> Value:
    """Open a pull request for a branch."""
    number = open_pull(
        fresh(asking).view,
        head=said["headRefName"],
        base=said["baseRefName"].removeprefix("refs/heads/"),
        title=said["title"],
        body=said.get("body") or "",
        author=asking.call.holder.login,
        draft=bool(said.get("draft")),
    )
    return {"pullRequest": pull(asking, asking.look_again().snapshot.pulls[number])}


def update_pull(asking: Asked, said: Input) -> Value:
    """Change a pull request."""
    it = _pull(asking, said["pullRequestId"])
    columns = {"title": "title", "body": "body", "baseRefName": "target"}
    changes: dict[str, Any] = {column: said[key] for key, column in columns.items() if said.get(key) is not None}
    if "target" in changes:
        must_be_branch(asking.view.site, changes["target"])
    if (labels := _names(said.get("labelIds"))) is not None:
        changes["labels"] = labels
    talk, who = asking.view.site.talk, asking.call.holder.login
    talk.edit_pull(it.number, who=who, **changes)
    if said.get("state"):
        talk.turn_pull(it.number, is_closed=said["state"] == "CLOSED", who=who)
    return {"pullRequest": _again(asking, it)}


def _turned(*, is_closed: bool) -> Mutation:
    def mutate(asking: Asked, said: Input) -> Value:
        it = _pull(asking, said["pullRequestId"])
        asking.view.site.talk.turn_pull(it.number, is_closed=is_closed, who=asking.call.holder.login)
        return {"pullRequest": _again(asking, it)}

    return mutate


def _drafted(*, is_draft: bool) -> Mutation:
    def mutate(asking: Asked, said: Input) -> Value:
        it = _pull(asking, said["pullRequestId"])
        asking.view.site.talk.edit_pull(it.number, who=asking.call.holder.login, is_draft=is_draft)
        return {"pullRequest": _again(asking, it)}

    return mutate


def merge_pull(asking: Asked, said: Input) -> Value:
    """Merge a pull request."""
    it = _pull(asking, said["pullRequestId"])
    form = MergeForm(
        style=style_of((said.get("mergeMethod") or "MERGE").lower()),
        head=said.get("expectedHeadOid"),
        title=said.get("commitHeadline"),
        message=said.get("commitBody"),
    )
    merge(asking.view.site, it, form, who=asking.call.holder.login)
    return {"pullRequest": _again(asking, it)}


def add_review(asking: Asked, said: Input) -> Value:
    """Add a review."""
    it, who = _pull(asking, said["pullRequestId"]), asking.call.holder.login
    event = said.get("event") or "COMMENT"
    if event not in STATES:
        raise RefusalError(422, f"{event} is not supported")
    if event == "APPROVE" and it.author in (who, None):
        raise RefusalError(422, "Review Can not approve your own pull request")
    head = Oid(said.get("commitOID") or it.head)
    talk = asking.view.site.talk
    made = talk.review(it.number, author=who, state=STATES[event], text=said.get("body") or "", head=head)
    asking.look_again()
    return {"pullRequestReview": review_value(asking, made)}


FREE: frozenset[str] = frozenset({"addComment", "updateIssueComment", "deleteIssueComment"})
"""The mutations that look at the rights by themselves; all others are for the full token."""

MUTATIONS: Mapping[str, Mutation] = {
    "createIssue": create_issue,
    "updateIssue": update_issue,
    "closeIssue": close_issue,
    "reopenIssue": reopen_issue,
    "addComment": add_comment,
    "updateIssueComment": update_comment,
    "deleteIssueComment": delete_comment,
    "addBlockedBy": add_blocked_by,
    "removeBlockedBy": remove_blocked_by,
    "addSubIssue": add_sub_issue,
    "removeSubIssue": remove_sub_issue,
    "addLabelsToLabelable": add_labels,
    "removeLabelsFromLabelable": remove_labels,
    "createPullRequest": create_pull,
    "updatePullRequest": update_pull,
    "closePullRequest": _turned(is_closed=True),
    "reopenPullRequest": _turned(is_closed=False),
    "mergePullRequest": merge_pull,
    "markPullRequestReadyForReview": _drafted(is_draft=False),
    "convertPullRequestToDraft": _drafted(is_draft=True),
    "addPullRequestReview": add_review,
}


def resolver(name: str) -> Callable[..., Value]:
    """Make the resolver of a mutation."""

    def resolve(info: Info, input: Input) -> Value:  # noqa: A002 GraphQL's name
        asking = asked(info)
        if name not in FREE:
            asking.call.must_be_full()
        return {"clientMutationId": input.get("clientMutationId"), **MUTATIONS[name](asking, input)}

    return resolve
