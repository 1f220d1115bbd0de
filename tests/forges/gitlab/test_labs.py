"""GitLab and Gitea alike: the whole way, and no duplicate whatever befalls the requests."""

from functools import partial

import anyio
import pytest
from gitlab_server import GitLabServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lab_drivers import Lab, filled, gitea_lab, gitlab_lab
from lab_server import FAULTS

from luminaguard.forges.base import Merged, NotMerged, PullDraft, ReviewNote
from luminaguard.model.faults import Fault, UserFault
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import Issue
from luminaguard.model.work import Finding, Severity

A, B = Oid("a" * 40), Oid("b" * 40)
LABS = {"gitlab": gitlab_lab, "gitea": gitea_lab}


@pytest.fixture(params=LABS)
def lab(request: pytest.FixtureRequest) -> Lab:
    return filled(LABS[request.param]())


def draft(*, head: Oid = A, is_draft: bool = False, labels: tuple[str, ...] = ()) -> PullDraft:
    return PullDraft(
        branch="feature/issue-1",
        head=head,
        target="main",
        issue=IssueId("1"),
        title="First",
        body="Closes #1",
        labels=labels,
        is_draft=is_draft,
    )


def pull_items(lab: Lab) -> list[dict[str, object]]:
    return list((lab.server.requests_by_iid if isinstance(lab.server, GitLabServer) else lab.server.pulls).values())


def test_draft_becomes_ready_and_gets_its_labels(lab: Lab) -> None:
    first = anyio.run(lab.opened().open_pull, draft(is_draft=True, labels=("bot",)))
    assert first.is_draft
    assert first.title == "First"
    assert isinstance(anyio.run(partial(lab.opened().merge, first.id, head=A, style="squash", message="m")), NotMerged)
    second = anyio.run(lab.opened().open_pull, draft(labels=("bot", "ready")))
    assert (second.id, second.is_draft) == (first.id, False)
    labels = pull_items(lab)[0]["labels"]
    assert isinstance(labels, list)
    assert [one["name"] if isinstance(one, dict) else one for one in labels] == ["bot", "ready"]
    assert lab.server.violations == []


def test_merge_with_another_head_merges_nothing(lab: Lab) -> None:
    pull = anyio.run(lab.opened().open_pull, draft())
    outcome = anyio.run(partial(lab.opened().merge, pull.id, head=B, style="merge", message="m"))
    assert isinstance(outcome, NotMerged)
    assert "moved" in outcome.why
    assert lab.server.merges == 0


def test_merge_is_done_once_and_told_again(lab: Lab) -> None:
    pull = anyio.run(lab.opened().open_pull, draft())
    outcomes = [
        anyio.run(partial(lab.opened().merge, pull.id, head=A, style="squash", message="Title\n\nText")) for _ in "12"
    ]
    assert outcomes == [Merged(commit=Oid(f"{1:040x}"))] * 2
    assert lab.server.merges == 1
    assert lab.server.violations == []


def test_pull_request_that_is_not_there_has_no_fate(lab: Lab) -> None:
    with pytest.raises(UserFault, match="77"):
        anyio.run(lab.opened().fate, "77")


@pytest.mark.parametrize("fault", ["500", "500 after", "lost", "unsent", "429"])
def test_leaving_comes_through_whatever_befalls_the_request(lab: Lab, fault: str) -> None:
    pull = anyio.run(lab.opened().open_pull, draft())
    if isinstance(lab.server, GitLabServer):
        lab.server.requests_by_iid[1]["merge_when_pipeline_succeeds"] = True
    else:
        lab.server.scheduled.add(int(pull.id))
    before = len(lab.server.changes)
    lab.server.faults = ["none", fault]
    anyio.run(lab.opened().leave, pull.id)
    anyio.run(lab.opened().leave, pull.id)
    assert lab.server.faults == []
    assert len(lab.server.changes) >= before + 1
    if isinstance(lab.server, GitLabServer):
        assert lab.server.requests_by_iid[1]["merge_when_pipeline_succeeds"] is False
    else:
        assert lab.server.scheduled == set()
    assert lab.server.violations == []


