"""Forges behind a network, as the settings mean them: who we are there, and how git is let in."""

import base64
import os
import subprocess
from pathlib import Path

import anyio
import pytest

from luminaguard.app.remote_forges import reached
from luminaguard.app.settings import parse
from luminaguard.model.faults import UserFault

APP = "[backlog]\nsource = 'github'\napp_id = '12345'\napp_key = '{}'"


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose remote is at GitHub, on a machine that has no token for it."""
    for name in ("GITHUB_TOKEN", "GH_TOKEN", "GH_HOST", "GITHUB_SERVER_URL", "GIT_ASKPASS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GH_CONFIG_DIR", str(tmp_path / "gh"))
    folder = tmp_path / "clone"
    subprocess.run(["git", "init", "-q", folder], check=True)
    subprocess.run(["git", "-C", folder, "remote", "add", "origin", "git@github.com:ann/demo.git"], check=True)
    return folder


@pytest.mark.parametrize(
    ("source", "address", "token", "user", "web"),
    [
        ("github", "git@github.com:ann/demo.git", "GITHUB_TOKEN", "x-access-token", "https://github.com"),
        ("gitlab", "git@gitlab.com:ann/demo.git", "GITLAB_TOKEN", "oauth2", "https://gitlab.com"),
        ("gitea", "https://tea.test/ann/demo.git", "GITEA_TOKEN", "luminaguard", "https://tea.test"),
    ],
)
def test_git_shows_the_token_to_the_forges_own_server_only(
    clone: Path, monkeypatch: pytest.MonkeyPatch, source: str, address: str, token: str, user: str, web: str
) -> None:
    monkeypatch.setenv(token, "s3cret")
    subprocess.run(["git", "-C", clone, "remote", "set-url", "origin", address], check=True)
    found = reached(parse(f"backlog.source = '{source}'", path="f"), clone, remote="origin")
    shown = anyio.run(found.let_in)
    words = base64.b64encode(f"{user}:s3cret".encode()).decode()
    assert shown["GIT_CONFIG_KEY_0"] == f"http.{web}/.extraHeader"
    assert shown["GIT_CONFIG_VALUE_0"] == f"Authorization: Basic {words}"
    assert (found.name, found.repository) == (f"{source} ann/demo", "ann/demo")
    assert "s3cret" not in repr(found)


def test_a_person_who_lets_git_in_by_a_program_of_their_own_is_left_alone(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "s3cret")
    monkeypatch.setenv("GIT_ASKPASS", "my-askpass")
    found = reached(parse("backlog.source = 'github'", path="f"), clone, remote="origin")
    assert anyio.run(found.let_in) == {}


def test_a_machine_without_a_token_says_where_one_is_looked_for(clone: Path) -> None:
    with pytest.raises(UserFault, match=r"there is no token for github\.com") as raised:
        reached(parse("backlog.source = 'github'", path="f"), clone, remote="origin")
    assert "GITHUB_TOKEN" in raised.value.message


def test_a_missing_token_is_said_of_the_server_that_base_url_names(clone: Path) -> None:
    said = "[backlog]\nsource = 'github'\nrepository = 'ann/demo'\nbase_url = 'https://ghe.test/api/v3'"
    with pytest.raises(UserFault, match=r"there is no token for ghe\.test") as raised:
        reached(parse(said, path="f"), clone, remote="origin")
    assert "github.com" not in raised.value.message


def test_a_token_that_gh_keeps_for_github_com_is_shown_to_no_server_that_base_url_names(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gh = tmp_path / "bin" / "gh"
    gh.parent.mkdir()
    gh.write_text('#!/bin/sh\ntest "$*" = "auth token --hostname github.com" && echo gho_x || exit 1\n')
    gh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{gh.parent}:{os.environ['PATH']}")
    said = "backlog.source = 'github'"
    assert reached(parse(said, path="f"), clone, remote="origin").name == "github ann/demo"
    with pytest.raises(UserFault, match="there is no token"):
        reached(parse(f"{said}\nbacklog.base_url = 'https://ghe.test/api/v3'", path="f"), clone, remote="origin")


@pytest.mark.parametrize(
    ("source", "token"), [("github", "GITHUB_TOKEN"), ("gitlab", "GITLAB_TOKEN"), ("gitea", "FORGEJO_TOKEN")]
)
def test_a_token_of_two_lines_is_the_users_fault_and_is_not_shown(
    clone: Path, monkeypatch: pytest.MonkeyPatch, source: str, token: str
) -> None:
    monkeypatch.delenv("GITEA_TOKEN", raising=False)
    monkeypatch.setenv(token, "s3cret\nmore")
    said = f"[backlog]\nsource = '{source}'\nrepository = 'ann/demo'\nbase_url = 'https://git.test'"
    with pytest.raises(UserFault, match=token) as raised:
        reached(parse(said, path="f"), clone, remote="origin")
    assert "s3cret" not in raised.value.message + raised.value.hint


@pytest.mark.parametrize("source", ["github", "gitlab", "gitea"])
@pytest.mark.parametrize("address", ["http://[::1/ann/demo", "https://git.test:99999/ann/demo"])
def test_a_remote_that_no_server_can_have_is_the_users_fault(
    clone: Path, monkeypatch: pytest.MonkeyPatch, source: str, address: str
) -> None:
    for token in ("GITHUB_TOKEN", "GITLAB_TOKEN", "GITEA_TOKEN"):
        monkeypatch.setenv(token, "s3cret")
    subprocess.run(["git", "-C", clone, "remote", "set-url", "origin", address], check=True)
    with pytest.raises(UserFault, match=r"no (repository|project) on"):
        reached(parse(f"backlog.source = '{source}'", path="f"), clone, remote="origin")


@pytest.mark.parametrize(("said", "at"), [("~/app.pem", "home/app.pem"), ("keys/app.pem", "clone/keys/app.pem")])
def test_an_apps_key_is_found_at_home_and_beside_the_repository(
    clone: Path, tmp_path: Path, said: str, at: str
) -> None:
    settings = parse(APP.format(said), path="f")
    with pytest.raises(UserFault) as raised:
        reached(settings, clone, remote="origin")
    assert f"the key of GitHub App 12345 at {tmp_path / at} cannot be read" in raised.value.message
    (tmp_path / at).parent.mkdir(parents=True)
    (tmp_path / at).write_text("-----BEGIN RSA PRIVATE KEY-----\n")
    assert reached(settings, clone, remote="origin").name == "github ann/demo"
