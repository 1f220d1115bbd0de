"""What a token of an attempt may cost, and the addresses that a caller behind a gateway is given."""

import stat
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from face_ground import Ground

from luminaguard.app.door import config_of
from luminaguard.app.forge_door import COMMENTS, ForgeDoor
from luminaguard.app.settings_tables import AgentSettings, ProviderSettings, Settings
from luminaguard.forges.face.app import face_without_git
from luminaguard.forges.face.graphql.values import MOST_CHARS, MOST_MEMBERS
from luminaguard.forges.face.server import served_beside, unix_socket
from luminaguard.forges.face.site import LONGEST_BOUNDED, LONGEST_COMMENT
from luminaguard.forges.face.tokens import Holder, Rights
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId

REPO = "/repos/ann/demo"
ONE = IssueId("1")
LOGIN = "agent-1[bot]"


def ask(ground: Ground, method: str, path: str, token: str, **more: Any) -> httpx.Response:
    async def asked() -> httpx.Response:
        async with ground.client(token) as client:
            return await client.request(method, path, **more)

    return anyio.run(asked)


def say(ground: Ground, token: str, text: str = "x") -> int:
    return ask(ground, "POST", f"{REPO}/issues/1/comments", token, json={"body": text}).status_code


def bounded(ground: Ground, most: int) -> str:
    return ground.tokens.make(Holder(login=LOGIN, rights=Rights.COMMENT, issue=ONE, most=most))


def test_an_attempt_may_say_so_much_and_edits_count(ground: Ground) -> None:
    ground.store.add("mine")
    token = bounded(ground, 3)
    assert [say(ground, token) for _ in range(2)] == [201, 201]
    own = ground.store.comments("1")[0].seq
    edited = [
        ask(ground, "PATCH", f"{REPO}/issues/comments/{own}", token, json={"body": word}).status_code for word in "ab"
    ]
    assert edited == [200, 403]
    assert say(ground, token) == 403
    assert [it.text for it in ground.store.comments("1")] == ["a", "x"]
    assert ask(ground, "GET", f"{REPO}/issues/1", token).status_code == 200


def test_who_asks_at_the_same_time_gets_no_more(ground: Ground) -> None:
    ground.store.add("mine")
    token = bounded(ground, 5)
    codes: list[int] = []

    async def at_once() -> None:
        async with ground.client(token) as client, anyio.create_task_group() as group:

            async def one() -> None:
                codes.append((await client.post(f"{REPO}/issues/1/comments", json={"body": "x"})).status_code)

            for _ in range(15):
                group.start_soon(one)

    anyio.run(at_once)
    assert (codes.count(201), codes.count(403), len(ground.store.comments("1"))) == (5, 10, 5)


def test_a_comment_has_a_length(ground: Ground) -> None:
    ground.store.add("mine")
    token = bounded(ground, 9)
    assert say(ground, token, "x" * LONGEST_BOUNDED) == 201
    assert say(ground, token, "x" * (LONGEST_BOUNDED + 1)) == 422
    assert say(ground, ground.full, "x" * LONGEST_COMMENT) == 201
    assert say(ground, ground.full, "x" * (LONGEST_COMMENT + 1)) == 422


