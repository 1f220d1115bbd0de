"""Which repository, and who we are to it."""

import subprocess
import sys
import traceback
from pathlib import Path

import anyio
import httpx
import pytest
from github_app import AppServer, app_on
from github_driver import Opened
from github_server import FULL

from luminaguard.forges.github.auth import AppKey, Token, find_token, missing_credentials
from luminaguard.forges.github.forge import GitHub
from luminaguard.forges.github.repository import Repository, repository_at, repository_named, repository_of
from luminaguard.model.faults import HostFault, UserFault
from luminaguard.model.ids import IssueId, Oid

NO_GH = ("/nowhere/gh",)


@pytest.mark.parametrize(
    ("address", "host", "full"),
    [
        ("https://github.com/octo/demo.git", "github.com", "octo/demo"),
        ("https://github.com/octo/demo/", "github.com", "octo/demo"),
        ("https://user:secret@github.com/octo/demo", "github.com", "octo/demo"),
        ("git@github.com:octo/demo.git", "github.com", "octo/demo"),
        ("ssh://git@ssh.github.com:443/octo/demo.git", "github.com", "octo/demo"),
        ("git+ssh://git@github.com/octo/de.mo.git", "github.com", "octo/de.mo"),
        ("https://ghe.example.org:8443/octo/demo.git", "ghe.example.org:8443", "octo/demo"),
        ("git@ghe.example.org:octo/demo", "ghe.example.org", "octo/demo"),
    ],
)
def test_repository_is_read_from_any_form_of_address(address: str, host: str, full: str) -> None:
    found = repository_of(address)
    assert found is not None
    assert (found.host, found.full) == (host, full)


@pytest.mark.parametrize(
    "address",
    [
        *("", "/srv/git/demo.git", "../demo", "https://github.com/octo", "file:///a/b"),
        *(
            "https://github.com:99999/octo/demo",
            "https://a..b/octo/demo",
            "https://[::1/octo/demo",
            "git@a b:octo/demo",
        ),
    ],
)
def test_address_without_owner_and_name_is_none(address: str) -> None:
    assert repository_of(address) is None


@pytest.mark.parametrize(
    ("host", "api", "graphql"),
    [
        ("github.com", "https://api.github.com/", "https://api.github.com/graphql"),
        ("acme.ghe.com", "https://api.acme.ghe.com/", "https://api.acme.ghe.com/graphql"),
        ("ghe.example.org", "https://ghe.example.org/api/v3/", "https://ghe.example.org/api/graphql"),
    ],
)
def test_server_has_its_api_where_github_says(host: str, api: str, graphql: str) -> None:
    found = Repository(owner="o", name="r", host=host)
    assert (found.api, found.graphql) == (api, graphql)


def test_base_url_wins() -> None:
    found = Repository(owner="o", name="r", base_url="http://127.0.0.1:4701")
    assert (found.api, found.graphql) == ("http://127.0.0.1:4701/", "http://127.0.0.1:4701/graphql")


@pytest.mark.parametrize("name", ["demo", "a/b/c/d", "octo/", "octo/de mo", "../x", "[::1/o/r", "u:pw@h/o/r"])
def test_name_that_is_none_is_the_users_fault(name: str) -> None:
    with pytest.raises(UserFault, match="names no repository"):
        repository_named(name)


def test_repository_is_read_from_the_checkout(tmp_path: Path) -> None:
    assert repository_at(tmp_path) is None
    subprocess.run(("git", "init", "-q", tmp_path), check=True)
    assert repository_at(tmp_path) is None
    subprocess.run(("git", "-C", tmp_path, "remote", "add", "origin", "git@github.com:octo/demo.git"), check=True)
    assert repository_at(tmp_path) == Repository(owner="octo", name="demo")


def test_token_of_the_environment_is_taken_first() -> None:
    env = {"GITHUB_TOKEN": "one", "GH_TOKEN": "two"}
    assert find_token("github.com", env=env, gh=NO_GH) == Token(text="one", source="GITHUB_TOKEN")
    assert find_token("github.com", env={"GH_TOKEN": "two"}, gh=NO_GH) == Token(text="two", source="GH_TOKEN")
    assert find_token("github.com", env={"GITHUB_TOKEN": " "}, gh=NO_GH) is None


