"""What the doctor says of a forge, by what the forge demands and what our token may do there."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from gitlab_server import GitLabServer
from lab_drivers import TOKEN, at_once

from luminaguard.app import doctor_forge
from luminaguard.app.doctor_check import Check, Ok
from luminaguard.app.project import open_project
from luminaguard.app.settings import parse
from luminaguard.forges.gitlab.forge import GitLab
from luminaguard.forges.http_project import Project as Place

Told = Callable[..., dict[str, Check]]


@pytest.fixture
def lab() -> GitLabServer:
    """A server where we are developers."""
    made = GitLabServer()
    made.members[made.me] = 30
    return made


@pytest.fixture
def told(tmp_path: Path, lab: GitLabServer) -> Told:
    """What the doctor says of the server, by the name of the check."""
    who = ("-c", "user.name=A", "-c", "user.email=a@b.invalid")
    subprocess.run(["git", "init", "-q", "-b", "main", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, *who, "commit", "-q", "--allow-empty", "-m", "first"], check=True)

    def asked(text: str = "") -> dict[str, Check]:
        settings = parse(f"backlog.source = 'gitlab'\n{text}", path="luminaguard.toml")
        place = Place(web="https://lab.test", path="group/sub/project")
        forge = GitLab(place, TOKEN, transport=lab, sleep=at_once)
        project = replace(open_project(tmp_path), settings=settings, backlog="gitlab group/sub/project", reached=forge)
        return {check.name: check for check in anyio.run(doctor_forge.forge, project)}

    return asked


def test_a_forge_that_lets_us_do_everything_is_all_yes(told: Told) -> None:
    found = told()
    assert {check.ok for check in found.values()} == {Ok.YES}
    assert found["reachable"].said.startswith("gitlab group/sub/project answers, and knows us as ")
    assert found["branch protection"].said.endswith("takes pushes of ours: landings are pushed")


def test_what_a_token_lacks_is_a_no_each_with_the_least_that_it_needs(told: Told, lab: GitLabServer) -> None:
    lab.scopes = ["read_api"]
    lab.members[lab.me] = 20
    found = told()
    for name in ("scope api: write", "role Developer: write"):
        assert found[name].ok is Ok.NO
        assert "needs at least the scope api, and the role Developer" in found[name].way_out
    assert "permissions" not in found


def test_what_the_forge_does_not_tell_of_a_token_is_a_note(told: Told, lab: GitLabServer) -> None:
    lab.scopes = None
    assert told()["permissions"].ok is Ok.NOTE


@pytest.mark.parametrize(
    ("by", "ok", "said"),
    [
        ("auto", Ok.NOTE, "gitlab merges what lands"),
        ("forge", Ok.YES, "gitlab merges what lands"),
        ("push", Ok.NO, '[landing] by = "push"'),
    ],
)
def test_what_follows_from_a_protected_target_is_said(
    told: Told, lab: GitLabServer, by: str, ok: Ok, said: str
) -> None:
    lab.branches["main"] |= {"protected": True, "can_push": False}
    found = told(f"landing.by = '{by}'")["branch protection"]
    assert (found.ok, said in found.said) == (ok, True)
    assert "we may not push to the protected branch" in found.said
    assert found.way_out or ok is Ok.YES


def test_what_the_target_demands_is_told(told: Told, lab: GitLabServer) -> None:
    lab.approval_rules = [{"name": "two", "approvals_required": 2}]
    assert told()["demanded"].said == "2 approvals by people, for each pull request"


def test_a_target_that_the_forge_does_not_have_is_a_no_and_hides_no_other(told: Told, lab: GitLabServer) -> None:
    del lab.branches["main"]
    found = told()
    assert found["branch protection"].ok is Ok.NO
    assert "no branch 'main'" in found["branch protection"].said
    assert (found["reachable"].ok, found["permissions"].ok) == (Ok.YES, Ok.YES)
