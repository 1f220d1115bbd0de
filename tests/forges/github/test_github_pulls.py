"""Pull requests on GitHub: looked up before they are made, reviewed, checked, merged."""

from functools import partial
from typing import Any

import anyio
import pytest
from github_driver import Opened
from github_server import Broken, Server

from luminaguard.forges.base import CheckState, Merged, NotMerged, Pull, PullDraft, ReportPlace, ReviewNote, Rules
from luminaguard.forges.github.forge import GitHub
from luminaguard.model.faults import Transient, UserFault
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.work import Finding, Severity

HEAD, LANDED = Oid("a" * 40), Oid("c" * 40)
BRANCH = "luminaguard/1"


def draft(**more: Any) -> PullDraft:
    said: dict[str, Any] = {
        "branch": BRANCH,
        "head": HEAD,
        "target": "main",
        "issue": IssueId("1"),
        "title": "First",
        "body": "Closes #1",
    }
    return PullDraft(**{**said, **more})


@pytest.fixture
def pull(server: Server, opened: Opened) -> Pull:
    """A pull request of ours for issue 1, number 2."""
    server.add_issue("First")
    server.branches[BRANCH] = HEAD
    return anyio.run(opened().open_pull, draft())


def merge(forge: GitHub, pull: Pull, *, head: Oid = HEAD) -> Merged | NotMerged:
    return anyio.run(partial(forge.merge, pull.id, head=head, style="squash", message="First (#2)\n\nWhy."))


def rules(forge: GitHub) -> Rules:
    return anyio.run(forge.rules, "main")


def report(forge: GitHub, state: CheckState, text: str = "12 passed") -> None:
    anyio.run(partial(forge.report_check, HEAD, name="luminaguard", state=state, text=text))


def test_pull_is_made_once_and_brought_up_to_the_draft(server: Server, opened: Opened, pull: Pull) -> None:
    again = anyio.run(opened().open_pull, draft(title="Better", labels=("agent",)))
    assert (again.id, again.title, again.url) == (pull.id, "Better", "https://github.com/octo/demo/pull/2")
    assert (server.items[2]["title"], server.items[2]["labels"]) == ("Better", ["agent"])
    assert len(server.pulls()) == 1


def test_draft_becomes_ready(server: Server, opened: Opened, pull: Pull) -> None:
    assert not pull.is_draft
    assert anyio.run(opened().open_pull, draft(is_draft=True)).is_draft
    assert server.items[2]["draft"] is True
    assert not anyio.run(opened().open_pull, draft()).is_draft
    assert server.items[2]["draft"] is False


def test_draft_that_cannot_be_made_ready_is_told(server: Server, opened: Opened, pull: Pull) -> None:
    server.items[2]["draft"] = True
    server.refuses = {"/graphql": (403, {})}
    with pytest.raises(UserFault, match="may not POST"):
        anyio.run(opened().open_pull, draft())
    assert anyio.run(opened().open_pull, draft(is_draft=True)).is_draft


def test_branch_that_was_not_pushed_is_the_users_fault(server: Server, forge: GitHub) -> None:
    with pytest.raises(UserFault, match="luminaguard/1 into main"):
        anyio.run(forge.open_pull, draft())


def test_pull_that_a_person_closed_is_opened_again(server: Server, opened: Opened, pull: Pull) -> None:
    server.items[2]["state"] = "closed"
    assert anyio.run(opened().open_pull, draft()).id == pull.id
    assert server.items[2]["state"] == "open"


def test_landed_by_a_push_is_closed_with_a_comment_and_remembered(server: Server, opened: Opened, pull: Pull) -> None:
    for _ in range(2):
        anyio.run(partial(opened().mark_merged, pull.id, commit=LANDED))
    assert server.items[2]["state"] == "closed"
    assert [one.partition("\n")[0] for one in server.comments_on(2)] == [f"Landed on `main` as {LANDED}."]
    assert anyio.run(opened().open_pull, draft()).merged == LANDED
    server.branches[BRANCH] = "b" * 40
    assert anyio.run(opened().open_pull, draft(head=Oid("b" * 40))).id != pull.id


def test_merge_that_github_sees_by_itself_is_left_to_it(server: Server, opened: Opened, pull: Pull) -> None:
    server.contained.add((LANDED, HEAD))
    server.merged(server.items[2])
    anyio.run(partial(opened().mark_merged, pull.id, commit=LANDED))
    assert server.comments_on(2) == []


