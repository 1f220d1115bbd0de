"""Endpoints of issues: list, show, create, edit, comments, labels, dependencies, sub-issues."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from luminaguard.forges.face.answers import Answer, RefusalError, invalid, not_found
from luminaguard.forges.face.calls import Call, forbidden, issue_in, pull_in
from luminaguard.forges.face.names import iso
from luminaguard.forges.face.shapes import (
    comment,
    issue,
    label,
    labels,
    login_in,
    milestone,
    milestones,
    pull_as_issue,
)
from luminaguard.forges.face.site import View
from luminaguard.forges.records import IssueRecord, PullRecord
from luminaguard.forges.store import Changes, Comment
from luminaguard.forges.talk import GREY, Label
from luminaguard.model.ids import IssueId, Json

Either = IssueRecord | PullRecord


def listed(call: Call) -> Answer:
    """List issues and pull requests, as GitHub does, newest first."""
    view = call.view()
    everything: list[Either] = [*view.snapshot.issues.values(), *view.snapshot.pulls.values()]
    wanted = [it for it in everything if _is_wanted(view, it, call.query)]
    by = {"updated": lambda it: (it.updated, it.number), "comments": lambda it: (it.comments, it.number)}
    key: Callable[[Either], object] = by.get(call.query.get("sort", ""), lambda it: (it.created, it.number))
    wanted.sort(key=key, reverse=call.query.get("direction") != "asc")  # type: ignore[arg-type]
    return call.paged(wanted, lambda it: _shown(view, it))


def _shown(view: View, it: Either) -> Json:
    return issue(view, it) if isinstance(it, IssueRecord) else pull_as_issue(view, it)


def _is_wanted(view: View, it: Either, query: Mapping[str, str]) -> bool:
    state = query.get("state", "open")
    if state not in ("open", "closed", "all"):
        raise invalid("Issue", "state")
    if state != "all" and it.is_open is (state == "closed"):
        return False
    if not {name.strip().lower() for name in query.get("labels", "").split(",") if name.strip()} <= _labels_of(it):
        return False
    author = it.issue.author if isinstance(it, IssueRecord) else it.author
    if (creator := query.get("creator")) and login_in(view, author).lower() != creator.lower():
        return False
    if query.get("assignee", "none") not in ("none", "*") or query.get("assignee") == "*":
        return False  # nobody is assigned here
    return _has_milestone(view, it, query.get("milestone")) and _is_since(it, query.get("since"))


def _labels_of(it: Either) -> set[str]:
    return {name.lower() for name in (it.issue.labels if isinstance(it, IssueRecord) else it.labels)}


def _has_milestone(view: View, it: Either, wanted: str | None) -> bool:
    title = it.issue.milestone if isinstance(it, IssueRecord) else None
    if wanted in (None, "*", "none"):
        return wanted is None or (title is None) is (wanted == "none")
    return title is not None and str(milestones(view).get(title)) == wanted


def _is_since(it: Either, since: str | None) -> bool:
    return since is None or iso(it.updated) >= since


def made(call: Call) -> Answer:
    """Create an issue."""
    call.must_be_full()
    title = call.text("title", "Issue")
    said = _said(call, Changes(author=call.holder.login))
    found = call.site.store.add(title, **said)
    view = call.view()
    return Answer(body=issue(view, view.snapshot.issues[view.snapshot.numbers[found.id]]), status=201)


def _said(call: Call, said: Changes) -> Changes:
    if "body" in call.body:
        said["body"] = call.text("body", "Issue", otherwise="")
    if (names := call.names("labels", "Issue")) is not None:
        said["labels"] = names
    if "milestone" in call.body:
        said["milestone"] = _milestone(call)
    return said


def _milestone(call: Call) -> str | None:
    wanted = call.body["milestone"]
    if wanted is None:
        return None
    found = next((title for title, number in milestones(call.view()).items() if str(number) == str(wanted)), None)
    if found is None:
        raise invalid("Issue", "milestone")
    return found


def shown(call: Call) -> Answer:
    """Show an issue, or a pull request as one."""
    view, number = call.view(), call.number()
    if number in view.snapshot.pulls:
        return Answer(body=pull_as_issue(view, view.snapshot.pulls[number]))
    return Answer(body=issue(view, issue_in(view, number)))


def edited(call: Call) -> Answer:
    """Change an issue: what it says, and whether it is open."""
    call.must_be_full()
    view, number = call.view(), call.number()
    if number in view.snapshot.pulls:
        return _edited_pull(call, pull_in(view, number))
    found = issue_in(view, number).issue
    title = call.text("title", "Issue") if call.body.get("title") is not None else None
    call.site.store.edit(found.id, title=title, **_said(call, Changes()))
    turn(call, found.id)
    return shown(call)


def turn(call: Call, issue_id: IssueId) -> None:
    """Close or open an issue as the body says."""
    state = call.body.get("state")
    if state is None:
        return
    reason = call.body.get("state_reason") or "completed"
    if state not in ("open", "closed") or reason not in ("completed", "not_planned", "duplicate", "reopened"):
        raise invalid("Issue", "state")
    if state == "closed":
        call.site.store.close(issue_id, reason=str(reason), who=call.holder.login)
    else:
        call.site.store.reopen(issue_id, who=call.holder.login)


def _edited_pull(call: Call, it: PullRecord) -> Answer:
    changes = {key: call.text(key, "Issue", otherwise="") for key in ("title", "body") if key in call.body}
    call.site.talk.edit_pull(it.number, who=call.holder.login, **changes)
    if (names := call.names("labels", "Issue")) is not None:
        call.site.talk.edit_pull(it.number, who=call.holder.login, labels=names)
    if call.body.get("state") in ("open", "closed"):
        call.site.talk.turn_pull(it.number, is_closed=call.body["state"] == "closed", who=call.holder.login)
    return shown(call)


# Comments


def subject_of(view: View, number: int) -> str:
    """Give the tracker's name of what a number stands for."""
    if number in view.snapshot.pulls:
        return view.snapshot.pulls[number].subject
    return issue_in(view, number).issue.id


