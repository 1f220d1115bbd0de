"""Hostile callers: tokens that are none, bodies that are too much, paths that lead elsewhere, missing rights."""

import base64
import json
import socket
import stat
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from face_ground import Ground, Running, git, work_on
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luminaguard.forges.face.server import unix_socket
from luminaguard.forges.face.tokens import Holder, Rights, Tokens
from luminaguard.model.faults import UserFault

REPO = "/repos/ann/demo"


def answer(ground: Ground, method: str, path: str, token: str | None = None, **more: Any) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with ground.client(token) as client:
            return await client.request(method, path, **more)

    return anyio.run(ask)


@pytest.mark.parametrize(
    "header",
    [
        *("", "Bearer", "Bearer x", "token ../../token", "Basic %%%", "Digest x", f"Bearer {'x' * 9000}"),
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
    ],
)
def test_without_a_good_token_nothing_is_told(ground: Ground, header: str) -> None:
    for method, path in (
        ("GET", REPO),
        ("POST", "/graphql"),
        ("GET", "/ann/demo.git/info/refs?service=git-upload-pack"),
    ):
        got = answer(ground, method, path, headers={"Authorization": header})
        assert got.status_code == 401
        assert got.headers["www-authenticate"].startswith("Basic")


WRITES = [
    ("POST", "issues", {"title": "x"}),
    ("PATCH", "issues/1", {"title": "x"}),
    ("POST", "issues/2/comments", {"body": "x"}),
    ("POST", "issues/1/labels", {"labels": ["x"]}),
    ("DELETE", "issues/1/labels", None),
    ("POST", "issues/1/dependencies/blocked_by", {"issue_id": 1_500_000_002}),
    ("POST", "issues/1/sub_issues", {"sub_issue_id": 1_500_000_002}),
    ("POST", "labels", {"name": "x"}),
    ("POST", "pulls", {"title": "x", "head": "topic", "base": "main"}),
    ("PATCH", "pulls/3", {"title": "x"}),
    ("PUT", "pulls/3/merge", {}),
    ("POST", "pulls/3/reviews", {"event": "COMMENT", "body": "x"}),
    ("POST", "pulls/3/comments", {"path": "f", "body": "x", "commit_id": "main"}),
    ("POST", "statuses/main", {"state": "success"}),
    ("POST", "check-runs", {"name": "x", "head_sha": "main"}),
    ("DELETE", "git/refs/heads/topic", None),
]


def test_a_token_for_one_issue_reads_all_and_comments_there_and_nowhere_else(ground: Ground) -> None:
    ground.store.add("mine")
    ground.store.add("other")
    work_on(ground.folder, "topic", "f", "1")
    assert answer(ground, "POST", f"{REPO}/pulls", json=WRITES[8][2]).status_code == 201
    token = ground.token(Rights.COMMENT, "1")
    before = ground.store.events(), git(ground.folder, "for-each-ref").stdout
    for method, path, body in WRITES:
        assert answer(ground, method, f"{REPO}/{path}", token, json=body).status_code == 403, path
    assert (ground.store.events(), git(ground.folder, "for-each-ref").stdout) == before
    made = answer(ground, "POST", f"{REPO}/issues/1/comments", token, json={"body": "I am at it"})
    assert (made.status_code, made.json()["user"]["type"]) == (201, "Bot")
    assert answer(ground, "GET", f"{REPO}/issues/2", token).status_code == 200
    own = f"{REPO}/issues/comments/{made.json()['id']}"
    assert answer(ground, "PATCH", own, token, json={"body": "done"}).status_code == 200
    theirs = answer(ground, "POST", f"{REPO}/issues/1/comments", json={"body": "a person's"}).json()["id"]
    assert answer(ground, "DELETE", f"{REPO}/issues/comments/{theirs}", token).status_code == 403