def test_merge_by_api_wants_the_expected_head_and_is_done_once(server: Server, opened: Opened, pull: Pull) -> None:
    wrong = merge(opened(), pull, head=Oid("b" * 40))
    assert isinstance(wrong, NotMerged)
    assert "moved" in wrong.why
    assert merge(opened(), pull) == merge(opened(), pull) == Merged(commit=Oid(server.items[2]["merge_commit_sha"]))
    assert server.merges == [2]


def test_queue_is_joined_once_waited_for_and_its_no_is_told(server: Server, forge: GitHub, pull: Pull) -> None:
    server.rules = [{"type": "merge_queue"}]
    for _ in range(2):
        waiting = merge(forge, pull)
        assert isinstance(waiting, NotMerged)
        assert waiting.is_waiting
    assert server.queue == [2]
    server.queue, server.dropped = [], {2: "failed checks"}
    dropped = merge(forge, pull)
    assert isinstance(dropped, NotMerged)
    assert not dropped.is_waiting
    assert "failed checks" in dropped.why
    commit = server.merged(server.items[2])
    assert merge(forge, pull) == Merged(commit=Oid(commit))


def test_auto_merge_takes_over_what_waits_for_checks(server: Server, opened: Opened, pull: Pull) -> None:
    server.items[2]["mergeable_state"] = "blocked"
    blocked = merge(opened(), pull)
    assert isinstance(blocked, NotMerged)
    assert "approving review" in blocked.why
    server.auto_allowed = True
    for _ in range(2):
        waiting = merge(opened(), pull)
        assert isinstance(waiting, NotMerged)
        assert waiting.is_waiting
    assert server.auto == {2}


def test_conflict_is_told_and_not_waited_for(server: Server, opened: Opened, pull: Pull) -> None:
    server.items[2]["mergeable"] = False
    outcome = merge(opened(), pull)
    assert isinstance(outcome, NotMerged)
    assert not outcome.is_waiting


def test_review_stands_on_lines_of_the_diff_and_once(server: Server, opened: Opened, pull: Pull) -> None:
    server.files = [{"filename": "a.py", "patch": "@@ -1,2 +4,3 @@\n one\n+two\n-gone\n three"}]
    findings = (
        Finding(severity=Severity.HIGH, file="a.py", line=5, text="on the line"),
        Finding(severity=Severity.LOW, file="a.py", line=90, text="far away"),
        Finding(severity=Severity.LOW, file="b.py", line=1, text="elsewhere"),
    )
    note = ReviewNote(commit=HEAD, ok=False, text="Not yet.", findings=findings)
    for _ in range(2):
        anyio.run(opened().post_review, pull.id, note)
    [review] = server.reviews.values()
    assert review["state"] == "COMMENTED"
    assert [(one["path"], one["line"]) for one in review["asked"]] == [("a.py", 5)]
    assert "`a.py:90`: far away" in review["body"]
    assert "`b.py:1`: elsewhere" in review["body"]


def test_review_that_github_takes_on_no_line_is_posted_as_text(server: Server, opened: Opened, pull: Pull) -> None:
    server.files = [{"filename": "a.py", "patch": "@@ -1 +1 @@\n+one"}]
    finding = Finding(severity=Severity.LOW, file="a.py", line=1, text="x")
    note = ReviewNote(commit=HEAD, ok=False, text="No.", findings=(finding,))

    server.takes_lines = False
    anyio.run(opened().post_review, pull.id, note)
    [review] = server.reviews.values()
    assert review["asked"] == []
    assert "`a.py:1`: x" in review["body"]