@pytest.mark.parametrize("text", ["gho_one\nx: y", "gho_one\r", "gho one", "gho_\x07one", "gho_önë", "gho_\udcff"])
def test_token_that_no_header_can_carry_is_the_users_fault_and_shown_nowhere(tmp_path: Path, text: str) -> None:
    text += "_two"  # what stands at an end is stripped
    with pytest.raises(UserFault, match="GITHUB_TOKEN") as caught:
        find_token("github.com", env={"GITHUB_TOKEN": text}, gh=NO_GH)
    assert "gho" not in "".join(traceback.format_exception(caught.value)).replace("test_github_auth", "")
    assert "GITHUB_TOKEN" in caught.value.hint


def test_token_of_gh_on_two_lines_is_the_users_fault(tmp_path: Path) -> None:
    gh = tmp_path / "gh"
    gh.write_text("#!/bin/sh\nprintf 'gho_x\\ngho_y\\n'\n")
    gh.chmod(0o755)
    with pytest.raises(UserFault, match="gh auth token") as caught:
        find_token("github.com", env={"PATH": "/usr/bin:/bin"}, gh=(str(gh),))
    assert "gho_" not in caught.value.message + caught.value.hint


def test_token_for_github_com_goes_to_no_other_server() -> None:
    env = {"GITHUB_TOKEN": "one"}
    assert find_token("ghe.example.org", env=env, gh=NO_GH) is None
    named = find_token("ghe.example.org", env={**env, "GH_HOST": "ghe.example.org"}, gh=NO_GH)
    assert named == Token(text="one", source="GITHUB_TOKEN")
    own = find_token("ghe.example.org", env={**env, "GH_ENTERPRISE_TOKEN": "own"}, gh=NO_GH)
    assert own == Token(text="own", source="GH_ENTERPRISE_TOKEN")


def test_token_is_meant_for_a_server_that_the_settings_name() -> None:
    env = {"GITHUB_TOKEN": "one"}
    found = find_token("ghe.example.org", env=env, gh=NO_GH, is_named=True)
    assert found == Token(text="one", source="GITHUB_TOKEN")
    own = find_token("ghe.example.org", env={**env, "GITHUB_ENTERPRISE_TOKEN": "own"}, gh=NO_GH, is_named=True)
    assert own == Token(text="own", source="GITHUB_ENTERPRISE_TOKEN")


@pytest.mark.parametrize(
    ("base_url", "server"),
    [
        (None, "github.com"),
        ("https://api.github.com", "github.com"),
        ("https://api.acme.ghe.com/", "acme.ghe.com"),
        ("https://GHE.example.org/api/v3", "ghe.example.org"),
        ("http://127.0.0.1:4701/api/v3", "127.0.0.1:4701"),
    ],
)
def test_missing_token_is_said_of_the_server_that_is_spoken_to(base_url: str | None, server: str) -> None:
    said = GitHub(repository_named(FULL, base_url=base_url), None).missing() or ""
    assert f"no token for {server} (set " in said
    assert ("hostname" in said) == (server != "github.com")


def test_token_of_gh_is_asked_for_by_host(tmp_path: Path) -> None:
    gh = tmp_path / "gh"
    gh.write_text('#!/bin/sh\ntest "$*" = "auth token --hostname github.com" && echo gho_x || exit 1\n')
    gh.chmod(0o755)
    env = {"PATH": "/usr/bin:/bin"}
    assert find_token("github.com", env=env, gh=(str(gh),)) == Token(text="gho_x", source="gh auth token")
    assert find_token("ghe.example.org", env=env, gh=(str(gh),)) is None


def test_what_is_missing_is_said_with_the_way_out(tmp_path: Path) -> None:
    assert "no repository" in (GitHub(None, None).missing() or "")
    assert "GITHUB_TOKEN" in (GitHub(repository_named(FULL), None).missing() or "")
    assert "gh auth login --hostname ghe.x" in (missing_credentials(None, host="ghe.x") or "")
    key = AppKey(app_id="7", key_path=tmp_path / "key.pem")
    assert "cannot be read" in (missing_credentials(key, host="github.com") or "")
    key.key_path.write_text("hello")
    assert "holds no private key" in (missing_credentials(key, host="github.com") or "")


def test_token_shows_in_no_repr() -> None:
    assert "secret" not in repr(Token(text="secret", source="GITHUB_TOKEN"))


@pytest.fixture
def app(tmp_path: Path) -> tuple[AppServer, GitHub]:
    server = AppServer(me="luminaguard[bot]", refuses={"GET /user$": (403, {})})
    return server, app_on(server, tmp_path)


