"""REST: every answer against GitHub's official description, and what it does to the tracker and the repository."""

from typing import Any

import anyio
import httpx
import pytest
from face_contract import breaches, shown
from face_ground import Ground, commit, git, work_on
from github_contracts import needed

from luminaguard.forges.base import PullDraft
from luminaguard.forges.face.merging import closed_by
from luminaguard.forges.face.names import ISSUES_FROM
from luminaguard.host.locks import only_one
from luminaguard.model.ids import IssueId, Oid

REPO = "/repos/ann/demo"


class Caller:
    """Asks the face, and holds each answer against the contract. `status` must be what comes."""

    def __init__(self, ground: Ground, *, token: str | None = None, is_judged: bool = True) -> None:
        self._ground, self._token, self._is_judged = ground, token, is_judged
        self.last: httpx.Response | None = None

    def __call__(self, method: str, path: str, status: int = 200, json: Any = None, **more: Any) -> Any:
        response: httpx.Response = anyio.run(self._ask, method, path, json, more)
        assert response.status_code == status, f"{method} {path}: {response.status_code} {response.text[:400]}"
        # GitHub's description forgets that it refuses verdicts on what is no commit, or of a word that is none.
        is_forgotten = status == 422 and path.startswith((f"{REPO}/check-runs", f"{REPO}/statuses"))
        if self._is_judged and not is_forgotten and status != 304:
            assert breaches(response, is_asked_right=status < 300) == []
        self.last = response
        return shown(response)

    async def _ask(self, method: str, path: str, json: Any, more: dict[str, Any]) -> httpx.Response:
        async with self._ground.client(self._token) as client:
            return await client.request(method, path, json=json, **more)


@pytest.fixture
def ask(ground: Ground) -> Caller:
    needed()
    return Caller(ground)


def pull_of(ask: Caller, ground: Ground, *, branch: str = "agent/1", path: str = "new.py", body: str = "") -> Any:
    work_on(ground.folder, branch, path, "1\n2\n")
    return ask("POST", f"{REPO}/pulls", 201, {"title": "Work", "head": branch, "base": "main", "body": body})


def test_who_and_what_is_told(ask: Caller) -> None:
    assert ask("GET", "/user")["login"] == "ann"
    assert ask("GET", "/rate_limit")["rate"]["limit"] == 5000
    ask("GET", "/meta")
    told = ask("GET", REPO)
    assert (told["full_name"], told["default_branch"], told["permissions"]["push"]) == ("ann/demo", "main", True)
    ask("GET", "/repos/ann/other", 404)


def test_issues_from_beginning_to_end(ask: Caller, ground: Ground) -> None:
    made = ask("POST", f"{REPO}/issues", 201, {"title": "First", "body": "do it", "labels": ["bug", {"name": "x"}]})
    assert (made["number"], made["id"], made["state"], made["state_reason"]) == (1, ISSUES_FROM + 1, "open", None)
    assert [it["name"] for it in made["labels"]] == ["bug", "x"]
    again = ask("PATCH", f"{REPO}/issues/1", 200, {"title": "One", "state": "closed", "state_reason": "not_planned"})
    assert (again["title"], again["state_reason"], again["closed_by"]["login"]) == ("One", "not_planned", "ann")
    assert ask("PATCH", f"{REPO}/issues/1", 200, {"state": "open"})["state_reason"] == "reopened"
    assert ask("GET", f"{REPO}/issues/1")["body"] == "do it"
    assert ground.store.show("1").author == "ann"
    ask("GET", f"{REPO}/issues/99", 404)
    ask("POST", f"{REPO}/issues", 422, {"body": "no title"})
    ask("POST", f"{REPO}/issues", 422, {"title": " "})