def test_git_shows_the_token_itself(lab: Lab) -> None:
    assert anyio.run(lab.opened().git_token) == "secret"


def test_status_comment_is_edited_in_place(lab: Lab) -> None:
    for text in ("working", "working", "done"):
        anyio.run(lab.opened().tell, IssueId("2"), text)
    said = lab.comments(2)
    assert len(said) == 1
    assert said[0].startswith("done")


def test_mark_of_somebody_else_is_not_ours(lab: Lab) -> None:
    anyio.run(lab.opened().tell, IssueId("2"), "working")
    copied = lab.comments(2)[0]
    lab.server.notes.clear()
    if isinstance(lab.server, GitLabServer):
        lab.server.says(2, copied, "mallory", kind="issues")
    else:
        lab.server.says(2, copied, "mallory")
    anyio.run(lab.opened().tell, IssueId("2"), "done")
    assert lab.comments(2)[0] == copied
    assert len(lab.comments(2)) == 2


def test_report_of_the_same_title_is_edited(lab: Lab) -> None:
    places = {anyio.run(partial(lab.opened().post_report, text, title="Run 1")) for text in ("a", "b")}
    anyio.run(partial(lab.opened().post_report, "c", title="Run 2"))
    assert len(places) == 1
    assert len(lab.comments(1)) == 2


def test_check_is_reported_once_and_the_last_one_stands(lab: Lab) -> None:
    for state in ("pending", "pending", "passed"):
        anyio.run(partial(lab.opened().report_check, A, name="luminaguard", state=state, text="t" * 300))
    assert len(lab.server.statuses) == 2
    assert [(one.name, one.state) for one in anyio.run(lab.opened().checks, A)] == [("luminaguard", "passed")]
    assert lab.server.violations == []


def test_imported_issue_is_added_once_with_its_need(lab: Lab) -> None:
    issue = Issue(id=IssueId("x-1"), title="Brought in", body="Text", labels=("p1", "bug"))
    made = [anyio.run(lab.opened().add, issue) for _ in "12"]
    assert made[0] == made[1]
    for _ in "12":
        anyio.run(lab.opened().add_need, made[0], IssueId("1"))
    read = anyio.run(lab.opened().issue, made[0])
    assert read.needs == ("1",)
    assert set(read.labels) == {"p1", "bug"}
    assert lab.server.violations == []


def test_backlog_of_many_pages_is_read_whole(lab: Lab) -> None:
    for number in range(4, 240):
        lab.server.add(f"Issue {number}")
    lab.server.page_most = 30  # a server's own bound, below what we ask for
    backlog = anyio.run(lab.opened().backlog)
    assert [issue.id for issue in backlog.issues] == [str(number) for number in range(1, 240)]


def test_authors_are_told_by_what_they_may_do(lab: Lab) -> None:
    lab.server.add("From outside", author="stranger")
    assert [one.association for one in anyio.run(lab.opened().backlog).issues] == ["member"] * 3 + ["none"]


def test_refused_token_is_the_users_fault_and_is_not_shown(lab: Lab) -> None:
    lab.server.auth = "another"
    with pytest.raises(UserFault, match="refuses our token") as caught:
        anyio.run(lab.opened().backlog)
    assert "secret" not in f"{caught.value.message}{caught.value.hint}"