def comments(call: Call) -> Answer:
    """List the comments on an issue or a pull request, oldest first."""
    view, number = call.view(), call.number()
    found = call.site.comments(subject_of(view, number))
    return call.paged(found, lambda it: comment(view, it, number))


def commented(call: Call) -> Answer:
    """Comment on an issue or a pull request."""
    view, number = call.view(), call.number()
    subject = subject_of(view, number)
    if not call.holder.may_comment(subject):
        raise forbidden()
    said = call.text("body", "IssueComment")
    if not said.strip():
        raise invalid("IssueComment", "body", code="missing_field")
    found = call.site.say(subject, said, holder=call.holder)
    return Answer(body=comment(view, found, number), status=201)


def _comment(call: Call, view: View) -> tuple[Comment, int]:
    found = call.site.talk.comment(call.number())
    if found is None:
        raise not_found()
    bare = found.subject.removeprefix("pull:")
    number = int(bare) if bare != found.subject else view.snapshot.numbers.get(found.subject)
    if number is None:
        raise not_found()
    return found, number


def _own_comment(call: Call, view: View) -> tuple[Comment, int]:
    found, number = _comment(call, view)
    is_own = found.author == call.holder.login and call.holder.may_comment(found.subject)
    if not is_own:
        call.must_be_full()
    return found, number


def shown_comment(call: Call) -> Answer:
    """Show a comment."""
    view = call.view()
    return Answer(body=comment(view, *_comment(call, view)))


def edited_comment(call: Call) -> Answer:
    """Change a comment's text; without the full token, only one's own."""
    view = call.view()
    found, number = _own_comment(call, view)
    found = call.site.reword(found, call.text("body", "IssueComment"), holder=call.holder)
    return Answer(body=comment(view, found, number))


def deleted_comment(call: Call) -> Answer:
    """Take a comment away; without the full token, only one's own."""
    found, _ = _own_comment(call, call.view())
    call.site.unsay(found, holder=call.holder)
    return Answer(status=204)


# Labels


def all_labels(call: Call) -> Answer:
    """List all labels."""
    return call.paged(_all_labels(call.view()), lambda it: label(call.urls, it))


def _all_labels(view: View) -> tuple[Label, ...]:
    used = [name for it in view.snapshot.issues.values() for name in it.issue.labels]
    used += [name for it in view.snapshot.pulls.values() for name in it.labels]
    return view.site.talk.labels(used)


def _label(view: View, name: str) -> Label:
    found = next((it for it in _all_labels(view) if it.name.lower() == name.lower()), None)
    if found is None:
        raise not_found()
    return found


def shown_label(call: Call) -> Answer:
    """Show a label."""
    return Answer(body=label(call.urls, _label(call.view(), call.params["name"])))


def made_label(call: Call) -> Answer:
    """Make a label."""
    call.must_be_full()
    name = call.text("name", "Label")
    if any(it.name.lower() == name.lower() for it in call.site.talk.labels(())):
        raise invalid("Label", "name", code="already_exists")
    colour = call.text("color", "Label", otherwise=GREY).lstrip("#").lower()
    if len(colour) != 6 or not set(colour) <= set("0123456789abcdef"):
        raise invalid("Label", "color")
    it = Label(name=name, colour=colour, description=call.text("description", "Label", otherwise="") or None)
    call.site.talk.describe(it, who=call.holder.login)
    return Answer(body=label(call.urls, it), status=201)


def labels_of(call: Call) -> Answer:
    """List the labels of an issue or a pull request."""
    view, number = call.view(), call.number()
    names = _named(view, number)
    return call.paged(labels(view, names), lambda it: it)


def _named(view: View, number: int) -> tuple[str, ...]:
    pull = view.snapshot.pulls.get(number)
    return pull.labels if pull is not None else issue_in(view, number).issue.labels


def _label_all(call: Call, change: Callable[[tuple[str, ...]], Iterable[str]]) -> Answer:
    view, number = call.view(), call.number()
    if number in view.snapshot.pulls:
        call.site.talk.relabel_pull(number, change, who=call.holder.login)
    else:
        call.site.store.relabel(issue_in(view, number).issue.id, change)
    after = call.view()
    return Answer(body=labels(after, _named(after, number)))


def labelled(call: Call) -> Answer:
    """Add labels."""
    call.must_be_full()
    added = call.names("labels", "Label") or ()
    return _label_all(call, lambda before: (*before, *added))


def relabelled(call: Call) -> Answer:
    """Replace all labels."""
    call.must_be_full()
    names = call.names("labels", "Label") or ()
    return _label_all(call, lambda _: names)


def unlabelled(call: Call) -> Answer:
    """Take one label away, or all."""
    call.must_be_full()
    before = _named(call.view(), call.number())
    name = call.params.get("name")
    if name is not None and name.lower() not in {it.lower() for it in before}:
        raise RefusalError(404, "Label does not exist")
    answer = _label_all(call, lambda before: [it for it in before if name is not None and it.lower() != name.lower()])
    return replace(answer, body=None, status=204) if name is None else answer


def all_milestones(call: Call) -> Answer:
    """List the milestones that issues name."""
    view = call.view()
    return call.paged(list(milestones(view)), lambda title: milestone(view, title))