def test_lists_are_filtered_and_come_in_pages(ask: Caller, ground: Ground) -> None:
    for number in range(5):
        ground.store.add(f"issue {number}", labels=("even",) if number % 2 == 0 else (), author="bob")
    ground.store.close("1")
    first = ask("GET", f"{REPO}/issues?state=all&per_page=2")
    assert [it["number"] for it in first] == [5, 4]
    assert ask.last is not None
    links = ask.last.links
    assert links["next"]["url"] == f"http://forge.test{REPO}/issues?state=all&per_page=2&page=2"
    assert links["last"]["url"].endswith("page=3")
    assert [it["number"] for it in ask("GET", f"{REPO}/issues?state=all&per_page=2&page=3")] == [1]
    assert set(ask.last.links) == {"prev", "first"}
    assert [it["number"] for it in ask("GET", f"{REPO}/issues?labels=even")] == [5, 3]
    assert [it["number"] for it in ask("GET", f"{REPO}/issues?direction=asc&creator=bob")] == [2, 3, 4, 5]
    assert ask("GET", f"{REPO}/issues?creator=eve") == []
    ask("GET", f"{REPO}/issues?state=odd", 422)


def test_an_answer_that_the_caller_has_is_not_sent_again(ask: Caller, ground: Ground) -> None:
    ground.store.add("a")
    ask("GET", f"{REPO}/issues")
    assert ask.last is not None
    tag = ask.last.headers["etag"]
    ask("GET", f"{REPO}/issues", 304, headers={"If-None-Match": tag})
    ground.store.add("b")
    ask("GET", f"{REPO}/issues", 200, headers={"If-None-Match": tag})


def test_comments_are_said_reworded_and_taken_back(ask: Caller, ground: Ground) -> None:
    ground.store.add("a")
    made = ask("POST", f"{REPO}/issues/1/comments", 201, {"body": "hello"})
    assert ask("PATCH", f"{REPO}/issues/comments/{made['id']}", 200, {"body": "hi"})["body"] == "hi"
    assert [it["body"] for it in ask("GET", f"{REPO}/issues/1/comments")] == ["hi"]
    assert ask("GET", f"{REPO}/issues/1")["comments"] == 1
    ask("DELETE", f"{REPO}/issues/comments/{made['id']}", 204)
    ask("GET", f"{REPO}/issues/comments/{made['id']}", 404)
    assert [it.what for it in ground.store.events("1")][-3:] == ["commented", "comment edited", "comment deleted"]


def test_labels_and_milestones(ask: Caller, ground: Ground) -> None:
    ground.store.add("a", labels=("old",), milestone="v1")
    ask("POST", f"{REPO}/labels", 201, {"name": "bug", "color": "FF0000", "description": "broken"})
    ask("POST", f"{REPO}/labels", 422, {"name": "Bug"})
    assert [it["name"] for it in ask("POST", f"{REPO}/issues/1/labels", 200, {"labels": ["bug"]})] == ["old", "bug"]
    assert [it["color"] for it in ask("GET", f"{REPO}/issues/1/labels")] == ["ededed", "ff0000"]
    ask("DELETE", f"{REPO}/issues/1/labels/old")
    assert ask("PUT", f"{REPO}/issues/1/labels", 200, {"labels": ["z"]})[0]["name"] == "z"
    assert [it["name"] for it in ask("GET", f"{REPO}/labels")] == ["bug", "z"]
    assert ask("GET", f"{REPO}/labels/bug")["description"] == "broken"
    assert ask("GET", f"{REPO}/milestones")[0]["title"] == "v1"
    assert ask("GET", f"{REPO}/issues?milestone=1")[0]["milestone"]["number"] == 1


def test_dependencies_go_by_database_ids(ask: Caller, ground: Ground) -> None:
    first, second = (ask("POST", f"{REPO}/issues", 201, {"title": title}) for title in "ab")
    path = f"{REPO}/issues/2/dependencies"
    told = ask("POST", f"{path}/blocked_by", 201, {"issue_id": first["id"]})
    assert told["issue_dependencies_summary"]["blocked_by"] == 1
    assert ground.store.show("2").needs == ("1",)
    assert [it["number"] for it in ask("GET", f"{path}/blocked_by")] == [1]
    assert [it["number"] for it in ask("GET", f"{REPO}/issues/1/dependencies/blocking")] == [2]
    ask("POST", f"{path}/blocked_by", 404, {"issue_id": 1})
    ask("POST", f"{path}/blocked_by", 422, {"issue_id": first["id"]})
    ask("POST", f"{path}/blocked_by", 422, {"issue_id": second["id"]})
    ask("DELETE", f"{path}/blocked_by/{first['id']}")
    assert ground.store.show("2").needs == ()