def test_remarks_are_what_people_say_oldest_first(server: Server, opened: Opened, pull: Pull) -> None:
    anyio.run(opened().post_review, pull.id, ReviewNote(commit=HEAD, ok=True, text="Fine."))
    anyio.run(opened().tell, IssueId("2"), "working")

    def said(kind: dict[int, Any], made: int, login: str, text: str, at: str, **more: Any) -> None:
        times = {"submitted_at": at, "created_at": at}
        who = {"login": login, "id": 1, "type": "Bot" if login == "ci[bot]" else "User"}
        kind[made] = {
            "id": made,
            "number": 2,
            "body": text,
            "user": who,
            "author_association": "OWNER",
            **times,
            **more,
        }

    said(server.comments, 1, "ann", "third", "2027-01-01T03:00:00Z", html_url="")
    said(server.comments, 2, "ci[bot]", "noise", "2027-01-01T01:00:00Z", html_url="")
    said(server.reviews, 3, "ann", "first", "2027-01-01T01:00:00Z", state="CHANGES_REQUESTED")
    said(server.reviews, 4, "bob", "mend", "2027-01-01T01:30:00Z", state="CHANGES_REQUESTED")
    said(server.reviews, 5, "bob", "thanks", "2027-01-01T04:00:00Z", state="APPROVED")
    line = {"path": "a.py", "line": 5, "pull_request_review_id": 3}
    said(server.line_comments, 6, "ann", "second", "2027-01-01T02:00:00Z", **line)
    found = anyio.run(opened().remarks, pull.id)
    assert [(one.text, one.stand) for one in found] == [
        ("first", "changes"),
        ("mend", "said"),
        ("second", "changes"),
        ("third", "said"),
        ("thanks", "approved"),
    ]
    assert (found[2].path, found[2].line, found[2].author, found[2].association) == ("a.py", 5, "ann", "owner")


def test_approval_that_stands_is_told_without_a_word(server: Server, opened: Opened, pull: Pull) -> None:
    server.review_on(2, "CHANGES_REQUESTED", "", login="ann")
    approval = server.review_on(2, "APPROVED", "", login="ann")
    server.review_on(2, "COMMENTED", "", login="ann")
    server.review_on(2, "APPROVED", "", login="ci[bot]")
    server.review_on(2, "APPROVED", "", login="bob")
    server.review_on(2, "DISMISSED", "", login="bob")
    line = {"id": 1, "number": 2, "body": "nit", "path": "a.py", "line": 5, "created_at": server.time(after_s=9.0)}
    server.line_comments[1] = line | {"user": approval["user"], "pull_request_review_id": approval["id"]}
    found = anyio.run(opened().remarks, pull.id)
    assert [(one.author, one.association, one.text, one.stand) for one in found] == [
        ("ann", "member", "", "approved"),
        ("ann", None, "nit", "said"),
    ]


def test_review_that_is_not_out_yet_says_nothing(server: Server, opened: Opened, pull: Pull) -> None:
    server.review_on(2, "PENDING", "half a thought", login="ann")
    assert anyio.run(opened().remarks, pull.id) == ()


def test_line_has_the_commit_that_it_was_said_of(server: Server, opened: Opened, pull: Pull) -> None:
    approval = server.review_on(2, "APPROVED", "", login="ann")
    line = {"id": 1, "number": 2, "body": "nit", "path": "a.py", "line": 5, "created_at": server.time(after_s=9.0)}
    server.line_comments[1] = line | {"user": approval["user"], "original_commit_id": HEAD, "commit_id": "b" * 40}
    server.now += 20.0
    server.comment_on(2, "Nice.", login="ann")
    found = anyio.run(opened().remarks, pull.id)
    assert [(one.text, one.commit) for one in found] == [("", HEAD), ("nit", HEAD), ("Nice.", None)]


def test_pull_that_is_not_there_has_no_fate(forge: GitHub) -> None:
    with pytest.raises(UserFault, match="77"):
        anyio.run(forge.fate, "77")


def test_left_queue_is_joined_again_when_asked_for(server: Server, forge: GitHub, pull: Pull) -> None:
    server.rules = [{"type": "merge_queue"}]
    merge(forge, pull)
    anyio.run(forge.leave, pull.id)
    assert server.queue == []
    outcome = merge(forge, pull)
    assert isinstance(outcome, NotMerged)
    assert outcome.is_waiting
    assert server.queue == [2]


def test_queue_and_auto_merge_are_both_left(server: Server, opened: Opened, pull: Pull) -> None:
    server.queue, server.auto = [2], {2}
    before = server.changes()
    for _ in range(2):
        anyio.run(opened().leave, pull.id)
    assert (server.queue, server.auto, server.changes() - before) == ([], set(), 2)


@pytest.mark.parametrize("how", ["timeout after", "502 after", "truncated"])
def test_leaving_whose_answer_is_lost_is_looked_for(server: Server, opened: Opened, pull: Pull, how: str) -> None:
    server.queue = [2]
    before = server.changes()
    server.faults = iter([None, None, None, Broken(how)])  # the pull request, auto-merge, the queue, and the leaving
    anyio.run(opened().leave, pull.id)
    assert (server.queue, server.changes() - before) == ([], 1)