def test_the_list_of_writes_above_is_complete(ground: Ground) -> None:
    """A full token gets through each of them: a 403 above is about the token, not about a wrong address."""
    ground.store.add("mine")
    ground.store.add("other")
    work_on(ground.folder, "topic", "f", "1")
    got = {path: answer(ground, method, f"{REPO}/{path}", json=body).status_code for method, path, body in WRITES}
    assert set(got.values()) <= {200, 201, 204, 404, 422}
    assert got["issues"] == got["pulls"] == got["check-runs"] == 201


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x" * (1024 * 1024 + 1), 413),
        (b"{", 400),
        (b"[]", 400),
        (b"[" * 100_000, 400),
        (b'{"title": ' + b"[" * 50 + b"]" * 50 + b"}", 400),
        (b'{"title": ["a"]}', 422),
        (b'{"title": "a\\u0000"}', 422),
        (b'{"title": "\\ud800"}', 422),
        (b'{"title": "a", "labels": [1]}', 422),
        (b'{"title": "a", "labels": {"a": 1}}', 422),
        (b'{"title": "a", "milestone": {"a": 1}}', 422),
        (b"\xff\xfe", 400),
    ],
)
def test_a_body_that_cannot_be_is_refused_and_nothing_is_kept(ground: Ground, body: bytes, status: int) -> None:
    assert answer(ground, "POST", f"{REPO}/issues", content=body).status_code == status
    assert ground.store.issues() == ()


@pytest.mark.parametrize(
    "path",
    [
        *("commits/--help", "commits/main:README.md/status", "commits/..%2f..%2fx", "commits/main@{0}"),
        *("branches/..%2F..%2FHEAD", "git/ref/heads/..%2F..%2FHEAD", "commits/HEAD", "commits/-n1", "issues/-1"),
        *("issues/1e3", "issues/٣", f"issues/{'9' * 40}", "pulls/0", "commits/%00", "labels/%00", "branches/%ff"),
    ],
)
def test_a_path_that_leads_elsewhere_leads_nowhere(ground: Ground, path: str) -> None:
    assert answer(ground, "GET", f"{REPO}/{path}").status_code in (404, 422)


# Half a surrogate pair is nothing that hypothesis makes by itself, and JSON can hold one.
TEXTS = st.sampled_from(["\udfff", "a\0", "\u202e", "-x"]) | st.text()
NUMBERS = st.sampled_from([2**31, 2**63, 10**20, -(10**20)]) | st.integers()
WORDS = TEXTS | NUMBERS | st.none() | st.booleans() | st.floats()
ANYTHING = st.recursive(WORDS, lambda inner: st.lists(inner, max_size=2), max_leaves=3)
NAMED = TEXTS | st.fixed_dictionaries({"name": TEXTS})
REMARKS = st.fixed_dictionaries({"path": TEXTS, "body": TEXTS}, optional={"line": NUMBERS, "side": TEXTS})
VALUES = {
    "labels": st.lists(NAMED, min_size=1, max_size=4),
    "comments": st.lists(REMARKS, min_size=1, max_size=2),
    "line": NUMBERS,
}
TAKEN = {
    "issues": ("title", "body", "labels", "milestone"),
    "issues/1": ("title", "body", "labels", "milestone", "state", "state_reason"),
    "issues/2/comments": ("body",),
    "issues/1/labels": ("labels",),
    "issues/1/dependencies/blocked_by": ("issue_id",),
    "issues/1/sub_issues": ("sub_issue_id", "replace_parent"),
    "labels": ("name", "color", "description"),
    "pulls": ("title", "head", "base", "body", "draft"),
    "pulls/3": ("title", "body", "base", "state"),
    "pulls/3/merge": ("merge_method", "sha", "commit_title", "commit_message"),
    "pulls/3/reviews": ("event", "body", "comments", "commit_id"),
    "pulls/3/comments": ("path", "body", "line", "side", "commit_id", "in_reply_to"),
    "statuses/main": ("state", "context", "description", "target_url"),
    "check-runs": ("name", "head_sha", "status", "conclusion", "details_url", "output"),
}
"""What each address takes out of a body."""


def test_every_address_that_takes_a_body_is_looked_at_below() -> None:
    assert set(TAKEN) == {path for _, path, body in WRITES if body is not None}


