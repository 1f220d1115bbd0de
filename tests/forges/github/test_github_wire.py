"""The rules of talking to GitHub: limits, lost answers, moved repositories, refusals."""

import traceback
from collections.abc import Iterable
from functools import partial

import anyio
import httpx
import pytest
from github_driver import Opened
from github_server import Broken, Server

from luminaguard.forges.github import wire
from luminaguard.forges.github.forge import GitHub
from luminaguard.forges.github.permissions import PERMISSIONS
from luminaguard.model.faults import Fault, HostFault, Transient, UserFault
from luminaguard.model.ids import IssueId


def tell(forge: GitHub, text: str = "working") -> None:
    anyio.run(forge.tell, IssueId("1"), text)


def read(forge: GitHub) -> str:
    return anyio.run(forge.issue, IssueId("1")).title


class First(httpx.AsyncBaseTransport):
    """Says what a broken server would, as long as there is something; then the true one answers."""

    def __init__(self, server: Server, said: Iterable[httpx.Response | Exception]) -> None:
        self.server = server
        self.said = iter(said)
        self.asked = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        said = next(self.said, None)
        if isinstance(said, Exception):
            raise said
        return await self.server.handle_async_request(request) if said is None else said


def says(server: Server, forge: GitHub, *said: httpx.Response | Exception) -> First:
    forge._wire.line._transport = first = First(server, said)
    return first


@pytest.fixture(autouse=True)
def _issue(server: Server) -> None:
    server.add_issue("First")


@pytest.mark.parametrize("how", ["500", "timeout", "truncated", "unreachable", "limit", "502 after", "timeout after"])
def test_read_is_repeated(server: Server, forge: GitHub, how: str) -> None:
    server.faults = iter([Broken(how), Broken(how)])
    assert read(forge) == "First"


def test_read_gives_up_as_transient(server: Server, forge: GitHub) -> None:
    server.faults = iter([Broken("500")] * 9)
    with pytest.raises(Transient, match="500"):
        read(forge)
    assert len(server.seen) == 4


@pytest.mark.parametrize("how", ["timeout after", "502 after", "truncated"])
def test_comment_whose_answer_was_lost_is_found_and_not_made_again(server: Server, forge: GitHub, how: str) -> None:
    server.faults = iter([None, None, Broken(how)])  # who we are, which comments, and the comment
    tell(forge)
    assert len(server.comments_on(1)) == 1
    assert sum(one.method == "POST" for one in server.seen) == 1


def test_comment_that_was_not_made_is_made_after_looking(server: Server, forge: GitHub) -> None:
    server.faults = iter([None, Broken("timeout")])
    tell(forge)
    assert len(server.comments_on(1)) == 1
    posts = [number for number, one in enumerate(server.seen) if one.method == "POST"]
    assert len(posts) == 2
    assert all(one.method == "GET" for one in server.seen[posts[0] + 1 : posts[1]])
    assert posts[1] - posts[0] > 3


def test_comment_that_github_makes_late_is_waited_for(server: Server, forge: GitHub) -> None:
    server.faults = iter([None, Broken("late", late_s=10.0)])
    tell(forge)
    assert len(server.comments_on(1)) == 1


def test_secondary_limit_is_waited_out_as_long_as_it_says(server: Server, forge: GitHub) -> None:
    before = server.now
    server.faults = iter([Broken("limit")])
    read(forge)
    assert 3.0 <= server.now - before < 4.0


@pytest.mark.parametrize(
    ("headers", "least_s"),
    [
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:10 GMT"}, 9.0),
        ({"retry-after": "Fri Jan 15 07:00:00 2027"}, 1.0),  # over already
        ({"retry-after": ""}, 60.0),
        ({"retry-after": "soon"}, 60.0),
        ({"retry-after": "nan"}, 60.0),
        ({"retry-after": "1e999"}, 60.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "inf"}, 60.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "tomorrow"}, 60.0),
    ],
)
@pytest.mark.parametrize("status", [403, 429])
def test_limit_is_waited_out_however_it_is_written(
    server: Server, forge: GitHub, status: int, headers: dict[str, str], least_s: float
) -> None:
    says(server, forge, httpx.Response(status, headers=headers))
    before = server.now
    assert read(forge) == "First"
    assert least_s <= server.now - before < least_s + 2.0