def test_review_is_shown_once_with_its_findings(lab: Lab) -> None:
    pull = anyio.run(lab.opened().open_pull, draft())
    findings = (
        Finding(severity=Severity.HIGH, file="a.py", line=3, text="on a line"),
        Finding(severity=Severity.LOW, file="b.py", line=0, text="on the file"),
    )
    if isinstance(lab.server, GitLabServer):
        lab.server.shown_lines.add(("a.py", 3))
    note = ReviewNote(commit=A, ok=False, text="Not yet.", findings=findings)
    for _ in "12":
        anyio.run(lab.opened().post_review, pull.id, note)
    if isinstance(lab.server, GitLabServer):
        on_line, whole = lab.server.notes
        assert on_line["position"]["new_line"] == 3
    else:
        (whole,), (on_line,) = lab.server.reviews, lab.server.lines
        assert (on_line["position"], whole["state"]) == (3, "COMMENT")
    assert "on a line" in on_line["body"]
    assert "on the file" in whole["body"]
    assert "on a line" not in whole["body"]
    assert anyio.run(lab.opened().remarks, pull.id) == ()
    assert lab.server.violations == []


async def whole_way(lab: Lab, *, merging: bool) -> None:
    """Do what a landing does; each call may fail and is then made again by who resumes."""
    forge = lab.opened()
    pull = await forge.open_pull(draft())
    await forge.tell(IssueId("1"), "working")
    await forge.comment(IssueId("1"), "An agent asks.", key="question")
    if merging:
        for _ in range(4):
            if isinstance(await forge.merge(pull.id, head=A, style="squash", message="m"), Merged):
                break
    else:
        await forge.mark_merged(pull.id, commit=B)
    await forge.close(IssueId("1"), comment="landed")


@pytest.mark.parametrize("name", LABS)
@settings(max_examples=250, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(faults=st.lists(st.sampled_from(FAULTS), max_size=24), merging=st.booleans())
def test_no_fault_makes_a_second_pull_comment_or_merge(name: str, faults: list[str], *, merging: bool) -> None:
    lab = filled(LABS[name]())
    lab.server.faults = list(faults)
    for _ in range(6):
        try:
            anyio.run(partial(whole_way, lab, merging=merging))
        except Fault:
            continue
        if not lab.server.faults:
            break
    lab.server.faults = []
    for _ in "123":  # so many that the latest request has come too
        anyio.run(partial(whole_way, lab, merging=merging))
    assert len(pull_items(lab)) == 1
    assert lab.server.merges == (1 if merging else 0)
    assert sorted(text.partition("\n")[0] for text in lab.comments(1)) == ["An agent asks.", "landed", "working"]
    assert lab.landed() == [f"{1:040x}" if merging else B]
    assert lab.server.violations == []


def test_lost_answer_is_looked_for_before_it_is_made_again(lab: Lab) -> None:
    posts = "POST"
    lab.server.faults = ["none"] * 20
    forge = lab.opened()
    looks = 1 if isinstance(lab.server, GitLabServer) else 2
    lab.server.faults = ["none"] * looks + ["lost"]
    anyio.run(forge.open_pull, draft())
    assert len([one for one in lab.server.requests if one.startswith(posts)]) == 1


def test_several_at_once_make_one_pull_and_one_comment(lab: Lab) -> None:
    async def several() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(partial(whole_way, lab, merging=False))

    anyio.run(several)
    assert len(pull_items(lab)) == 1
    assert len(lab.comments(1)) == 3
    assert lab.landed() == [B]


def test_filters_ask_for_what_counts(lab: Lab) -> None:
    items = lab.server.issues if isinstance(lab.server, GitLabServer) else lab.server.items
    number = lab.server.add("Wanted", labels=("ready",))
    items[number].update({"milestone": {"title": "v1"}, "assigned": ["maria"]})
    lab.server.add("Other", labels=("ready",))
    filters = {"labels": ("ready",), "milestone": "v1", "assignee": "maria"}
    for wanted in (filters, {"numbers": (number,)}):
        assert [one.title for one in anyio.run(lab.opened(**wanted).backlog).issues] == ["Wanted"]
    assert anyio.run(lab.opened(labels=("unknown",)).backlog).issues == ()
    assert lab.server.violations == []
