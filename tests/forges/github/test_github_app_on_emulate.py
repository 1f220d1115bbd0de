"""Our driver as a GitHub App, on a server that others wrote, with a key that it really checks.

Its deviations from GitHub: it takes every token that it does not know for a person's, shows an installation to anybody,
tells no App of a check run, and answers an App's /user with the account that it is installed on (hence the App's name).
"""

from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from emulate_server import client_of, commit_on, emulate

from luminaguard.forges.base import Merged, PullDraft
from luminaguard.forges.github.auth import AppKey
from luminaguard.forges.github.forge import GitHub
from luminaguard.forges.github.repository import repository_named
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json
from luminaguard.model.issue import Issue, IssueState

TOKEN = "test_token_admin"
GRANTED: dict[str, Json] = {
    "metadata": "read",
    **dict.fromkeys(("issues", "contents", "pull_requests", "checks"), "write"),
}
REPOSITORIES = ("octo/demo", "octo/other", "else/where")


def pem_in(path: Path) -> str:
    """Make an App's key, as GitHub gives it to download."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form, plain = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return path.read_text()


def seed(folder: Path) -> dict[str, Json]:
    """Give one App that is installed on two of three repositories, and one that is installed on none."""
    installation: dict[str, Json] = {
        "installation_id": 42,
        "account": "octo",
        "repository_selection": "selected",
        "repositories": ["octo/demo", "octo/other"],
    }
    ours: dict[str, Json] = {"app_id": 7, "slug": "octo", "name": "Ours", "permissions": GRANTED}
    ours |= {"private_key": pem_in(folder / "ours.pem"), "installations": [installation]}
    other: dict[str, Json] = {"app_id": 8, "slug": "nowhere", "name": "Nowhere", "permissions": GRANTED}
    other |= {"private_key": pem_in(folder / "nowhere.pem")}
    repos: list[Json] = [
        {"owner": owner, "name": name, "auto_init": True, "private": True}
        for owner, _, name in (full.partition("/") for full in REPOSITORIES)
    ]
    users: list[Json] = [{"login": "octo"}, {"login": "else"}]
    return {
        "tokens": {TOKEN: {"login": "octo", "scopes": ["repo"]}},
        "github": {"users": users, "repos": repos, "apps": [ours, other]},
    }


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with emulate(tmp_path, seed(tmp_path)) as url:
        yield url


def app(url: str, key: Path, *, app_id: str = "7", full: str = "octo/demo") -> GitHub:
    return GitHub(repository_named(full, base_url=url), AppKey(app_id=app_id, key_path=key))


async def way(forge: GitHub, draft: PullDraft) -> None:
    async with forge.open():
        assert [one.name for one in (await forge.lacking()).permissions if one.is_needed] == []
        first = await forge.add(Issue(id=IssueId("x-1"), title="First", body="Do it."))
        second = await forge.add(Issue(id=IssueId("x-2"), title="Second"))
        assert [one.title for one in (await forge.backlog()).issues] == ["First", "Second"]
        for text in ("working", "landing"):
            await forge.tell(first, text)
        pull = await forge.open_pull(draft)
        assert (await forge.open_pull(draft)).id == pull.id
        outcome = await forge.merge(pull.id, head=draft.head, style="squash", message="P (#3)")
        assert isinstance(outcome, Merged)
        await forge.close(second, comment="Landed.")
        assert (await forge.issue(second)).state is IssueState.CLOSED


def test_issue_goes_all_the_way_for_an_app_and_what_it_made_is_the_apps(url: str, tmp_path: Path) -> None:
    with client_of(url, "octo/demo", TOKEN) as client:
        head = commit_on(client, "lg/1")
        draft = PullDraft(branch="lg/1", head=head, target="main", issue=IssueId("1"), title="P", body="Closes #1")
        anyio.run(way, app(url, tmp_path / "ours.pem"), draft)
        made = [client.get(f"issues/{number}").json() for number in (1, 2)] + [client.get("pulls/3").json()]
        said = client.get("issues/1/comments").json()
    assert [one["user"]["login"] for one in [*made, *said]] == ["octo[bot]"] * 4
    assert said[0]["body"].startswith("landing")
    assert len(tokens(url)) == 1


def tokens(url: str) -> list[dict[str, Json]]:
    answer = httpx.get(f"{url}_emulate/installation-tokens", timeout=240)
    found: list[dict[str, Json]] = answer.json()["installation_tokens"]
    return found


def test_token_for_git_is_good_for_its_repository_and_for_no_other_of_the_installation(
    url: str, tmp_path: Path
) -> None:
    token = anyio.run(app(url, tmp_path / "ours.pem").git_token)
    assert token.startswith("ghs_")
    (made,) = tokens(url)
    assert made["repository_selection"] == "selected"
    seen = {}
    for full in REPOSITORIES:
        with client_of(url, full, token) as client:
            seen[full] = client.get("issues").status_code
    assert seen == {"octo/demo": 200, "octo/other": 403, "else/where": 403}


@pytest.mark.parametrize("ask", ["backlog", "git_token"])
def test_key_of_another_app_is_refused_and_that_is_said(url: str, tmp_path: Path, ask: str) -> None:
    with pytest.raises(UserFault, match=r"refuses the key of GitHub App 7") as raised:
        anyio.run(getattr(app(url, tmp_path / "nowhere.pem"), ask))
    assert "id and key" in (raised.value.hint or "")
    assert tokens(url) == []


@pytest.mark.parametrize(
    ("app_id", "key", "full"),
    [("7", "ours", "else/where"), ("8", "nowhere", "octo/demo"), ("7", "ours", "octo/nothing")],
)
def test_app_that_is_not_installed_there_is_told_so(url: str, tmp_path: Path, app_id: str, key: str, full: str) -> None:
    with pytest.raises(UserFault, match=f"App {app_id} is not installed on {full}"):
        anyio.run(app(url, tmp_path / f"{key}.pem", app_id=app_id, full=full).backlog)
    assert tokens(url) == []
