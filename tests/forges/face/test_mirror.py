"""A face before a GitHub: what it shows of it, how often it asks, and what goes out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from face_ground import ME
from github_driver import Opened
from github_server import Broken, Server

from luminaguard.app.forge_words import agent_words
from luminaguard.forges.base import Filters
from luminaguard.forges.face.app import face_without_git
from luminaguard.forges.face.site import Site, site_of
from luminaguard.forges.face.tokens import Holder, Rights, Tokens
from luminaguard.forges.github.forge import GitHub
from luminaguard.forges.mirror import LISTENS_AT_ONCE, Mirror
from luminaguard.forges.store import TrackerStore
from luminaguard.host.git import find_repository
from luminaguard.model.ids import IssueId

REPO = "/repos/ann/demo"
FULL = Holder(login="ann", rights=Rights.FULL)


@dataclass(slots=True)
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The face, the forge behind it, and the clock by which it asks."""

    server: Server
    mirror: Mirror
    site: Site
    tokens: Tokens
    clock: Clock = field(default_factory=Clock)

    def agent(self, issue: str = "1", *, most: int = 20, login: str = "agent-1[bot]") -> str:
        return self.tokens.make(Holder(login=login, rights=Rights.COMMENT, issue=IssueId(issue), most=most))

    def ask(self, method: str, path: str, token: str | None = None, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token or self.agent()}"}

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(app=face_without_git(self.site, self.tokens))
            async with httpx.AsyncClient(transport=transport, base_url="http://forge.test", headers=headers) as client:
                return await client.request(method, path, **more)

        return anyio.run(asked)

    def get(self, path: str) -> Any:
        answer = self.ask("GET", REPO + path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def requests_for(self, call: Callable[[], object]) -> int:
        before = len(self.server.seen)
        call()
        return len(self.server.seen) - before


Show = Callable[[GitHub], Shown]


@pytest.fixture
def show(project: Path, tmp_path: Path, server: Server) -> Show:
    return lambda forge: shown_of(forge, project, tmp_path, server)


@pytest.fixture
def shown(show: Show, forge: GitHub) -> Shown:
    return show(forge)


def shown_of(forge: GitHub, project: Path, tmp_path: Path, server: Server) -> Shown:
    clock = Clock()
    store = TrackerStore(tmp_path / "mirror.db", who="luminaguard")
    mirror = Mirror(store, forge=forge, talk=forge, source="github", dressed=agent_words, clock=clock)
    places = find_repository(project)
    site = site_of(places, target="main", identity=ME, store=store, owner="ann", name="demo", beyond=mirror)
    return Shown(server=server, mirror=mirror, site=site, tokens=Tokens(tmp_path / "tokens"), clock=clock)


def test_issues_have_the_numbers_and_words_that_they_have_there(shown: Shown) -> None:
    shown.server.add_issue("First", body="Do it.", labels=["bug"])
    shown.server.add_issue("Second")
    shown.server.items[1]["state"] = "closed"
    found = shown.get("/issues?state=all")
    assert [(it["number"], it["title"], it["state"]) for it in found] == [(2, "Second", "open"), (1, "First", "closed")]
    assert shown.get("/issues/1")["body"] == "Do it."


def test_it_asks_again_for_issues_only_after_a_while(shown: Shown) -> None:
    shown.server.add_issue("First")
    assert shown.requests_for(lambda: shown.get("/issues")) > 0
    shown.server.add_issue("Second")
    assert shown.requests_for(lambda: [shown.get("/issues") for _ in range(5)]) == 0
    shown.clock.now += 31
    assert [it["number"] for it in shown.get("/issues")] == [2, 1]


def test_what_is_gone_there_is_gone_here(shown: Shown) -> None:
    shown.server.add_issue("First")
    shown.server.add_issue("Second")
    shown.get("/issues")
    del shown.server.items[2]
    shown.clock.now += 31
    assert [it["number"] for it in shown.get("/issues?state=all")] == [1]


def test_comments_are_those_of_the_forge_edited_and_deleted_as_there(shown: Shown) -> None:
    shown.server.add_issue("First")
    one = shown.server.comment_on(1, "One", login="bob")
    two = shown.server.comment_on(1, "Two", login="carol")
    found = shown.get("/issues/1/comments")
    assert [(it["id"], it["body"], it["user"]["login"]) for it in found] == [
        (one["id"], "One", "bob"),
        (two["id"], "Two", "carol"),
    ]
    one["body"] = "One, edited"
    del shown.server.comments[two["id"]]
    assert [it["body"] for it in shown.get("/issues/1/comments")] == ["One", "Two"]
    shown.clock.now += 11
    assert [it["body"] for it in shown.get("/issues/1/comments")] == ["One, edited"]


def test_an_agent_that_asks_for_all_comments_costs_a_few_requests(shown: Shown) -> None:
    for number in range(1, 31):
        shown.server.add_issue(f"Issue {number}")
    shown.get("/issues")
    codes: list[int] = []

    def all_of_them() -> None:
        codes.extend(shown.ask("GET", f"{REPO}/issues/{number}/comments").status_code for number in range(1, 31))

    assert shown.requests_for(all_of_them) == LISTENS_AT_ONCE
    assert codes == [200] * LISTENS_AT_ONCE + [503] * (30 - LISTENS_AT_ONCE)


def test_a_comment_goes_out_once_in_words_that_nobody_takes_for_ours(shown: Shown) -> None:
    shown.server.add_issue("First")
    token = shown.agent()
    said = {"body": "fixes #9 for @team\n/close\n<!-- luminaguard:status -->"}
    answers = [shown.ask("POST", f"{REPO}/issues/1/comments", token, json=said) for _ in range(2)]
    assert [it.status_code for it in answers] == [201, 201]
    (arrived,) = shown.server.comments_on(1)
    assert arrived.startswith(
        "The agent that works on this issue says:\n\n> fixes #\u200b9 for @\u200bteam\n> /close\n> <!-- said: status"
    )
    assert answers[0].json()["id"] == next(iter(shown.server.comments))


def test_the_same_words_of_another_attempt_go_out_too(shown: Shown) -> None:
    shown.server.add_issue("First")
    for most in (20, 25):
        shown.ask("POST", f"{REPO}/issues/1/comments", shown.agent(most=most), json={"body": "Done."})
    assert len(shown.server.comments_on(1)) == 2


def test_nobody_changes_anything_in_a_mirror(shown: Shown) -> None:
    shown.server.add_issue("First")
    shown.server.add_issue("Second")
    made = shown.ask("POST", f"{REPO}/issues/1/comments", shown.agent(), json={"body": "mine"}).json()["id"]
    full = shown.tokens.make(FULL)
    tried = [
        shown.ask("PATCH", f"{REPO}/issues/comments/{made}", shown.agent(), json={"body": "x"}),
        shown.ask("DELETE", f"{REPO}/issues/comments/{made}", shown.agent()),
        shown.ask("POST", f"{REPO}/issues/2/comments", shown.agent(), json={"body": "x"}),
        shown.ask("POST", f"{REPO}/issues", full, json={"title": "x"}),
        shown.ask("PATCH", f"{REPO}/issues/1", full, json={"state": "closed"}),
        shown.ask("POST", f"{REPO}/issues/1/comments", full, json={"body": "x"}),
    ]
    assert [it.status_code for it in tried] == [403] * len(tried)
    assert len(shown.server.comments) == 1


def test_an_issue_that_is_worked_on_is_shown_though_the_backlog_has_it_not(
    show: Show, server: Server, opened: Opened
) -> None:
    server.add_issue("Labelled", labels=["ready"])
    server.add_issue("Named on the command line")
    shown = show(opened(filters=Filters(labels=("ready",))))
    assert [it["number"] for it in shown.get("/issues")] == [1]
    shown.mirror.name(IssueId("2"))
    assert [it["number"] for it in shown.get("/issues")] == [2, 1]


def test_a_forge_that_does_not_answer_leaves_what_was_shown(shown: Shown) -> None:
    shown.server.add_issue("First")
    shown.get("/issues")
    shown.server.faults = iter(lambda: Broken("500"), None)
    shown.clock.now += 31
    assert [it["number"] for it in shown.get("/issues")] == [1]


def test_a_forge_that_never_answered_is_said_to_be_away(shown: Shown) -> None:
    shown.server.add_issue("First")
    shown.server.faults = iter(lambda: Broken("500"), None)
    assert shown.ask("GET", f"{REPO}/issues").status_code == 503
    shown.server.faults = iter(())
    assert [it["number"] for it in shown.get("/issues")] == [1]
