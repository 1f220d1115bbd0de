"""What is GitLab's own: links by licence, merge trains, pipelines, threads."""

from functools import partial

import anyio
import pytest
from gitlab_server import GitLabServer
from lab_drivers import Lab, filled, gitlab_lab

from luminaguard.forges.base import Merged, NotMerged, Pull, PullDraft, ReviewNote
from luminaguard.forges.gitlab.forge import GitLab, find_token
from luminaguard.model.faults import HostFault, UserFault
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import Issue
from luminaguard.model.work import Finding, Severity

A, B = Oid("a" * 40), Oid("b" * 40)


@pytest.fixture
def lab() -> Lab:
    return filled(gitlab_lab())


@pytest.fixture
def server(lab: Lab) -> GitLabServer:
    assert isinstance(lab.server, GitLabServer)
    return lab.server


def pulled(lab: Lab) -> Pull:
    draft = PullDraft(branch="b", head=A, target="main", issue=IssueId("1"), title="First", body="Closes #1")
    return anyio.run(lab.opened().open_pull, draft)


def merged(lab: Lab, pull: Pull) -> Merged | NotMerged:
    return anyio.run(partial(lab.opened().merge, pull.id, head=A, style="squash", message="m"))


def test_need_is_written_into_the_text_where_the_licence_has_no_such_links(lab: Lab, server: GitLabServer) -> None:
    server.has_blocking_links = False
    server.links.clear()
    for _ in "12":
        anyio.run(lab.opened().add_need, IssueId("2"), IssueId("1"))
    assert server.issues[2]["description"] == "Blocked by #1."
    assert server.links == []


def test_merely_related_issue_is_no_need(lab: Lab, server: GitLabServer) -> None:
    server.links[:] = [(2, 1, "relates_to"), (1, 3, "blocks")]
    assert [one.needs for one in anyio.run(lab.opened().backlog).issues] == [(), (), ()]
    server.links[:] = [(1, 2, "blocks")]
    assert anyio.run(lab.opened().issue, IssueId("2")).needs == ("1",)


def test_merge_request_has_an_id_of_its_own_and_is_found_by_it(lab: Lab) -> None:
    pull = pulled(lab)
    assert pull.id == "!1"
    assert merged(lab, pull) == Merged(commit=Oid(f"{1:040x}"))


def test_merge_train_takes_it_once(lab: Lab, server: GitLabServer) -> None:
    server.project["merge_trains_enabled"] = True
    pull = pulled(lab)
    outcomes = [merged(lab, pull) for _ in "12"]
    assert [isinstance(one, NotMerged) and one.is_waiting for one in outcomes] == [True, True]
    assert server.trains == {1: "fresh"}
    assert len([one for one in server.requests if one.startswith("POST") and "merge_trains" in one]) == 1
    rules = anyio.run(lab.opened().rules, "main")
    assert (rules.has_queue, rules.pushable, rules.needs_pull) == (True, False, True)
    assert server.violations == []


def test_running_pipeline_leaves_the_merge_to_gitlab(lab: Lab, server: GitLabServer) -> None:
    pull = pulled(lab)
    server.requests_by_iid[1]["detailed_merge_status"] = "ci_still_running"
    outcome = merged(lab, pull)
    assert isinstance(outcome, NotMerged)
    assert outcome.is_waiting
    assert server.requests_by_iid[1]["merge_when_pipeline_succeeds"] is True
    server.requests_by_iid[1]["detailed_merge_status"] = "conflict"
    outcome = merged(lab, pull)
    assert isinstance(outcome, NotMerged)
    assert (outcome.is_waiting, outcome.why) == (False, "GitLab: conflict")


@pytest.mark.parametrize("is_train", [True, False])
def test_train_and_auto_merge_are_left_by_the_same_call(lab: Lab, server: GitLabServer, *, is_train: bool) -> None:
    server.project["merge_trains_enabled"] = is_train
    pull = pulled(lab)
    server.requests_by_iid[1]["detailed_merge_status"] = "ci_still_running"
    merged(lab, pull)
    assert (server.trains, server.requests_by_iid[1]["merge_when_pipeline_succeeds"]) == (
        {1: "fresh"} if is_train else {},
        True,
    )
    for _ in "12":
        anyio.run(lab.opened().leave, pull.id)
    assert (server.trains, server.requests_by_iid[1]["merge_when_pipeline_succeeds"]) == ({}, False)
    assert len([one for one in server.requests if one.endswith("/cancel_merge_when_pipeline_succeeds")]) == 1
    assert server.violations == []


def test_gitlab_that_goes_on_merging_is_told(lab: Lab, server: GitLabServer) -> None:
    pull = pulled(lab)
    server.requests_by_iid[1]["merge_when_pipeline_succeeds"] = True
    server.cancels = False
    with pytest.raises(HostFault, match="goes on merging !1: Can't cancel"):
        anyio.run(lab.opened().leave, pull.id)


def test_landed_squash_closes_the_merge_request_with_its_commit(lab: Lab, server: GitLabServer) -> None:
    pull = pulled(lab)
    anyio.run(partial(lab.opened().mark_merged, pull.id, commit=B))
    assert server.requests_by_iid[1]["state"] == "closed"
    assert lab.comments(1) == []
    assert [text.partition("\n")[0] for text in server.comments(1, "merge_requests")] == [f"Landed on `main` as {B}."]


