"""Issues on GitHub: which are read, with what relations, and how they are closed."""

from functools import partial

import anyio
import pytest
from github_driver import Opened
from github_server import Server

from luminaguard.forges.base import Filters
from luminaguard.forges.github.forge import GitHub
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Issue, IssueState, Kind


def issues(forge: GitHub) -> dict[str, Issue]:
    return {str(issue.id): issue for issue in anyio.run(forge.backlog).issues}


def close(forge: GitHub, issue: str, comment: str = "Landed.") -> None:
    anyio.run(partial(forge.close, IssueId(issue), comment=comment))


def test_issue_is_told_with_what_github_knows_of_it(server: Server, forge: GitHub) -> None:
    server.add_issue(
        "Crash",
        body="It does.",
        labels=["bug", "priority: high", "area/x"],
        milestone={"number": 3, "title": "v1"},
        type={"name": "Bug", "id": 1, "node_id": "T", "description": ""},
        author_association="MEMBER",
    )
    issue = issues(forge)["1"]
    assert (issue.title, issue.body, issue.labels) == ("Crash", "It does.", ("bug", "priority: high", "area/x"))
    assert (issue.priority, issue.kind, issue.milestone) == (1, Kind.BUG, "v1")
    assert (issue.author, issue.association) == ("alice", "member")
    assert issue.url == "https://github.com/octo/demo/issues/1"


def test_pull_requests_are_no_issues(server: Server, forge: GitHub) -> None:
    server.add_issue("Real")
    server.branches["b"] = "b" * 40
    server.make_pull({"title": "P", "head": "b", "base": "main"})
    assert list(issues(forge)) == ["1"]
    with pytest.raises(UserFault, match="2 is a pull request"):
        anyio.run(forge.issue, IssueId("2"))


def test_all_pages_are_read(server: Server, forge: GitHub) -> None:
    for number in range(250):
        server.add_issue(f"Issue {number}")
    assert len(issues(forge)) == 250
    assert forge.counts.requests == 3 + 1  # open ones, and the closed that are none


def test_native_needs_and_parents_cost_a_request_only_where_there_are_some(server: Server, forge: GitHub) -> None:
    for title in ("Parser", "Printer", "Epic"):
        server.add_issue(title)
    server.blocked[2] = [1]
    server.parents[1] = 3
    found = issues(forge)
    assert found["2"].needs == ("1",)
    assert [found[one].parent for one in "123"] == ["3", None, None]
    assert forge.counts.requests == 3  # two lists, one issue that waits


def test_server_without_relations_is_asked_for_them_once(server: Server, forge: GitHub) -> None:
    server.knows_relations = False
    for number in range(5):
        server.add_issue(f"Issue {number}")
    assert all(issue.needs == () for issue in issues(forge).values())
    assert sum("dependencies" in str(one.url) for one in server.seen) == 1


def test_need_that_is_closed_and_filtered_away_is_done(server: Server, opened: Opened) -> None:
    server.add_issue("Outside, done", state="closed")
    server.add_issue("Outside, open")
    server.add_issue("Inside", labels=["ready"])
    server.blocked[3] = [1, 2]
    assert issues(opened(filters=Filters(labels=("ready",))))["3"].needs == ("2",)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(labels=("ready",)), ["1", "2"]),
        (Filters(labels=("ready", "big")), ["2"]),
        (Filters(milestone="v1"), ["3"]),
        (Filters(milestone="7"), ["3"]),
        (Filters(assignee="bob"), ["4"]),
        (Filters(numbers=(4, 1)), ["1", "4"]),
    ],
)
def test_filters_let_through_what_has_all_of_them(
    server: Server, opened: Opened, filters: Filters, expected: list[str]
) -> None:
    server.add_issue("a", labels=["ready"])
    server.add_issue("b", labels=["ready", "big"])
    server.add_issue("c", milestone={"number": 7, "title": "v1"})
    server.add_issue("d", assigned=["bob"])
    assert list(issues(opened(filters=filters))) == expected


def test_milestone_that_is_not_there_names_those_that_are(server: Server, opened: Opened) -> None:
    server.add_issue("c", milestone={"number": 7, "title": "v1"})
    with pytest.raises(UserFault, match="v2") as caught:
        issues(opened(filters=Filters(milestone="v2")))
    assert "v1" in caught.value.hint


def test_unchanged_list_is_answered_without_being_counted(server: Server, forge: GitHub) -> None:
    server.add_issue("a")
    first = issues(forge)
    assert issues(forge) == first
    assert (forge.counts.requests, forge.counts.unchanged) == (4, 2)
    server.items[1]["title"] = "b"
    assert issues(forge)["1"].title == "b"