def test_leaving_that_github_never_heard_of_is_told(server: Server, opened: Opened, pull: Pull) -> None:
    server.queue = [2]
    server.faults = iter([None, None, None, Broken("timeout")])
    with pytest.raises(Transient):
        anyio.run(opened().leave, pull.id)
    assert server.queue == [2]


def test_queue_that_keeps_the_pull_is_told(server: Server, opened: Opened, pull: Pull) -> None:
    server.queue, server.keeps_queue = [2], True
    with pytest.raises(UserFault, match="being merged"):
        anyio.run(opened().leave, pull.id)


def test_verdict_is_a_status_and_the_last_one_stands(server: Server, opened: Opened) -> None:
    for state in ("pending", "passed", "passed"):
        report(opened(), state)
    assert [one["state"] for one in server.statuses] == ["pending", "success"]
    assert [(one.name, one.state) for one in anyio.run(opened().checks, HEAD)] == [("luminaguard", "passed")]


def test_checks_of_others_are_told_in_three_states(server: Server, opened: Opened) -> None:
    for name, status, conclusion in (
        ("lint", "completed", "skipped"),
        ("test", "completed", "timed_out"),
        ("build", "queued", None),
    ):
        server.make_run({"name": name, "head_sha": HEAD, "status": status, "conclusion": conclusion})
    found = {one.name: one.state for one in anyio.run(opened().checks, HEAD)}
    assert found == {"lint": "passed", "test": "failed", "build": "pending"}


def test_server_that_has_no_statuses_tells_its_check_runs(server: Server, forge: GitHub) -> None:
    server.refuses = {"/status": (404, {})}
    server.make_run({"name": "test", "head_sha": HEAD, "status": "completed", "conclusion": "success"})
    assert [one.name for one in anyio.run(forge.checks, HEAD)] == ["test"]


def test_branch_without_rules_may_be_pushed_to(server: Server, forge: GitHub) -> None:
    assert rules(forge) == Rules()


def test_protection_and_rulesets_are_put_together(server: Server, forge: GitHub) -> None:
    server.protection = {
        "required_status_checks": {"contexts": ["ci"], "checks": [{"context": "ci"}, {"context": "lint"}]},
        "required_pull_request_reviews": {"required_approving_review_count": 2},
    }
    server.rules = [
        {"type": "required_status_checks", "parameters": {"required_status_checks": [{"context": "e2e"}]}},
        {"type": "non_fast_forward"},
    ]
    found = rules(forge)
    assert (found.required, found.approvals) == (("ci", "lint", "e2e"), 2)
    assert (found.pushable, found.needs_pull, found.has_queue) == (False, True, False)
    assert "pull request only" in found.why


def test_who_is_named_in_the_restrictions_may_push(server: Server, opened: Opened) -> None:
    server.protection = {"restrictions": {"users": [{"login": "somebody"}], "teams": [], "apps": []}}
    assert not rules(opened()).pushable
    server.protection = {"restrictions": {"users": [{"login": "robot"}], "teams": [], "apps": []}}
    assert rules(opened()).pushable


def test_protection_that_we_may_not_read_is_said(server: Server, forge: GitHub) -> None:
    server.protection = {}
    server.refuses = {"/protection$": (403, {})}
    assert "administration: read" in rules(forge).why


def test_report_is_one_comment_by_title(server: Server, opened: Opened) -> None:
    server.add_issue("Reports")
    for text, title in (("a", "Run 1"), ("b", "Run 1"), ("c", "Run 2")):
        driver = opened(report=ReportPlace(issue="1"))
        address = anyio.run(partial(driver.post_report, text, title=title))
        assert "#issuecomment-" in address
    assert [one.split("\n")[:3] for one in server.comments_on(1)] == [["## Run 1", "", "b"], ["## Run 2", "", "c"]]


def test_report_is_one_discussion_by_title(server: Server, opened: Opened) -> None:
    for text in ("a", "b"):
        driver = opened(report=ReportPlace(category="reports"))
        assert "/discussions/" in anyio.run(partial(driver.post_report, text, title="Run 1"))
    assert [(one["title"], one["body"].partition("\n")[0]) for one in server.discussions] == [("Run 1", "b")]
    with pytest.raises(UserFault, match="Nowhere"):
        anyio.run(partial(opened(report=ReportPlace(category="Nowhere")).post_report, "a", title="Run 1"))