def test_app_finds_its_installation_and_works_with_a_token_of_it(app: tuple[AppServer, GitHub]) -> None:
    server, forge = app
    server.add_issue("First")
    assert forge.missing() is None
    for text in ("working", "landed"):
        anyio.run(forge.tell, IssueId("1"), text)
    assert [one.partition("\n")[0] for one in server.comments_on(1)] == ["landed"]
    assert server.asked == [f"/repos/{FULL}/installation", "/app/installations/42/access_tokens"]


@pytest.mark.parametrize("name", ["7", "Iv23seven"])
def test_app_shows_verdicts_as_check_runs_of_its_own_by_whichever_id_it_is_named(tmp_path: Path, name: str) -> None:
    server = AppServer()
    forge = app_on(server, tmp_path, app_id=name)
    other = {"name": "luminaguard", "head_sha": "a" * 40, "status": "completed", "app": {"id": 8}}
    server.make_run(other)

    async def report() -> None:
        for state in ("pending", "pending", "failed"):
            await forge.report_check(Oid("a" * 40), name="luminaguard", state=state, text="2 failed")

    anyio.run(report)
    assert [(one["status"], one["conclusion"]) for one in server.runs.values() if one["app"]["id"] == 7] == [
        ("completed", "failure")
    ]
    assert server.statuses == []


def test_app_is_told_exactly_what_it_lacks(app: tuple[AppServer, GitHub]) -> None:
    _, forge = app
    names = [(one.name, one.level) for one in anyio.run(forge.lacking).permissions if one.is_needed]
    assert names == [("contents", "write"), ("pull_requests", "write")]


def test_app_that_is_not_installed_is_the_users_fault(app: tuple[AppServer, GitHub]) -> None:
    server, _ = app

    async def nowhere(request: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={"message": "Not Found"})

    credentials = app[1]._credentials
    forge = GitHub(repository_named(FULL), credentials, transport=httpx.MockTransport(nowhere))
    with pytest.raises(UserFault, match="not installed on octo/demo"):
        anyio.run(forge.issue, IssueId("1"))
    assert server.asked == []


def test_app_whose_key_is_junk_is_the_users_fault(app: tuple[AppServer, GitHub], tmp_path: Path) -> None:
    server, forge = app
    (tmp_path / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(UserFault, match="App's key cannot be used"):
        anyio.run(forge.issue, IssueId("1"))
    assert server.asked == []


def test_token_of_the_installation_that_no_header_can_carry_is_shown_nowhere(
    app: tuple[AppServer, GitHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, forge = app

    def broken(request: httpx.Request) -> httpx.Response:
        return httpx.Response(201, json={"token": "ghs_\nx", "expires_at": server.time(after_s=3600.0)})

    monkeypatch.setattr(server, "_token", broken)
    with pytest.raises(HostFault, match="has no token in it") as caught:
        anyio.run(forge.issue, IssueId("1"))
    assert "ghs_" not in caught.value.message + caught.value.hint


def test_git_shows_the_token_itself(opened: Opened) -> None:
    assert anyio.run(opened().git_token) == "t"


def test_git_shows_a_token_of_the_installation_for_this_repository_alone(app: tuple[AppServer, GitHub]) -> None:
    server, forge = app

    async def both() -> tuple[str, str]:
        return await forge.git_token(), await forge.git_token()

    assert anyio.run(both) == ("ghs_0", "ghs_0")
    assert server.made == {"ghs_0": {"repositories": ["demo"]}}


def test_token_of_the_installation_is_made_anew_before_it_expires(app: tuple[AppServer, GitHub]) -> None:
    server, forge = app

    async def over_time() -> list[str]:
        found = []
        for pause_s in (0.0, 2900.0, 200.0):  # 500 s are left then: too few for a long push
            server.now += pause_s
            found.append(await forge.git_token())
        return found

    assert anyio.run(over_time) == ["ghs_0", "ghs_0", "ghs_1"]


def test_several_that_want_a_token_at_once_get_the_same(app: tuple[AppServer, GitHub]) -> None:
    server, forge = app
    found: list[str] = []

    async def one() -> None:
        found.append(await forge.git_token())

    async def several() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(one)

    anyio.run(several)
    assert found == ["ghs_0"] * 4
    assert len(server.made) == 1


def test_nobody_pays_for_githubs_client_before_a_request() -> None:
    told = "import sys, luminaguard.forges.github.forge; print({'githubkit', 'httpx', 'pydantic'} & sys.modules.keys())"
    ran = subprocess.run((sys.executable, "-c", told), capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