def test_sub_issues_have_one_parent_and_go_in_no_circle(ask: Caller) -> None:
    ids = [ask("POST", f"{REPO}/issues", 201, {"title": title})["id"] for title in "abc"]
    ask("POST", f"{REPO}/issues/1/sub_issues", 201, {"sub_issue_id": ids[1]})
    assert ask("GET", f"{REPO}/issues/2/parent")["sub_issues_summary"]["total"] == 1
    ask("POST", f"{REPO}/issues/3/sub_issues", 422, {"sub_issue_id": ids[1]})
    ask("POST", f"{REPO}/issues/2/sub_issues", 422, {"sub_issue_id": ids[0]})
    assert [it["number"] for it in ask("GET", f"{REPO}/issues/1/sub_issues")] == [2]
    ask("DELETE", f"{REPO}/issues/1/sub_issue", 200, {"sub_issue_id": ids[1]})
    ask("GET", f"{REPO}/issues/2/parent", 404)


def test_an_issue_whose_id_is_no_number_has_one_of_its_own(ask: Caller, ground: Ground) -> None:
    ground.store.add("a", id="BACK-3")
    ground.store.add("b", needs=(IssueId("BACK-3"),))
    assert [it["number"] for it in ask("GET", f"{REPO}/issues")] == [1, 1_000_000]
    ask("PATCH", f"{REPO}/issues/1000000", 200, {"state": "closed"})
    assert ask("GET", f"{REPO}/issues/1")["issue_dependencies_summary"] == {
        "blocked_by": 0,
        "blocking": 0,
        "total_blocked_by": 1,
        "total_blocking": 0,
    }


def test_a_pull_request_is_opened_listed_and_edited(ask: Caller, ground: Ground) -> None:
    made = pull_of(ask, ground)
    assert (made["number"], made["mergeable"], made["mergeable_state"], made["additions"]) == (1, True, "clean", 2)
    assert [it["number"] for it in ask("GET", f"{REPO}/pulls?head=ann:agent/1&state=all")] == [1]
    assert ask("GET", f"{REPO}/pulls?head=eve:agent/1") == []
    files = ask("GET", f"{REPO}/pulls/1/files")
    assert [(it["filename"], it["status"], it["patch"]) for it in files] == [
        ("new.py", "added", "@@ -0,0 +1,2 @@\n+1\n+2\n")
    ]
    assert [it["commit"]["message"].strip() for it in ask("GET", f"{REPO}/pulls/1/commits")] == ["change new.py"]
    assert ask("PATCH", f"{REPO}/pulls/1", 200, {"title": "T", "state": "closed"})["state"] == "closed"
    assert ask("GET", f"{REPO}/issues/1")["pull_request"]["merged_at"] is None
    ask("PATCH", f"{REPO}/pulls/1", 200, {"state": "open"})
    same = {"title": "Again", "head": "agent/1", "base": "main"}
    assert "already exists" in ask("POST", f"{REPO}/pulls", 422, same)["errors"][0]["message"]
    assert (
        "No commits"
        in ask("POST", f"{REPO}/pulls", 422, {**same, "head": "main", "base": "agent/1"})["errors"][0]["message"]
    )
    ask("POST", f"{REPO}/pulls", 422, {**same, "head": "nowhere"})
    ask("POST", f"{REPO}/pulls", 422, {**same, "head": "main~0"})
    ask("POST", f"{REPO}/pulls", 422, {**same, "head": made["head"]["sha"]})
    ask("PATCH", f"{REPO}/pulls/1", 422, {"base": made["head"]["sha"]})


def test_a_pull_request_follows_its_branch(ask: Caller, ground: Ground) -> None:
    pull_of(ask, ground)
    git(ground.folder, "checkout", "-q", "agent/1")
    moved = commit(ground.folder, "more.py", "3\n")
    git(ground.folder, "checkout", "-q", "main")
    assert ask("GET", f"{REPO}/pulls/1")["head"]["sha"] == moved
    assert ask("GET", f"{REPO}/pulls")[0]["head"]["sha"] == moved


