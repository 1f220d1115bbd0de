"""The judge of the driver's requests by what GitLab's official description says; the server holds all tests to it."""

import json

import anyio
import httpx
import pytest
from gitlab_contract import judge
from lab_drivers import filled, gitlab_lab

from luminaguard.model.ids import IssueId

PROJECT = "/projects/group%2Fsub%2Fproject"
MERGE = f"{PROJECT}/merge_requests/1"
A = "a" * 40


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "why"),
    [
        ("GET", "/issues", (("assignee", "maria"),), None, "no parameter assignee"),
        ("GET", "/issues", (("state", "open"),), None, "is not one of"),
        ("GET", "/merge_requests", (("order_by", "weight"),), None, "is not one of"),
        ("GET", "/merge_requests", (("per_page", "all"),), None, "cast value to integer"),
        ("POST", "/issues", (), {"description": "no title"}, "'title' is a required property"),
        ("POST", "/issues", (), {"title": "t", "body": "b"}, "'body' was unexpected"),
        ("PUT", "/issues/1", (), {"state_event": "closed"}, "is not one of"),
        ("POST", "/issues/1/links", (), {"target_issue_iid": 2}, "'target_project_id' is a required property"),
        ("POST", "/merge_requests", (), {"title": "t", "source_branch": "b"}, "'target_branch' is a required property"),
        ("PUT", "/merge_requests/1", (), {"labels": {"a": 1}}, "is not valid under any of the given schemas"),
        ("PUT", "/merge_requests/1/merge", (), {"sha": A, "squash": "yes"}, "is not of type 'boolean'"),
    ],
)
def test_judge_catches_a_wrong_request(
    method: str, path: str, query: tuple[tuple[str, str], ...], body: object, why: str
) -> None:
    content = json.dumps(body).encode() if body else b""
    assert why in "".join(judge().asked(method, PROJECT + path, query, content))


def test_judge_catches_a_status_that_is_not_described() -> None:
    assert judge().answered("GET", MERGE, 409, b"{}") == (f"GET {MERGE} does not answer 409",)
    assert judge().answered("GET", MERGE, 404, b"{}") == ()
    assert judge().answered("GET", MERGE, 502, b"oops") == ()


def test_what_the_description_was_not_read_for_is_left_to_the_table() -> None:
    assert judge().asked("POST", f"{MERGE}/notes", (), b'{"body": "x"}') == ()


def test_server_shows_nothing_of_its_own_bookkeeping() -> None:
    lab = filled(gitlab_lab())
    anyio.run(lab.opened().tell, IssueId("1"), "working")

    async def notes() -> list[dict[str, object]]:
        headers = {"Authorization": lab.server.auth}
        async with httpx.AsyncClient(
            transport=lab.server, base_url="https://lab.test/api/v4", headers=headers
        ) as client:
            found: list[dict[str, object]] = (await client.get(f"{PROJECT}/issues/1/notes")).json()
            return found

    (note,) = anyio.run(notes)
    assert "body" in note
    assert not {"of", "kind"} & set(note)
