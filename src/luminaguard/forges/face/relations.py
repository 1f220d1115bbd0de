"""Endpoints of what issues are to each other: dependencies and sub-issues, by database id."""

from collections.abc import Mapping

from luminaguard.forges.face.answers import Answer, RefusalError, invalid, not_found
from luminaguard.forges.face.calls import Call, issue_in
from luminaguard.forges.face.issues import shown
from luminaguard.forges.face.names import ISSUES_FROM
from luminaguard.forges.face.shapes import issue
from luminaguard.forges.face.site import View
from luminaguard.forges.records import IssueRecord


def _record(view: View, database_id: int) -> IssueRecord:
    return issue_in(view, database_id - ISSUES_FROM)


def _related(call: Call, numbers: Mapping[int, tuple[int, ...]], view: View) -> Answer:
    found = [view.snapshot.issues[it] for it in numbers.get(issue_in(view, call.number()).number, ())]
    return call.paged(found, lambda it: issue(view, it))


def blocked_by(call: Call) -> Answer:
    """List what an issue waits for."""
    view = call.view()
    return _related(call, view.snapshot.blocked_by, view)


def blocking(call: Call) -> Answer:
    """List what waits for an issue."""
    view = call.view()
    return _related(call, view.snapshot.blocking, view)


def block(call: Call) -> Answer:
    """Let an issue wait for another."""
    call.must_be_full()
    view = call.view()
    add_need(view, issue_in(view, call.number()), _record(view, call.integer("issue_id", "IssueDependency")))
    return Answer(body=shown(call).body, status=201)


def add_need(view: View, it: IssueRecord, need: IssueRecord) -> None:
    """Write down that an issue waits for another."""
    if need.number == it.number:
        raise invalid("IssueDependency", "issue_id", message="An issue cannot block itself")
    if need.number in view.snapshot.blocked_by.get(it.number, ()):
        raise invalid("IssueDependency", "issue_id", code="already_exists")
    view.site.store.add_need(it.issue.id, need.issue.id)


def unblock(call: Call) -> Answer:
    """Let an issue wait no longer for another."""
    call.must_be_full()
    view = call.view()
    text = call.params["issue_id"]
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise not_found()
    it, need = issue_in(view, call.number()), _record(view, int(text))
    if need.number not in view.snapshot.blocked_by.get(it.number, ()):
        raise not_found()
    remove_need(view, it, need)
    return shown(call)


def remove_need(view: View, it: IssueRecord, need: IssueRecord) -> None:
    """Write down that an issue waits no longer for another."""
    if need.issue.id in it.issue.needs:
        view.site.store.remove_need(it.issue.id, need.issue.id)
        return
    # The other issue's file said it: "blocks". The tracker's own words have no such field to take it from.
    raise RefusalError(
        422, f"Issue {need.number} itself says that it blocks {it.number}; change it where it was written"
    )


def sub_issues(call: Call) -> Answer:
    """List the issues below an issue."""
    view = call.view()
    return _related(call, view.snapshot.children, view)


def parent(call: Call) -> Answer:
    """Show the issue above an issue."""
    view = call.view()
    above = view.snapshot.parent.get(issue_in(view, call.number()).number)
    if above is None:
        raise not_found()
    return Answer(body=issue(view, view.snapshot.issues[above]))


def adopted(call: Call) -> Answer:
    """Put an issue below another."""
    call.must_be_full()
    view = call.view()
    child = _record(view, call.integer("sub_issue_id", "SubIssue"))
    adopt(view, issue_in(view, call.number()), child, is_moved=call.body.get("replace_parent") is True)
    return Answer(body=shown(call).body, status=201)


def adopt(view: View, above: IssueRecord, child: IssueRecord, *, is_moved: bool) -> None:
    """Write down that an issue is part of another."""
    if child.number in view.snapshot.parent and not is_moved:
        raise invalid("SubIssue", "sub_issue_id", message="Sub issue may only have one parent")
    over: int | None = above.number
    while over is not None:
        if over == child.number:
            raise invalid("SubIssue", "sub_issue_id", message="An issue cannot be below itself")
        over = view.snapshot.parent.get(over)
    view.site.store.edit(child.issue.id, parent=above.issue.id)


def disowned(call: Call) -> Answer:
    """Take an issue out from below another."""
    call.must_be_full()
    view = call.view()
    child = _record(view, call.integer("sub_issue_id", "SubIssue"))
    if view.snapshot.parent.get(child.number) != issue_in(view, call.number()).number:
        raise not_found()
    view.site.store.edit(child.issue.id, parent=None)
    return shown(call)