def test_reviews_with_words_on_lines(ask: Caller, ground: Ground) -> None:
    pull_of(ask, ground)
    remark = {"path": "new.py", "line": 2, "side": "RIGHT", "body": "why?"}
    made = ask("POST", f"{REPO}/pulls/1/reviews", 200, {"event": "REQUEST_CHANGES", "body": "no", "comments": [remark]})
    assert made["state"] == "CHANGES_REQUESTED"
    assert ask("POST", f"{REPO}/pulls/1/reviews", 422, {"event": "APPROVE"})["message"].startswith("Review Can not")
    line = ask("GET", f"{REPO}/pulls/1/comments")[0]
    assert (line["path"], line["line"], line["body"]) == ("new.py", 2, "why?")
    answer = ask("POST", f"{REPO}/pulls/1/comments/{line['id']}/replies", 201, {"body": "because"})
    assert answer["in_reply_to_id"] == line["id"]
    assert len(ask("GET", f"{REPO}/pulls/1/reviews")) == 2
    assert ask("GET", f"{REPO}/pulls/1/reviews/{made['id']}")["body"] == "no"
    assert ask("GET", f"{REPO}/pulls/1")["review_comments"] == 2


def test_verdicts_on_commits(ask: Caller, ground: Ground) -> None:
    head = git(ground.folder, "rev-parse", "HEAD").stdout.strip()
    for state in ("pending", "success"):
        ask("POST", f"{REPO}/statuses/{head}", 201, {"state": state, "context": "ci"})
    combined = ask("GET", f"{REPO}/commits/{head}/status")
    assert (combined["state"], combined["total_count"]) == ("success", 1)
    assert len(ask("GET", f"{REPO}/commits/main/statuses")) == 2
    run = ask("POST", f"{REPO}/check-runs", 201, {"name": "lint", "head_sha": head, "status": "in_progress"})
    done = {"conclusion": "failure", "output": {"title": "t", "summary": "s"}}
    assert ask("PATCH", f"{REPO}/check-runs/{run['id']}", 200, done)["status"] == "completed"
    runs = ask("GET", f"{REPO}/commits/{head}/check-runs")
    assert [(it["name"], it["conclusion"]) for it in runs["check_runs"]] == [("lint", "failure")]
    ask("POST", f"{REPO}/check-runs", 422, {"name": "x", "head_sha": "f" * 40})
    ask("POST", f"{REPO}/statuses/{head}", 422, {"state": "fine"})


def test_branches_and_their_rules(ask: Caller, ground: Ground) -> None:
    work_on(ground.folder, "feature/x", "f", "1")
    assert {it["name"]: it["protected"] for it in ask("GET", f"{REPO}/branches")} == {"feature/x": False, "main": True}
    assert ask("GET", f"{REPO}/branches/feature%2Fx")["commit"]["commit"]["message"].startswith("change f")
    assert ask("GET", f"{REPO}/branches/main/protection")["allow_force_pushes"] == {"enabled": False}
    ask("GET", f"{REPO}/branches/feature%2Fx/protection", 404)
    assert [it["type"] for it in ask("GET", f"{REPO}/rules/branches/main")] == ["deletion", "non_fast_forward"]
    assert ask("GET", f"{REPO}/git/ref/heads%2Ffeature%2Fx")["ref"] == "refs/heads/feature/x"
    ask("DELETE", f"{REPO}/git/refs/heads%2Fmain", 422)
    ask("DELETE", f"{REPO}/git/refs/heads%2Ffeature%2Fx", 204)
    ask("GET", f"{REPO}/branches/feature%2Fx", 404)