def test_a_query_that_asks_for_the_same_a_thousand_times_is_stopped(ground: Ground) -> None:
    for number in range(100):
        ground.store.add(f"issue {number}")
    again = " ".join(f"t{number}: title" for number in range(MOST_MEMBERS // 100))
    query = 'query { repository(owner: "ann", name: "demo") { issues(first: 100) { nodes { %s } } } }'
    answer = ask(ground, "POST", "/graphql", ground.full, json={"query": query % again})
    assert (answer.status_code, "members" in answer.json()["message"]) == (422, True)
    few = ask(ground, "POST", "/graphql", ground.full, json={"query": query % again[: again.index("t900")]})
    assert len(few.json()["data"]["repository"]["issues"]["nodes"]) == 100


def test_a_query_whose_answer_would_be_huge_is_stopped(ground: Ground) -> None:
    ground.store.add("issue", body="x" * 100_000)
    query = 'query { repository(owner: "ann", name: "demo") { issue(number: 1) { %s } } }'

    def often(count: int) -> httpx.Response:
        again = " ".join(f"b{number}: body" for number in range(count))
        return ask(ground, "POST", "/graphql", ground.full, json={"query": query % again})

    most = MOST_CHARS // 100_000
    assert len(often(most).json()["data"]["repository"]["issue"]) == most
    assert (often(most + 1).status_code, "characters" in often(most + 1).json()["message"]) == (422, True)


@pytest.mark.parametrize(
    ("path", "headers", "api", "web"),
    [
        ("", {"host": "api.github.localhost"}, "http://api.github.localhost", "http://github.localhost"),
        ("/api/v3", {"host": "h:1"}, "http://h:1/api/v3", "http://h:1"),
        (
            "/api/v3",
            {"host": "127.0.0.1:8470", "x-forwarded-prefix": "/forge"},
            "http://127.0.0.1:8470/forge/api/v3",
            "http://127.0.0.1:8470/forge",
        ),
        ("/api/v3", {"host": "h", "x-forwarded-prefix": "//evil.example"}, "http://h/api/v3", "http://h"),
    ],
)
def test_addresses_lead_back_the_way_that_the_caller_came(
    ground: Ground, path: str, headers: dict[str, str], api: str, web: str
) -> None:
    for number in range(2):
        ground.store.add(f"issue {number}")
    answer = ask(ground, "GET", f"{path}{REPO}/issues?per_page=1", ground.full, headers=headers)
    (found,) = answer.json()
    assert (found["url"], found["html_url"]) == (f"{api}{REPO}/issues/2", f"{web}/ann/demo/issues/2")
    assert f"<{api}{REPO}/issues?per_page=1&page=2>" in answer.headers["link"]


def door_of(ground: Ground) -> ForgeDoor:
    return ForgeDoor(
        socket=Path("/nowhere"),
        repository="ann/demo",
        tokens=ground.tokens,
        said=ground.site.said,
        named=lambda _: None,
    )


def test_an_attempt_keeps_its_token_in_a_file_of_its_owner_until_it_is_cleaned(ground: Ground, tmp_path: Path) -> None:
    ground.store.add("mine")
    path = tmp_path / "attempts" / "1.forge-token"
    token = door_of(ground).token_kept(path, ONE)
    assert door_of(ground).token_kept(path, ONE) == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ground.tokens.holder(token) == Holder(login=LOGIN, rights=Rights.COMMENT, issue=ONE, most=COMMENTS)
    door_of(ground).revoke(path)
    door_of(ground).revoke(path)
    assert (ground.tokens.holder(token), path.exists()) == (None, False)


def test_a_token_that_was_kept_and_not_yet_admitted_is_admitted(ground: Ground, tmp_path: Path) -> None:
    ground.store.add("mine")
    token = door_of(ground).token_kept(tmp_path / "t", ONE)
    ground.tokens.revoke(token)
    assert door_of(ground).token_kept(tmp_path / "t", ONE) == token
    assert say(ground, token) == 201


def test_the_next_attempt_may_say_as_much_again(ground: Ground, tmp_path: Path) -> None:
    ground.store.add("mine")
    first = door_of(ground).token_kept(tmp_path / "1", ONE)
    assert {say(ground, first) for _ in range(COMMENTS)} == {201}
    assert say(ground, first) == 403
    second = door_of(ground).token_kept(tmp_path / "2", ONE)
    assert say(ground, second) == 201


def test_beside_a_session_it_serves_until_the_block_ends_and_raises_what_the_block_raised(
    ground: Ground, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    headers = {"Authorization": f"Bearer {ground.full}"}

    async def served() -> None:
        app = face_without_git(ground.site, ground.tokens)
        async with served_beside(app, unix_socket(path)):
            transport = httpx.AsyncHTTPTransport(uds=str(path))
            async with httpx.AsyncClient(
                transport=transport, base_url="http://x", headers=headers, timeout=240
            ) as client:
                assert (await client.get(REPO)).status_code == 200
                fetched = await client.get("/ann/demo.git/info/refs?service=git-upload-pack")
                assert fetched.status_code == 404
            raise UserFault("something else")

    with pytest.raises(UserFault, match="something else"):
        anyio.run(served)
    assert not path.exists()


def test_no_provider_is_called_as_the_forge_is() -> None:
    settings = Settings(
        agents={"mine": AgentSettings(argv=("true",), provider="forge")},
        providers={"forge": ProviderSettings(base_url="http://127.0.0.1:1")},
    )
    with pytest.raises(UserFault, match="no provider can be called 'forge'"):
        config_of(settings, Path("/nowhere"), ["mine"], forge=Path("/nowhere/forge.sock"))
    assert config_of(settings, Path("/nowhere"), ["mine"]) is not None