@pytest.mark.parametrize(
    "headers",
    [
        {"retry-after": "99999999999999"},
        {"retry-after": "1e300"},
        {"retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"},
        {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1e30"},
    ],
)
def test_limit_without_a_near_end_is_told_with_its_day(server: Server, forge: GitHub, headers: dict[str, str]) -> None:
    server.refuses = {"GET": (403, headers)}
    with pytest.raises(Transient, match=r"until 2028-01-16 08:00:0\d UTC"):
        read(forge)
    assert len(server.seen) == 1


def test_answer_that_is_nested_without_end_is_no_answer(server: Server, forge: GitHub) -> None:
    deep = httpx.Response(200, text="[" * 200_000)
    says(server, forge, deep, *[deep] * 3)
    with pytest.raises(Transient, match="200000 bytes"):
        read(forge)
    assert read(forge) == "First"


def test_list_whose_next_page_is_one_that_was_read_is_the_servers_fault(server: Server, forge: GitHub) -> None:
    server.refuses = {"/issues$": (200, {"link": '</repos/octo/demo/issues?page=1>; rel="next"'})}
    with pytest.raises(HostFault, match=r"repos/octo/demo/issues has no end"):
        anyio.run(forge.backlog)
    assert len(server.seen) == 2


def test_list_that_always_has_another_page_is_the_servers_fault(
    server: Server, forge: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MOST_PAGES", 20)
    places = (f'</repos/octo/demo/issues?after={number}>; rel="next"' for number in range(30))
    first = says(server, forge, *[httpx.Response(200, json=[], headers={"link": place}) for place in places])
    with pytest.raises(HostFault, match="has no end"):
        anyio.run(forge.backlog)
    assert first.asked == 21


def test_next_page_that_is_no_address_is_the_servers_fault(server: Server, forge: GitHub) -> None:
    server.refuses = {"/issues$": (200, {"link": '<http://[::1>; rel="next"'})}
    with pytest.raises(HostFault, match="no address"):
        anyio.run(forge.backlog)


def test_limit_that_lasts_is_told_with_its_end(server: Server, forge: GitHub) -> None:
    reset = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(server.now) + 1800)}
    server.refuses = {"GET": (403, reset)}
    with pytest.raises(Transient, match=r"until 08:30:0\d UTC"):
        read(forge)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (401, {}, "luminaguard doctor"),
        (403, {"x-accepted-github-permissions": "issues=write"}, "issues: write"),
        (403, {}, "issues: write"),
        (403, {"x-github-sso": "required; url=https://github.com/orgs/o/sso?x=1"}, "https://github.com/orgs/o/sso?x=1"),
        (404, {}, "issues: write"),
    ],
)
def test_refusal_names_what_is_needed(
    server: Server, forge: GitHub, status: int, headers: dict[str, str], said: str
) -> None:
    server.refuses = {"POST": (status, headers)}
    with pytest.raises(UserFault) as caught:
        tell(forge)
    assert said in caught.value.hint
    assert sum(one.method == "POST" for one in server.seen) == 1


def test_moved_repository_is_followed_for_reads_and_named_for_writes(server: Server, forge: GitHub) -> None:
    server.moved_to = "octo/renamed"
    assert read(forge) == "First"
    with pytest.raises(UserFault, match="moved to octo/renamed"):
        tell(forge)
    assert server.comments == {}


def test_token_goes_to_no_other_server(server: Server, forge: GitHub) -> None:
    server.refuses = {"GET": (301, {"location": "https://evil.example/steal"})}
    with pytest.raises(UserFault, match=r"evil\.example"):
        read(forge)
    assert {one.url.host for one in server.seen} == {"api.github.com"}


def test_next_page_on_another_server_is_refused(server: Server, forge: GitHub) -> None:
    server.refuses = {"/issues$": (200, {"link": '<https://evil.example/x>; rel="next"'})}
    with pytest.raises(UserFault, match=r"evil\.example"):
        anyio.run(forge.backlog)