@pytest.mark.parametrize(("style", "parents"), [("squash", 1), ("merge", 2)])
def test_a_merge_lands_closes_and_leaves_the_checkout_clean(
    ask: Caller, ground: Ground, style: str, parents: int
) -> None:
    ground.store.add("asked")
    made = pull_of(ask, ground, body="Closes #1")
    before = git(ground.folder, "rev-parse", "main").stdout.strip()
    head = made["head"]["sha"]
    ask("GET", f"{REPO}/pulls/2/merge", 404)
    ask("PUT", f"{REPO}/pulls/2/merge", 409, {"sha": "0" * 40, "merge_method": style})
    assert git(ground.folder, "rev-parse", "main").stdout.strip() == before
    merged = ask("PUT", f"{REPO}/pulls/2/merge", 200, {"sha": head, "merge_method": style})
    told = git(ground.folder, "log", "-1", "--format=%H %P", "main").stdout.split()
    assert told[:2] == [merged["sha"], before]
    assert len(told) == 1 + parents
    assert git(ground.folder, "status", "--porcelain").stdout == ""
    assert (ground.folder / "new.py").exists()
    assert ask("GET", f"{REPO}/pulls/2")["merged"] is True
    ask("GET", f"{REPO}/pulls/2/merge", 204)
    assert ask("GET", f"{REPO}/issues/1")["state_reason"] == "completed"
    ask("PUT", f"{REPO}/pulls/2/merge", 405, {"sha": head})


def test_what_cannot_be_merged_is_refused_and_nothing_moves(ask: Caller, ground: Ground) -> None:
    pull_of(ask, ground, path="README.md")
    commit(ground.folder, "README.md", "other\n")
    tip = git(ground.folder, "rev-parse", "main").stdout
    assert ask("GET", f"{REPO}/pulls/1")["mergeable_state"] == "dirty"
    assert "conflicts in README.md" in ask("PUT", f"{REPO}/pulls/1/merge", 405, {})["message"]
    ask("PUT", f"{REPO}/pulls/1/merge", 405, {"merge_method": "rebase"})
    assert git(ground.folder, "rev-parse", "main").stdout == tip


def test_nothing_is_merged_while_a_run_is_at_work(ask: Caller, ground: Ground) -> None:
    pull_of(ask, ground)
    with only_one(ground.site.places.state / "lock"):
        assert "a run is at work" in ask("PUT", f"{REPO}/pulls/1/merge", 405, {})["message"]
    ask("PUT", f"{REPO}/pulls/1/merge", 200, {})


def test_a_merge_that_was_cut_short_is_finished_and_not_done_twice(
    ask: Caller, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.store.add("asked")
    pull_of(ask, ground, body="Fixes #1")
    with monkeypatch.context() as broken:
        broken.setattr("luminaguard.forges.store.TrackerStore.mark_merged", _killed)
        with pytest.raises(KeyboardInterrupt):
            ask("PUT", f"{REPO}/pulls/2/merge", 200, {"merge_method": "squash"})
    landed = git(ground.folder, "rev-parse", "main").stdout.strip()
    assert ask("GET", f"{REPO}/pulls/2")["merged"] is False
    assert ask("PUT", f"{REPO}/pulls/2/merge", 200, {"merge_method": "squash"})["sha"] == landed
    assert git(ground.folder, "rev-parse", "main").stdout.strip() == landed


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_the_engines_own_pull_requests_are_shown(ask: Caller, ground: Ground) -> None:
    ground.store.add("asked")
    head = Oid(work_on(ground.folder, "feature/issue-1", "x", "1"))
    draft = PullDraft(
        branch="feature/issue-1", head=head, target="main", issue=IssueId("1"), title="t", body="Closes #1"
    )
    pull = ground.store.open_pull(draft)
    assert ask("GET", f"{REPO}/pulls/{pull.id}")["head"]["ref"] == "feature/issue-1"
    ground.store.mark_merged(pull.id, commit=head)
    assert ask("GET", f"{REPO}/pulls/{pull.id}")["merge_commit_sha"] == head


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Closes #1, #2", (1,)),
        ("closes #1\nFixes: ann/demo#3, resolved GH-4", (1, 3, 4)),
        ("fixes eve/other#1", ()),
        ("Fixed http://x.test/ann/demo/issues/7", (7,)),
        ("encloses #1; see #2", ()),
    ],
)
def test_each_issue_needs_its_own_keyword(text: str, numbers: tuple[int, ...]) -> None:
    assert closed_by(text, repository="ann/demo") == numbers
