"""What is Gitea's own: merges marked by hand, dependencies switched off, scheduled merges, reviews."""

from functools import partial

import anyio
import pytest
from gitea_server import GiteaServer
from lab_drivers import Lab, filled, gitea_lab

from luminaguard.forges.base import Merged, NotMerged, Pull, PullDraft, ReviewNote
from luminaguard.forges.gitea.forge import Gitea, find_token
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.work import Finding, Severity

A, B = Oid("a" * 40), Oid("b" * 40)


@pytest.fixture
def lab() -> Lab:
    return filled(gitea_lab())


@pytest.fixture
def server(lab: Lab) -> GiteaServer:
    assert isinstance(lab.server, GiteaServer)
    return lab.server


def pulled(lab: Lab) -> Pull:
    draft = PullDraft(branch="b", head=A, target="main", issue=IssueId("1"), title="First", body="Closes #1")
    return anyio.run(lab.opened().open_pull, draft)


def merged(lab: Lab, pull: Pull) -> Merged | NotMerged:
    return anyio.run(partial(lab.opened().merge, pull.id, head=A, style="merge", message="m"))


def test_landing_is_marked_as_merged_by_hand(lab: Lab, server: GiteaServer) -> None:
    pull = pulled(lab)
    anyio.run(partial(lab.opened().mark_merged, pull.id, commit=B))
    item = server.pulls[int(pull.id)]
    assert (item["merged"], item["merge_commit_sha"]) == (True, B)
    assert server.comments(int(pull.id)) == []


def test_where_marking_is_not_allowed_it_is_closed_with_its_commit(lab: Lab, server: GiteaServer) -> None:
    server.repository["allow_manual_merge"] = False
    pull = pulled(lab)
    for commit in (B, A):
        anyio.run(partial(lab.opened().mark_merged, pull.id, commit=commit))
    item = server.pulls[int(pull.id)]
    assert (item["state"], item["merged"]) == ("closed", False)
    assert [text.partition("\n")[0] for text in server.comments(int(pull.id))] == [f"Landed on `main` as {B}."]
    assert pulled(lab).merged == B
    assert len(server.pulls) == 1


def test_dependencies_switched_off_are_none_and_cannot_be_added(lab: Lab, server: GiteaServer) -> None:
    server.has_dependencies = False
    assert [one.needs for one in anyio.run(lab.opened().backlog).issues] == [(), (), ()]
    with pytest.raises(UserFault, match="takes no dependency"):
        anyio.run(lab.opened().add_need, IssueId("1"), IssueId("2"))


def test_dependency_of_another_repository_is_named_in_full_and_a_hidden_one_not(lab: Lab, server: GiteaServer) -> None:
    server.items[90] = {"number": 90, "state": "open", "repository": {"full_name": "org/other"}}
    server.items[91] = {"number": 0, "title": "HIDDEN"}
    server.needs += [(2, 90), (2, 91)]
    assert anyio.run(lab.opened().issue, IssueId("2")).needs == ("1", "org/other#90")


def test_missing_checks_leave_the_merge_to_gitea_once(lab: Lab, server: GiteaServer) -> None:
    server.waits_for_checks = True
    pull = pulled(lab)
    outcomes = [merged(lab, pull) for _ in "12"]
    assert [isinstance(one, NotMerged) and one.is_waiting for one in outcomes] == [True, True]
    assert server.scheduled == {int(pull.id)}


def test_scheduled_merge_of_somebody_else_is_told(lab: Lab, server: GiteaServer) -> None:
    pull = pulled(lab)
    server.refuses_to_cancel = True
    with pytest.raises(UserFault, match="may not DELETE"):
        anyio.run(lab.opened().leave, pull.id)


def test_line_has_the_commit_of_its_review(lab: Lab, server: GiteaServer) -> None:
    pull = pulled(lab)
    line = {"body": "nit", "path": "a.py", "position": 4, "commit_id": B, "created_at": "2026-11-21T12:00:00Z"}
    server.review(int(pull.id), "APPROVED", "", "maria", lines=(line,))
    server.push("b", B)
    server.says(int(pull.id), "Nice.", "maria")
    remarks = anyio.run(lab.opened().remarks, pull.id)
    assert [(one.text, one.commit) for one in remarks] == [("Nice.", None), ("", A), ("nit", A)]


def test_who_may_not_merge_does_not_wait(lab: Lab, server: GiteaServer) -> None:
    server.waits_for_checks = True
    server.branches["main"]["user_can_merge"] = False
    outcome = merged(lab, pulled(lab))
    assert isinstance(outcome, NotMerged)
    assert not outcome.is_waiting
    assert server.scheduled == set()