@pytest.fixture
def peopled(ground: Ground) -> Ground:
    """A tracker with two issues and a pull request with something to merge."""
    ground.store.add("one", milestone="M1")
    ground.store.add("two")
    work_on(ground.folder, "topic", "f", "1")
    assert answer(ground, "POST", f"{REPO}/pulls", json=WRITES[8][2]).status_code == 201
    return ground


@pytest.mark.timeout(900)
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    where=st.sampled_from([one for one in WRITES if one[2] is not None]),
    said=st.fixed_dictionaries({key: VALUES.get(key, ANYTHING) for key in sorted({*chain(*TAKEN.values())})}),
)
def test_whatever_a_body_says_it_is_answered_and_breaks_nothing(
    peopled: Ground, where: tuple[str, str, Any], said: dict[str, Any]
) -> None:
    """One word of each body is odd, and the others are as they should be, so that it is looked at."""
    method, path, needed = where

    async def ask() -> None:
        async with peopled.client() as client:
            for key in TAKEN[path]:
                body = json.dumps({**needed, key: said[key]})
                got = await client.request(method, f"{REPO}/{path}", content=body)
                assert got.status_code < 500, got.text
            for shown in ("issues?state=all", "labels", "pulls/3/reviews", "pulls/3/comments"):
                assert (await client.get(f"{REPO}/{shown}")).status_code == 200

    anyio.run(ask)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("issues", {"title": "x", "labels": ["\udfff"]}),
        ("issues", {"title": "x", "labels": [{"name": "a\0"}]}),
        ("labels", {"name": "\udfff"}),
        ("labels", {"name": "x", "description": "\udfff"}),
        ("issues/3/labels", {"labels": ["\udfff"]}),
        ("pulls/3/reviews", {"event": "COMMENT", "comments": [{"path": "f", "body": "x", "line": 10**20}]}),
        ("pulls/3/reviews", {"event": "COMMENT", "comments": [{"path": "f", "body": "x", "line": 2**31}]}),
        ("pulls/3/reviews", {"event": "COMMENT", "comments": [{"path": "f", "body": "x", "line": True}]}),
        ("pulls/3/reviews", {"event": "COMMENT", "comments": [{"path": "\ud800", "body": "x", "line": 1}]}),
        ("issues/1/sub_issues", {"sub_issue_id": 2**31}),
        ("statuses/main", {"state": "success", "context": "c", "target_url": "\ud800"}),
    ],
)
def test_what_the_tables_cannot_hold_is_said_to_be_invalid_and_nothing_is_kept(
    peopled: Ground, where: str, said: dict[str, Any]
) -> None:
    before = peopled.store.events()
    got = answer(peopled, "POST", f"{REPO}/{where}", content=json.dumps(said))
    assert (got.status_code, peopled.store.events()) == (422, before), got.text


def test_what_the_commit_of_a_merge_cannot_say_merges_nothing(peopled: Ground) -> None:
    for said in ({"commit_title": "\udfff"}, {"commit_message": "a\0b"}):
        got = answer(peopled, "PUT", f"{REPO}/pulls/3/merge", content=json.dumps(said))
        assert got.status_code == 405, got.text


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_json_does_not_have_is_no_body(ground: Ground, word: str) -> None:
    said = f'{{"name": "x", "head_sha": "main", "output": {{"title": {word}}}}}'
    assert answer(ground, "POST", f"{REPO}/check-runs", content=said).status_code == 400


def test_an_error_that_quotes_what_is_no_text_is_answered(ground: Ground) -> None:
    said = {"query": "query($x: ID!) { node(id: $x) { id } }", "variables": {"x": "I_\ud800"}}
    got = answer(ground, "POST", "/graphql", content=json.dumps(said))
    assert (got.status_code, "errors" in got.json()) == (200, True)


def test_the_other_pages_of_a_branch_with_any_name_are_linked(ground: Ground) -> None:
    work_on(ground.folder, "zweig/✓%", "f", "1")
    here = f"{REPO}/commits/zweig/%E2%9C%93%25/statuses"
    for context in "ab":
        said = {"state": "success", "context": context}
        head = git(ground.folder, "rev-parse", "zweig/✓%").stdout.strip()
        assert answer(ground, "POST", f"{REPO}/statuses/{head}", json=said).status_code == 201
    got = answer(ground, "GET", f"{here}?per_page=1")
    assert answer(ground, "GET", got.links["next"]["url"]).json()[0]["context"] == "a"


