"""The rules of talking over HTTP, on a transport of this process; and which project and token it is about."""

import subprocess
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import httpx
import pytest

from luminaguard.forges import http_rules
from luminaguard.forges.http_project import project_at, project_named, project_of, token_in
from luminaguard.forges.http_rules import Answer, Http, Server
from luminaguard.forges.once import Lost
from luminaguard.model.faults import HostFault, Transient, UserFault

Reply = Callable[[httpx.Request], httpx.Response]


class Talk:
    """An Http on scripted replies; `waits` are the seconds that it wanted to wait."""

    def __init__(self, *replies: Reply | httpx.Response) -> None:
        self.asked: list[httpx.Request] = []
        self.waits: list[float] = []
        self._replies = list(replies)
        server = Server(
            name="Forge",
            api="https://forge.test/api",
            project="projects/1",
            page_size="per_page",
            headers={"Authorization": "Bearer secret"},
            permissions="give it more",
        )
        self.http = Http(
            server, transport=httpx.MockTransport(self._reply), sleep=self._slept, clock=lambda: 1_800_000_000.0
        )

    def _reply(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        reply = self._replies.pop(0)
        return reply if isinstance(reply, httpx.Response) else reply(request)

    async def _slept(self, seconds: float) -> None:
        self.waits.append(seconds)

    def get(self) -> Answer:
        return anyio.run(self.http.get, "thing")

    def post(self) -> Answer:
        return anyio.run(partial(self.http.once, "POST", "things", {"a": 1}))


def broken(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("too slow", request=request)


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("no route", request=request)


OK = httpx.Response(200, json={"fine": True})


def test_read_is_repeated_after_a_broken_answer() -> None:
    talk = Talk(broken, httpx.Response(502, text="<html>"), httpx.Response(200, text='{"fine": tr'), OK)
    assert talk.get().body == {"fine": True}
    assert talk.waits == [0.5, 2.0, 6.0]


def test_what_adds_is_sent_once_when_it_may_have_acted() -> None:
    for reply in (broken, httpx.Response(500), httpx.Response(201, text='{"id": 1')):
        talk = Talk(reply, OK)
        with pytest.raises(Lost):
            talk.post()
        assert len(talk.asked) == 1


def test_what_adds_is_sent_again_when_it_cannot_have_acted() -> None:
    talk = Talk(unreachable, httpx.Response(429, headers={"Retry-After": "7"}), OK)
    assert talk.post().status == 200
    assert talk.waits == [0.5, 7.0]


def test_limit_that_takes_too_long_tells_when_it_ends() -> None:
    talk = Talk(httpx.Response(429, headers={"Retry-After": "900"}))
    with pytest.raises(Transient, match="for 900 s"):
        talk.get()
    assert talk.waits == []


@pytest.mark.parametrize(
    ("said", "wait_s"),
    [
        ("1.5", 1.5),
        ("Fri, 15 Jan 2027 08:00:10 GMT", 10.0),
        ("Fri Jan 15 07:00:00 2027", 1.0),  # over already
        *((said, 60.0) for said in ("", "soon", "nan", "1e999", "Fri, 15 Jan 99999999999999999999 08:00:10 GMT")),
    ],
)
def test_limit_is_waited_out_however_it_is_written(said: str, wait_s: float) -> None:
    talk = Talk(httpx.Response(429, headers={"Retry-After": said}), OK)
    assert talk.get().status == 200
    assert talk.waits == [wait_s]


@pytest.mark.parametrize("said", ["99999999999999", "1e300", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_limit_without_a_near_end_is_told(said: str) -> None:
    talk = Talk(httpx.Response(429, headers={"Retry-After": said}))
    with pytest.raises(Transient, match="for 31622400 s"):
        talk.get()
    later = Talk(httpx.Response(503, headers={"Retry-After": said}), OK)
    assert later.get().status == 200
    assert later.waits == [120.0]


def test_answer_that_is_nested_without_end_is_no_answer() -> None:
    talk = Talk(httpx.Response(200, text="[" * 200_000), OK)
    assert talk.get().body == {"fine": True}
    with pytest.raises(UserFault, match="not found"):
        Talk(httpx.Response(404, text="[" * 200_000)).get()


@pytest.mark.parametrize("kind", [httpx.LocalProtocolError, httpx.RemoteProtocolError])
def test_no_fault_quotes_a_header(kind: type[httpx.ProtocolError]) -> None:
    def quoted(request: httpx.Request) -> httpx.Response:
        raise kind("Illegal header value b'Bearer secret'", request=request)

    with pytest.raises(Transient) as caught:
        Talk(*[quoted] * 4).get()
    assert "Bearer" not in "".join(traceback.format_exception(caught.value))
    assert kind.__name__ in caught.value.message


def test_text_that_no_request_can_carry_is_the_users_fault() -> None:
    talk = Talk(OK)
    with pytest.raises(UserFault, match="is no text"):
        anyio.run(partial(talk.http.once, "POST", "things", {"a": "\udfff"}))
    assert talk.asked == []


@pytest.mark.parametrize("headers", [{"link": '<https://forge.test/api?page=1>; rel="next"'}, {"x-next-page": "1"}])
def test_list_whose_next_page_is_one_that_was_read_is_the_servers_fault(headers: dict[str, str]) -> None:
    talk = Talk(*[httpx.Response(200, json=[{"id": 1}], headers=headers)] * 9)
    with pytest.raises(HostFault, match="projects/1/things has no end"):
        anyio.run(talk.http.all, "things")
    assert len(talk.asked) == 2


def test_list_that_always_has_another_page_is_the_servers_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_rules, "MOST_PAGES", 20)
    more = {"link": '<https://forge.test/api?page=2>; rel="next"'}
    talk = Talk(*[httpx.Response(200, json=[{"id": number}], headers=more) for number in range(30)])
    with pytest.raises(HostFault, match="has no end"):
        anyio.run(talk.http.all, "things")
    assert len(talk.asked) == 20


def test_count_of_thousands_of_digits_is_none() -> None:
    page = httpx.Response(200, json=[{"id": 1}], headers={"x-total-count": "9" * 5000})
    assert anyio.run(Talk(page, page).http.all, "things") == [{"id": 1}]


def test_redirect_is_followed_by_nobody_and_named() -> None:
    for status in (301, 307):
        talk = Talk(httpx.Response(status, headers={"Location": "https://evil.test/take?token=1"}))
        with pytest.raises(UserFault, match=r"moved to https://evil\.test/take"):
            talk.post()
        assert [request.url.host for request in talk.asked] == ["forge.test"]


@pytest.mark.parametrize(
    ("status", "fault", "hint"),
    [
        (401, UserFault, "give it more"),
        (403, UserFault, "give it more"),
        (404, UserFault, "give it more"),
        (422, UserFault, "what it says"),
        (418, HostFault, "doctor"),
    ],
)
def test_refusal_is_sorted_by_who_must_act(status: int, fault: type[Exception], hint: str) -> None:
    talk = Talk(httpx.Response(status, json={"message": {"title": ["is too long"]}}))
    with pytest.raises(fault) as caught:
        talk.post()
    assert hint in caught.value.hint  # type: ignore[attr-defined] # every fault has one
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("address", ["http://999.1.1.1", "http://☃.example", "ftp://git.test"])
def test_address_that_only_the_client_knows_to_be_wrong_is_the_users_fault(address: str) -> None:
    http = Http(Server(name="Forge", api=address, project="1", page_size="limit"))
    with pytest.raises(UserFault, match="no address of a server"):
        anyio.run(http.get, "thing")


def test_untrusted_certificate_is_the_hosts_fault() -> None:
    def refused(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed", request=request)

    with pytest.raises(HostFault, match="not trusted"):
        Talk(refused).get()


def test_pages_end_where_a_server_gives_the_same_page_for_ever() -> None:
    def whole(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=[{"id": number} for number in range(80)])

    talk = Talk(*[whole] * 5)
    assert len(anyio.run(talk.http.all, "things")) == 80
    assert len(talk.asked) == 2


def test_connections_are_kept_inside_open() -> None:
    talk = Talk(OK, OK)

    async def both() -> None:
        async with talk.http.open():
            await talk.http.get("a")
            await talk.http.get("b")

    anyio.run(both)
    assert len(talk.asked) == 2


@pytest.mark.parametrize(
    ("address", "base_url", "web", "path"),
    [
        ("https://gitlab.com/group/sub/project.git", None, "https://gitlab.com", "group/sub/project"),
        ("https://user:word@git.test:8443/org/project", None, "https://git.test:8443", "org/project"),
        ("http://127.0.0.1:3000/org/project.git/", None, "http://127.0.0.1:3000", "org/project"),
        ("git@gitlab.com:group/project.git", None, "https://gitlab.com", "group/project"),
        ("ssh://git@git.test:2222/org/project.git", None, "https://git.test", "org/project"),
        ("ssh://git@ssh.test/org/p", "https://git.test/", "https://git.test", "org/p"),
        ("https://test/git/org/p.git", "https://test/git", "https://test/git", "org/p"),
    ],
)
def test_remote_names_the_project(address: str, base_url: str | None, web: str, path: str) -> None:
    found = project_of(address, base_url=base_url)
    assert found is not None
    assert (found.web, found.path) == (web, path)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/srv/git/project.git",
        "https://git.test/alone",
        "file:///srv/p/q",
        "a b:c/d e",
        "http://[::1/o/r",
        "http://h:99999/o/r",
    ],
)
def test_remote_elsewhere_names_none(address: str) -> None:
    assert project_of(address) is None


def test_project_is_read_from_origin(tmp_path: Path) -> None:
    assert project_at(tmp_path) is None
    for argv in (["init", "-q"], ["remote", "add", "origin", "git@git.test:org/project.git"]):
        subprocess.run(["git", "-C", str(tmp_path), *argv], check=True)
    found = project_at(tmp_path)
    assert found is not None
    assert (found.web, found.owner) == ("https://git.test", "org")


def test_wrong_name_and_base_url_are_the_users_fault() -> None:
    for path, base_url in (("alone", "https://git.test"), ("a/../b", "https://git.test"), ("a/b", "git.test")):
        with pytest.raises(UserFault):
            project_named(path, base_url=base_url)


def test_base_url_with_a_password_is_refused_and_shown_without() -> None:
    with pytest.raises(UserFault, match=r"https://\*\*\*@git\.test") as caught:
        project_named("a/b", base_url="https://user:word@git.test")
    assert "word" not in caught.value.message


@pytest.mark.parametrize("text", ["one\ntwo", "one two", "glpat-\x1bone"])
def test_token_that_no_header_can_carry_is_the_users_fault_and_not_shown(text: str) -> None:
    with pytest.raises(UserFault, match="FORGE_TOKEN") as caught:
        token_in({"FORGE_TOKEN": text}, ("FORGE_TOKEN",))
    assert "one" not in caught.value.message.replace("alone", "")