def test_pull_request_is_no_issue(lab: Lab) -> None:
    pull = pulled(lab)
    with pytest.raises(UserFault, match="is a pull request"):
        anyio.run(lab.opened().issue, IssueId(pull.id))


def test_rules_are_what_the_branch_says(lab: Lab, server: GiteaServer) -> None:
    server.branches["main"].update(
        {
            "protected": True,
            "user_can_push": False,
            "enable_status_check": True,
            "status_check_contexts": ["ci/test"],
            "required_approvals": 2,
        }
    )
    rules = anyio.run(lab.opened().rules, "main")
    assert (rules.required, rules.pushable, rules.needs_pull, rules.approvals) == (("ci/test",), False, True, 2)
    with pytest.raises(UserFault, match="nowhere"):
        anyio.run(lab.opened().rules, "nowhere")


def test_remarks_are_what_people_say_and_the_last_word_stands(lab: Lab, server: GiteaServer) -> None:
    pull = pulled(lab)
    number = int(pull.id)
    server.review(number, "REQUEST_CHANGES", "No.", "olga")
    server.review(number, "APPROVED", "Yes.", "olga")
    line = {"body": "Rename it.", "path": "a.py", "position": 4, "created_at": "2026-11-21T12:00:00Z"}
    server.review(number, "REQUEST_CHANGES", "", "maria", lines=(line,))
    server.says(number, "beep", "gitea-actions")
    server.says(number, "Nice.", "stranger")
    remarks = anyio.run(lab.opened().remarks, pull.id)
    assert [(one.author, one.association, one.stand, one.path, one.line) for one in remarks] == [
        ("stranger", "none", "said", None, 0),
        ("olga", "none", "said", None, 0),
        ("olga", "none", "approved", None, 0),
        ("maria", "member", "changes", None, 0),
        ("maria", "member", "changes", "a.py", 4),
    ]


def test_approval_that_stands_is_told_without_a_word(lab: Lab, server: GiteaServer) -> None:
    pull = pulled(lab)
    number = int(pull.id)
    line = {"body": "nit", "path": "a.py", "position": 4, "created_at": "2026-11-21T12:00:00Z"}
    server.review(number, "REQUEST_CHANGES", "", "maria")
    server.review(number, "APPROVED", "", "maria", lines=(line,))
    server.review(number, "COMMENT", "", "maria")
    server.review(number, "APPROVED", "", "gitea-actions")
    server.review(number, "APPROVED", "", "olga")["dismissed"] = True
    server.review(number, "PENDING", "half a thought", "stranger")
    remarks = anyio.run(lab.opened().remarks, pull.id)
    assert [(one.author, one.text, one.stand) for one in remarks] == [
        ("maria", "", "approved"),
        ("maria", "nit", "said"),
    ]


def test_lacking_is_what_the_account_may_not_and_scopes_are_unsure(lab: Lab, server: GiteaServer) -> None:
    found = anyio.run(lab.opened().lacking)
    assert (found.permissions, "scopes" in found.unsure) == ((), True)
    server.repository["permissions"] = {"admin": False, "push": False, "pull": True}
    found = anyio.run(lab.opened().lacking)
    assert [one.name for one in found.permissions] == ["write:repository", "write:issue"]
    assert found.unsure == ""
    server.repository["permissions"] = {"admin": True, "push": False, "pull": True}
    server.may_read_user = False
    found = anyio.run(lab.opened().lacking)
    assert [(one.name, one.is_needed) for one in found.permissions] == [("read:user", False)]
    assert server.violations == []


def test_commit_that_is_gone_puts_all_of_a_review_into_its_text(lab: Lab, server: GiteaServer) -> None:
    pull = pulled(lab)
    server.push("b", B)
    finding = Finding(severity=Severity.HIGH, file="a.py", line=3, text="on a line")
    anyio.run(lab.opened().post_review, pull.id, ReviewNote(commit=A, ok=False, text="No.", findings=(finding,)))
    assert server.lines == []
    assert "`a.py:3`: on a line" in server.reviews[0]["body"]


def test_token_of_either_name_is_found() -> None:
    for name in ("GITEA_TOKEN", "FORGEJO_TOKEN"):
        token = find_token({name: "abc"})
        assert token is not None
        assert token.source == name
    assert "remote" in (Gitea(None, None).missing() or "")