def test_closing_comments_once_and_says_completed(server: Server, opened: Opened) -> None:
    server.add_issue("a")
    close(opened(), "1", "Landed as abc.")
    close(opened(), "1", "Landed as abc.")
    assert [one.partition("\n")[0] for one in server.comments_on(1)] == ["Landed as abc."]
    assert (server.items[1]["state"], server.items[1]["state_reason"]) == ("closed", "completed")


def test_closing_after_a_crash_between_comment_and_close_adds_no_comment(server: Server, opened: Opened) -> None:
    server.add_issue("a")
    close(opened(), "1")
    server.items[1]["state"] = "open"
    close(opened(), "1")
    assert len(server.comments_on(1)) == 1
    assert server.items[1]["state"] == "closed"


def test_keyword_that_is_slow_is_waited_for_and_leaves_nothing_to_do(server: Server, forge: GitHub) -> None:
    server.add_issue("a")
    source = {"issue": {"pull_request": {"merged_at": "2026-11-01T00:00:00Z"}}}
    server.items[1]["events"] = [{"event": "cross-referenced", "source": source}]

    async def slow_keyword() -> None:
        async def sleep(seconds: float) -> None:
            server.now += seconds
            if server.now > 1_800_000_002:
                server.items[1] |= {"state": "closed", "state_reason": "completed"}

        forge._wire.sleep = sleep
        await forge.close(IssueId("1"), comment="Landed.")

    anyio.run(slow_keyword)
    assert server.comments_on(1) == []
    assert server.items[1]["state"] == "closed"


def test_keyword_that_never_closes_is_done_by_us(server: Server, forge: GitHub) -> None:
    server.add_issue("a")
    source = {"issue": {"pull_request": {"merged_at": "2026-11-01T00:00:00Z"}}}
    server.items[1]["events"] = [{"event": "cross-referenced", "source": source}]
    close(forge, "1")
    assert len(server.comments_on(1)) == 1
    assert server.items[1]["state"] == "closed"


def test_mark_that_somebody_else_copied_is_not_taken_for_ours(server: Server, forge: GitHub) -> None:
    server.add_issue("a")
    server.comment_on(1, "gotcha <!-- luminaguard:status -->", login="mallory")
    anyio.run(forge.tell, IssueId("1"), "working")
    assert [one.partition("\n")[0] for one in server.comments_on(1)] == [
        "gotcha <!-- luminaguard:status -->",
        "working",
    ]


def test_status_comment_is_one_and_edited(server: Server, opened: Opened) -> None:
    server.add_issue("a")
    for text in ("waiting", "working", "landed"):
        anyio.run(opened().tell, IssueId("1"), text)
    assert [one.partition("\n")[0] for one in server.comments_on(1)] == ["landed"]


def test_comment_that_came_too_late_and_twice_is_removed(server: Server, opened: Opened) -> None:
    server.add_issue("a")
    anyio.run(opened().tell, IssueId("1"), "working")
    server.comment_on(1, server.comments_on(1)[0])
    anyio.run(opened().tell, IssueId("1"), "landed")
    assert [one.partition("\n")[0] for one in server.comments_on(1)] == ["landed"]


def test_issue_of_another_tracker_is_the_users_fault(forge: GitHub) -> None:
    with pytest.raises(UserFault, match="BACK-3"):
        anyio.run(forge.issue, IssueId("BACK-3"))


def test_imported_issue_is_made_once_whatever_asks_again(server: Server, opened: Opened) -> None:
    issue = Issue(id=IssueId("BACK-3"), title="Third", body="Do.", labels=("ready",))
    first = anyio.run(opened().add, issue)
    assert anyio.run(opened().add, issue) == first
    assert [(one["title"], one["labels"]) for one in server.items.values()] == [("Third", ["ready"])]


def test_need_is_written_by_database_id_once(server: Server, opened: Opened) -> None:
    server.add_issue("a")
    server.add_issue("b")
    for _ in range(2):
        anyio.run(opened().add_need, IssueId("2"), IssueId("1"))
    assert server.blocked == {2: [1]}
    assert anyio.run(opened().issue, IssueId("2")).needs == ("1",)


def test_server_without_relations_says_so_when_one_is_written(server: Server, forge: GitHub) -> None:
    server.add_issue("a")
    server.add_issue("b")
    server.knows_relations = False
    with pytest.raises(UserFault, match="no dependencies") as caught:
        anyio.run(forge.add_need, IssueId("2"), IssueId("1"))
    assert "Depends on" in caught.value.hint


def test_closed_issue_reads_as_closed(server: Server, forge: GitHub) -> None:
    server.add_issue("a", state="closed")
    assert issues(forge)["1"].state is IssueState.CLOSED