def test_no_fault_shows_the_token(server: Server, forge: GitHub) -> None:
    for status in (400, 401, 403, 404, 410, 418, 422, 503):
        server.refuses = {"GET": (status, {})}
        with pytest.raises(Fault) as caught:
            read(forge)
        assert "Bearer" not in f"{caught.value.message} {caught.value.hint}"
        assert "token t" not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("kind", [httpx.LocalProtocolError, httpx.RemoteProtocolError])
def test_no_fault_quotes_a_header(server: Server, forge: GitHub, kind: type[httpx.ProtocolError]) -> None:
    says(server, forge, *[kind("Illegal header value b'token t'")] * 9)
    with pytest.raises(Transient) as caught:
        read(forge)
    assert "token t" not in "".join(traceback.format_exception(caught.value))
    assert kind.__name__ in caught.value.message


def test_text_that_no_request_can_carry_is_the_users_fault(server: Server, forge: GitHub) -> None:
    with pytest.raises(UserFault, match="is no text"):
        tell(forge, "\udfff")
    assert server.comments_on(1) == []


def test_kept_connections_need_no_other_words(server: Server, forge: GitHub) -> None:
    async def inside() -> str:
        async with forge.open():
            return (await forge.issue(IssueId("1"))).title

    assert anyio.run(inside) == "First"


def test_requests_say_their_version_and_who_asks(server: Server, forge: GitHub) -> None:
    read(forge)
    headers = server.seen[0].headers
    assert headers["x-github-api-version"] == "2022-11-28"
    assert headers["user-agent"] == "luminaguard"
    assert headers["authorization"] in ("token t", "Bearer t")
    assert "vnd.github" in headers["accept"]


def test_what_is_kept_for_unchanged_answers_has_an_end(server: Server, forge: GitHub) -> None:
    forge._wire._keep_bytes = 2_000
    for number in range(2, 12):
        server.add_issue(f"Issue {number}")
        anyio.run(forge.issue, IssueId(str(number)))
    assert forge._wire._kept_bytes <= 2_000
    assert forge._wire._kept_bytes == sum(len(one.raw) for one in forge._wire._kept.values()) > 0


@pytest.mark.parametrize(
    ("scopes", "can", "lacking"),
    [
        ("repo, read:org", {"push": True}, []),
        ("read:org", {"push": True}, ["contents", "pull_requests", "issues"]),
        ("repo", {"push": False}, ["contents", "pull_requests", "issues"]),
        (None, {"push": False}, ["contents", "pull_requests", "issues"]),
    ],
)
def test_lacking_permissions_are_told(
    server: Server, opened: Opened, scopes: str | None, can: dict[str, bool], lacking: list[str]
) -> None:
    server.scopes, server.can = scopes, can
    found = anyio.run(opened().lacking)
    assert [one.name for one in found.permissions] == lacking
    assert found.unsure == ""


def test_fine_grained_token_is_said_to_be_unsure(server: Server, opened: Opened) -> None:
    assert "fine-grained" in anyio.run(opened().lacking).unsure


def test_permissions_are_told_least_first() -> None:
    assert PERMISSIONS[0].level == "read"
    assert [one.is_needed for one in PERMISSIONS] == sorted((one.is_needed for one in PERMISSIONS), reverse=True)


@pytest.mark.parametrize("address", ["http://999.1.1.1/", "http://☃.example/"])
def test_server_whose_address_only_the_client_knows_to_be_wrong_is_the_users_fault(
    server: Server, forge: GitHub, address: str
) -> None:
    object.__setattr__(forge._wire.repository, "base_url", address)
    with pytest.raises(UserFault, match="no address of a server"):
        read(forge)
    assert server.seen == []


def test_server_that_is_not_there_is_transient(opened: Opened) -> None:
    forge = opened()
    forge._wire.line._transport = httpx.AsyncHTTPTransport()
    object.__setattr__(forge._wire.repository, "base_url", "http://127.0.0.1:1/")
    with pytest.raises(Transient, match="cannot be reached"):
        anyio.run(partial(forge.issue, IssueId("1")))
