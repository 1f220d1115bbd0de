"""Every request of the driver, and every answer of our stand-in, against GitHub's official descriptions."""

import json
from functools import partial
from pathlib import Path

import anyio
import httpx
import pytest
from github_app import AppServer, app_on
from github_contracts import needed
from github_driver import driver_on
from github_judge import Judge
from github_server import FULL, Server

from luminaguard.forges.base import Merged, PullDraft, ReportPlace, ReviewNote
from luminaguard.forges.github.forge import GitHub
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import Issue
from luminaguard.model.work import Finding, Severity

needed_first = pytest.mark.usefixtures("_contracts")
HEAD = Oid("a" * 40)


@pytest.fixture
def _contracts() -> None:
    needed()


async def whole_story(forge: GitHub, server: Server) -> None:
    first = await forge.add(Issue(id=IssueId("x-1"), title="First", body="Do it.", labels=("ready",)))
    second = await forge.add(Issue(id=IssueId("x-2"), title="Second"))
    await forge.add_need(second, first)
    server.parents[2] = 1
    await forge.backlog()
    await forge.issue(second)
    server.branches["b"] = HEAD
    draft = PullDraft(
        branch="b",
        head=HEAD,
        target="main",
        issue=first,
        title="P",
        body=f"Closes #{first}",
        is_draft=True,
        labels=("x",),
    )
    pull = await forge.open_pull(draft)
    await forge.open_pull(PullDraft(branch="b", head=HEAD, target="main", issue=first, title="P2", body=draft.body))
    server.files = [{"filename": "a.py", "patch": "@@ -1 +1 @@\n+one", "status": "modified"}]
    finding = Finding(severity=Severity.LOW, file="a.py", line=1, text="x")
    await forge.post_review(pull.id, ReviewNote(commit=HEAD, ok=True, text="Fine.", findings=(finding,)))
    server.review_on(3, "APPROVED", "", login="ann")
    await forge.remarks(pull.id)
    await forge.fate(pull.id)
    await forge.comment(first, "An agent asks.", key="question")
    await forge.comments(first)
    await forge.report_check(HEAD, name="luminaguard", state="passed", text="12 passed")
    await forge.checks(HEAD)
    await forge.tell(first, "working")
    await forge.tell(first, "landing")
    server.rules = [{"type": "merge_queue"}]
    await forge.merge(pull.id, head=HEAD, style="squash", message="P (#3)\n\nWhy.")
    await forge.merge(pull.id, head=HEAD, style="squash", message="P (#3)\n\nWhy.")
    await forge.leave(pull.id)
    assert server.queue == []
    server.rules, server.auto_allowed = [], True
    server.items[3]["mergeable_state"] = "blocked"
    await forge.merge(pull.id, head=HEAD, style="squash", message="P (#3)\n\nWhy.")
    await forge.leave(pull.id)
    assert server.auto == set()
    server.items[3]["mergeable_state"] = "clean"
    assert isinstance(await forge.merge(pull.id, head=HEAD, style="squash", message="P (#3)"), Merged)
    await forge.mark_merged(pull.id, commit=HEAD)
    await forge.close(first, comment="Landed.")
    await forge.close(second, comment="Landed.")
    server.branches["c"] = HEAD
    other = await forge.open_pull(PullDraft(branch="c", head=HEAD, target="main", issue=second, title="Q", body=""))
    await forge.mark_merged(other.id, commit=Oid("c" * 40))
    await forge.post_report("text", title="Run 1")
    await forge.post_report("text 2", title="Run 1")
    await forge.lacking()


@needed_first
def test_whole_story_keeps_to_githubs_descriptions() -> None:
    judge = Judge()
    server = Server(judge=judge)
    anyio.run(whole_story, driver_on(server, report=ReportPlace(category="Reports")), server)
    assert judge.breaches == []
    assert {request.method for request in server.seen} == {"GET", "POST", "PUT", "PATCH"}
    assert len(server.seen) > 60


@needed_first
def test_app_asks_for_its_tokens_as_github_describes(tmp_path: Path) -> None:
    judge = Judge()
    server = AppServer(judge=judge, me="luminaguard[bot]", refuses={"GET /user$": (403, {})})
    server.add_issue("First")
    forge = app_on(server, tmp_path)
    anyio.run(forge.git_token)
    anyio.run(forge.tell, IssueId("1"), "working")
    anyio.run(forge.lacking)
    assert judge.breaches == []
    assert server.asked.count("/app/installations/42/access_tokens") == 2


@needed_first
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/issues", {"body": "no title"}),
        ("PUT", "/pulls/3/merge", {"merge_method": "octopus"}),
        ("POST", "/issues/1/sub_issues", {"sub_issue_id": "2"}),
        ("POST", "/statuses/abc", {"state": "passed"}),
        ("GET", "/isues", None),
    ],
)
def test_judge_catches_a_wrong_request(method: str, path: str, body: object) -> None:
    judge = Judge()
    content = json.dumps(body).encode() if body else b""
    judge.request(httpx.Request(method, f"https://api.github.com/repos/{FULL}{path}", content=content))
    assert len(judge.breaches) == 1


@needed_first
def test_judge_catches_a_wrong_answer() -> None:
    judge = Judge()
    request = httpx.Request("GET", f"https://api.github.com/repos/{FULL}/issues/1")
    judge.completed(request, 200, {"number": "one"})
    judge.queried("query { viewer { shoeSize } }", {}, {"viewer": {}})
    assert len(judge.breaches) >= 2


def test_driver_needs_nothing_of_what_the_description_fills_in() -> None:
    server = Server()
    anyio.run(partial(whole_story, driver_on(server, report=ReportPlace(category="Reports")), server))
    assert server.merges == [3]