def test_rules_tell_pipeline_protection_and_approvals(lab: Lab, server: GitLabServer) -> None:
    server.branches["main"].update({"protected": True, "can_push": False})
    server.project["only_allow_merge_if_pipeline_succeeds"] = True
    server.approval_rules = [{"approvals_required": 1}, {"approvals_required": 2}]
    server.pipelines[A] = {"status": "running", "web_url": "https://lab.test/p/1"}
    rules = anyio.run(lab.opened().rules, "main")
    assert (rules.required, rules.pushable, rules.approvals) == (("pipeline",), False, 2)
    assert [(one.name, one.state) for one in anyio.run(lab.opened().checks, A)] == [("pipeline", "pending")]
    with pytest.raises(UserFault, match="nowhere"):
        anyio.run(lab.opened().rules, "nowhere")


def test_remarks_are_what_people_say(lab: Lab, server: GitLabServer) -> None:
    pull = pulled(lab)
    server.says(1, "mentioned in commit", "maria", system=True)
    server.says(1, "beep", "project_7_bot_abc")
    server.says(1, "Rename it.", "maria", resolvable=True, resolved=False, position={"new_path": "a.py", "new_line": 4})
    server.says(1, "Fine now.", "olga", resolvable=True, resolved=True)
    server.says(1, "Me too.", "stranger")
    server.says(1, "Bleep.", "service_account_group_7_abc")
    server.reviewers = [{"user": {"username": "stranger"}, "state": "requested_changes"}]
    remarks = anyio.run(lab.opened().remarks, pull.id)
    assert [(one.author, one.association, one.stand, one.path, one.line) for one in remarks] == [
        ("maria", "member", "changes", "a.py", 4),
        ("olga", "owner", "said", None, 0),
        ("stranger", "none", "changes", None, 0),
    ]


def test_approval_is_told_where_it_is_the_last_word(lab: Lab, server: GitLabServer) -> None:
    pull = pulled(lab)
    server.says(1, "Nice.", "maria")
    for name, at in (
        ("olga", "2026-11-21T12:00:00.000Z"),
        ("maria", None),
        ("stranger", None),
        ("project_7_bot_a", None),
    ):
        server.approves(name, at=at)
    server.reviewers = [{"user": {"username": "stranger"}, "state": "requested_changes"}]
    remarks = anyio.run(lab.opened().remarks, pull.id)
    assert [(one.author, one.association, one.text, one.stand) for one in remarks] == [
        ("maria", "member", "", "approved"),
        ("maria", "member", "Nice.", "said"),
        ("olga", "owner", "", "approved"),
    ]
    assert len({one.id for one in remarks}) == 3
    assert server.violations == []


def test_words_of_an_agent_are_no_orders_to_gitlab(lab: Lab, server: GitLabServer) -> None:
    words = "Done.\n/merge\n/usr/bin/env is fine\n/close  \n/approve\tnow"
    draft = PullDraft(branch="b", head=A, target="main", issue=IssueId("1"), title="First", body=words)
    pull = anyio.run(lab.opened().open_pull, draft)
    server.shown_lines.add(("a.py", 3))
    findings = (
        Finding(severity=Severity.LOW, file="a.py", line=3, text=words),
        Finding(severity=Severity.LOW, file="b.py", line=0, text=words),
    )
    anyio.run(lab.opened().post_review, pull.id, ReviewNote(commit=A, ok=True, text=words, findings=findings))
    anyio.run(partial(lab.opened().comment, IssueId("1"), words, key="k"))
    anyio.run(lab.opened().tell, IssueId("1"), words)
    anyio.run(lab.opened().add, Issue(id=IssueId("x-1"), title="Brought in", body=words))
    assert server.actions == []
    assert "\n\\/merge\n/usr/bin/env is fine\n" in lab.comments(1)[0]
    asked = len(server.requests)
    anyio.run(lab.opened().open_pull, draft)
    assert not any(one.startswith("PUT") for one in server.requests[asked:])


@pytest.mark.parametrize(
    ("scopes", "level", "inherited", "names", "unsure"),
    [
        (["api"], 30, 0, [], ""),
        (["api"], 0, 40, [], ""),
        (["read_api"], 40, 0, ["scope api"], ""),
        (["api"], 20, 0, ["role Developer"], ""),
        (["read_api"], 0, 0, ["scope api", "role Developer"], ""),
        (None, 30, 0, [], "scopes"),
        (["granular"], 30, 0, [], "scopes"),
    ],
)
def test_lacking_is_told_by_scope_and_role(
    lab: Lab, server: GitLabServer, scopes: list[str] | None, level: int, inherited: int, names: list[str], unsure: str
) -> None:
    server.scopes = scopes
    server.project["permissions"] = {"project_access": {"access_level": level} if level else None, "group_access": None}
    server.members = {"robot": inherited} if inherited else {}
    found = anyio.run(lab.opened().lacking)
    assert [one.name for one in found.permissions] == names
    assert unsure in found.unsure
    assert (found.unsure == "") is (unsure == "")
    assert server.violations == []


def test_missing_tells_what_to_do() -> None:
    assert find_token({}) is None
    assert "git remote" in (GitLab(None, None).missing() or "") or "remote" in (GitLab(None, None).missing() or "")
    token = find_token({"GITLAB_TOKEN": " abc "})
    assert token is not None
    assert (token.text, token.source) == ("abc", "GITLAB_TOKEN")
    assert "abc" not in repr(token)
