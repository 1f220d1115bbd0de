"""Every request of the driver, and every answer of our stand-in, against Gitea's and Forgejo's own descriptions.

The server holds all exchanges of all tests against them where they are there; here they must be.
"""

import json
from functools import partial

import anyio
import pytest
from gitea_contracts import description, judge, needed
from gitea_server import GiteaServer

from luminaguard.forges.base import Filters, Merged, PullDraft, ReviewNote
from luminaguard.forges.gitea.forge import Gitea
from luminaguard.forges.http_project import ApiToken, Project
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import Issue
from luminaguard.model.work import Finding, Severity

A, B = Oid("a" * 40), Oid("b" * 40)
R = "/repos/org/project"


@pytest.fixture(autouse=True)
def _descriptions() -> None:
    needed()


@pytest.fixture(params=["gitea", "forgejo"])
def server(request: pytest.FixtureRequest) -> GiteaServer:
    return GiteaServer(is_forgejo=request.param == "forgejo")


def driver(server: GiteaServer, **filters: object) -> Gitea:
    project = Project(web="https://git.test", path="org/project")
    token = ApiToken(text="secret", source="test")
    return Gitea(project, token, filters=Filters(**filters), report_issue="1", transport=server)  # type: ignore[arg-type]


def draft(branch: str, issue: IssueId, *, is_draft: bool = False, labels: tuple[str, ...] = ()) -> PullDraft:
    return PullDraft(
        branch=branch,
        head=A,
        target="main",
        issue=issue,
        title="P",
        body=f"Closes #{issue}",
        labels=labels,
        is_draft=is_draft,
    )


async def whole_story(server: GiteaServer) -> None:
    forge = driver(server)
    first = await forge.add(Issue(id=IssueId("x-1"), title="First", body="Do it.", labels=("ready",)))
    second = await forge.add(Issue(id=IssueId("x-2"), title="Second"))
    await forge.add_need(second, first)
    await driver(server, labels=("ready",), milestone="v1", assignee="maria").backlog()
    assert [one.needs for one in (await forge.backlog()).issues] == [(), ("1",)]
    await forge.open_pull(draft("b", first, is_draft=True))
    pull = await forge.open_pull(draft("b", first, labels=("bot",)))
    finding = Finding(severity=Severity.LOW, file="a.py", line=1, text="x")
    await forge.post_review(pull.id, ReviewNote(commit=A, ok=True, text="Fine.", findings=(finding,)))
    await forge.remarks(pull.id)
    await forge.report_check(A, name="luminaguard", state="passed", text="12 passed")
    await forge.checks(A)
    await forge.rules("main")
    for text in ("working", "landing"):
        await forge.tell(first, text)
    server.waits_for_checks = True
    await forge.merge(pull.id, head=A, style="squash", message="P (#3)\n\nWhy.")
    for _ in "12":
        await forge.leave(pull.id)
    assert server.scheduled == set()
    server.waits_for_checks = False
    assert isinstance(await forge.merge(pull.id, head=A, style="squash", message="P (#3)\n\nWhy."), Merged)
    await forge.fate(pull.id)
    await forge.close(first, comment="Landed.")
    other = await forge.open_pull(draft("c", second))
    await forge.mark_merged(other.id, commit=B)
    await forge.close(second, comment="Landed.")
    await forge.post_report("text", title="Run 1")


def test_whole_story_keeps_to_the_descriptions(server: GiteaServer) -> None:
    anyio.run(whole_story, server)
    assert server.violations == []
    assert len(server.requests) > 50


def test_landing_is_marked_by_hand_where_the_server_does_not_tell_whether_it_may(server: GiteaServer) -> None:
    server.add("First")
    pull = anyio.run(driver(server).open_pull, draft("b", IssueId("1")))
    anyio.run(partial(driver(server).mark_merged, pull.id, commit=B))
    assert (server.pulls[2]["merged"], server.pulls[2]["merge_commit_sha"]) == (True, B)


def test_server_ends_a_test_whose_answer_is_not_as_described(server: GiteaServer) -> None:
    server.add("First")
    server.items[1]["number"] = "one"
    with pytest.raises(AssertionError, match="not of type 'integer'"):
        anyio.run(driver(server).issue, IssueId("1"))


@pytest.mark.parametrize("name", ["gitea", "forgejo"])
@pytest.mark.parametrize(
    ("method", "path", "query", "body", "why"),
    [
        ("GET", "/isues", (), None, "not described"),
        ("GET", "/issues", (("milestone", "v1"),), None, "no parameter milestone"),
        ("GET", "/issues", (("page", "one"),), None, "cast value to integer"),
        ("POST", "/issues", (), {"body": "no title"}, "'title' is a required property"),
        ("POST", "/issues", (), {"title": "t", "labels": ["ready"]}, "is not of type 'integer'"),
        ("POST", "/pulls/3/merge", (), {"Do": "octopus"}, "is not one of"),
        ("POST", "/pulls/3/merge", (), {"Do": "merge", "sha": A}, "'sha' was unexpected"),
        ("POST", f"/statuses/{A}", (), {"state": True, "context": "c"}, "is not of type 'string'"),
        ("POST", "/pulls/3/reviews", (), {"event": "COMMENT", "comments": {"path": "a"}}, "is not of type 'array'"),
    ],
)
def test_judge_catches_a_wrong_request(
    name: str, method: str, path: str, query: tuple[tuple[str, str], ...], body: object, why: str
) -> None:
    content = json.dumps(body).encode() if body else b""
    found = judge(name).asked(method, R + path, query, content)
    assert why in "".join(found)


@pytest.mark.parametrize(
    ("path", "status", "body", "why"),
    [
        ("/issues/1", 200, {"number": "one"}, "is not of type 'integer'"),
        ("/issues/1", 200, {"numero": 1}, "'numero' was unexpected"),
        ("/issues/1", 418, {}, "does not answer 418"),
        ("/issues", 200, {"number": 1}, "is not of type 'array'"),
        ("/pulls/1", 200, {"state": "merged"}, "is not one of"),
        ("/pulls/1", 200, {"head": {"sha": 7}}, "is not valid under any of the given schemas"),
    ],
)
def test_judge_catches_a_wrong_answer(path: str, status: int, body: object, why: str) -> None:
    found = judge("gitea").answered("GET", R + path, status, json.dumps(body).encode())
    assert why in "".join(found)


def test_what_the_generator_wrote_comes_back_whole() -> None:
    for name in ("gitea", "forgejo"):
        said = description(name)
        assert len(said["paths"]) > 130
        reached = set(json.dumps(said).split('"#/components/schemas/')[1:])
        assert {one.partition('"')[0] for one in reached} <= set(said["components"]["schemas"])
        merge = said["components"]["schemas"]["MergePullRequestOption"]
        assert merge["properties"]["Do"]["enum"][0] == "merge"