def test_many_callers_at_once_are_all_answered(ground: Ground) -> None:
    """Each needs a thread, and one more for git: with one pool for both, they would wait for each other for ever."""
    got: list[int] = []

    async def all_at_once() -> None:
        async with ground.client() as client, anyio.create_task_group() as group:

            async def ask() -> None:
                got.append((await client.get(f"{REPO}/branches")).status_code)

            for _ in range(80):
                group.start_soon(ask)

    async def in_time() -> None:
        with anyio.fail_after(240):
            await all_at_once()

    anyio.run(in_time)
    assert got == [200] * 80


def test_of_many_who_add_one_at_a_time_all_are_heard(ground: Ground) -> None:
    """As `gh issue create --blocked-by 1,2` does: two requests at once."""
    first = ground.store.add("First").id
    others = [ground.store.add(f"Issue {number}").id for number in range(8)]
    ids = {one["number"]: one["id"] for one in answer(ground, "GET", f"{REPO}/issues?per_page=100", ground.full).json()}

    async def all_at_once() -> None:
        async def add(other: str) -> None:
            async with ground.client(ground.full) as client:
                path = f"{REPO}/issues/{first}"
                said = {"issue_id": ids[int(other)]}
                assert (await client.post(f"{path}/dependencies/blocked_by", json=said)).status_code == 201
                assert (await client.post(f"{path}/labels", json={"labels": [f"l{other}"]})).status_code == 200

        async with anyio.create_task_group() as tasks:
            for other in others:
                tasks.start_soon(add, other)

    anyio.run(all_at_once)
    assert set(ground.store.show(first).needs) == set(others)
    assert set(ground.store.show(first).labels) == {f"l{other}" for other in others}


def test_tokens_are_in_files_of_their_owner_and_can_be_revoked(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path / "t")
    full = tokens.full(login="ann")
    assert tokens.full(login="ann") == full
    other = tokens.make(Holder(login="r", rights=Rights.READ))
    files = [path for path in tokens.folder.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert not any(other in path.read_text() or other in path.name for path in files)
    tokens.revoke(other)
    assert tokens.holder(other) is None
    assert tokens.holder(full) == Holder(login="ann", rights=Rights.FULL)


def test_a_socket_is_its_owners_alone_and_replaces_only_a_dead_one(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with unix_socket(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(UserFault, match="somebody listens"):
            unix_socket(path)
    with unix_socket(path):
        pass
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserFault, match="no socket"):
        unix_socket(tmp_path / "file")
    with pytest.raises(UserFault, match="too long"):
        unix_socket(tmp_path / ("x" * 120))


def test_a_socket_may_be_named_in_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    with unix_socket(tmp_path / "a" / "b" / "s") as listener:
        modes = [stat.S_IMODE(path.stat().st_mode) & 0o700 for path in (tmp_path / "a", tmp_path / "a" / "b")]
        assert modes == [0o700] * 2  # root gets into a folder without these too
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
            caller.connect(listener.getsockname())


def test_the_token_is_not_written_into_the_environment_file(running: Running) -> None:
    assert running.token not in (running.folder / ".git/luminaguard/forge/env").read_text()


@pytest.mark.parametrize("path", ["/api/v3/repos/ann/demo/issues", "/api/graphql", "/ann/demo.git/git-upload-pack"])
def test_a_caller_that_hangs_up_before_it_has_asked_leaves_nothing_and_no_complaint(
    running: Running, path: str
) -> None:
    place = urlsplit(running.url)
    basic = base64.b64encode(f"x:{running.token}".encode()).decode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Basic {basic}\r\nContent-Length: 100\r\n\r\n{{"
    )
    with socket.create_connection((place.hostname, place.port)) as caller:
        caller.sendall(head.encode())
    assert running.gh("issue", "list", "--json", "number").stdout.strip() == "[]"
    # The fixture reads what the server wrote in the end.
