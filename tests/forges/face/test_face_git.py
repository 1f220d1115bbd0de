"""Git over HTTP: real clones and pushes against the command, and what is refused."""

import os
import subprocess
from pathlib import Path

import pytest
from face_ground import Running, commit, git

from luminaguard.forges.face.tokens import Holder, Rights, Tokens


@pytest.fixture
def checkout(running: Running, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "-q", address(running), "clone")
    return tmp_path / "clone"


def address(running: Running, token: str | None = None, *, name: str = "ann/demo.git") -> str:
    return running.url.replace("http://", f"http://x:{token or running.token}@") + f"/{name}"


def tip(running: Running, name: str = "main") -> str:
    return git(running.folder, "rev-parse", name, check=False).stdout.strip()


def refused(folder: Path, *args: str) -> str:
    ran = git(folder, *args, check=False)
    assert ran.returncode != 0
    return ran.stderr


def test_a_branch_is_pushed_moved_and_removed(running: Running, checkout: Path) -> None:
    git(checkout, "checkout", "-q", "-b", "topic")
    made = commit(checkout, "f", os.urandom(3_000_000).hex())  # more than git sends in one piece
    git(checkout, "push", "-q", "origin", "topic")
    assert tip(running, "topic") == made
    git(checkout, "commit", "-q", "--amend", "-m", "again")
    assert "non-fast-forward" in refused(checkout, "push", "origin", "topic")
    git(checkout, "push", "-q", "--force-with-lease", "origin", "topic")
    git(checkout, "push", "-q", "origin", ":topic")
    assert git(running.folder, "branch", "--list", "topic").stdout == ""


def test_the_target_only_goes_forward_and_its_checkout_goes_with_it(running: Running, checkout: Path) -> None:
    made = commit(checkout, "f", "1")
    git(checkout, "push", "-q", "origin", "main")
    assert tip(running) == made
    assert git(running.folder, "status", "--porcelain").stdout == ""
    git(checkout, "commit", "-q", "--amend", "-m", "other")
    assert "main only goes forward" in refused(checkout, "push", "--force", "origin", "main")
    refused(checkout, "push", "origin", ":main")
    assert tip(running) == made


def test_the_target_stays_where_its_checkout_has_changes_in_the_way(running: Running, checkout: Path) -> None:
    before = tip(running)
    (running.folder / "README.md").write_text("mine\n")
    commit(checkout, "README.md", "theirs\n")
    refused(checkout, "push", "origin", "main")
    assert (tip(running), (running.folder / "README.md").read_text()) == (before, "mine\n")


def test_what_landed_beside_the_target_is_not_passed_over(running: Running, checkout: Path) -> None:
    tree = git(running.folder, "rev-parse", "main^{tree}").stdout.strip()
    ahead = git(running.folder, "commit-tree", tree, "-p", "main", "-m", "landed").stdout.strip()
    git(running.folder, "update-ref", "refs/luminaguard/target", ahead)
    commit(checkout, "f", "1")
    assert "landed beside main" in refused(checkout, "push", "origin", "main")


@pytest.mark.parametrize("ref", ["refs/luminaguard/target", "refs/notes/x", "refs/heads/../../x"])
def test_other_refs_are_not_taken(running: Running, checkout: Path, ref: str) -> None:
    before = git(running.folder, "for-each-ref").stdout
    refused(checkout, "push", "origin", f"HEAD:{ref}")
    assert git(running.folder, "for-each-ref").stdout == before


def test_our_own_refs_are_not_shown(running: Running, checkout: Path) -> None:
    git(running.folder, "update-ref", "refs/luminaguard/attempts/x", "main")
    assert "luminaguard" not in git(checkout, "ls-remote", "origin").stdout


def test_no_hook_of_the_repository_is_run(running: Running, checkout: Path) -> None:
    hook = running.folder / ".git/hooks/pre-receive"
    hook.write_text(f"#!/bin/sh\ntouch {running.folder}/ran\n")
    hook.chmod(0o755)
    git(checkout, "push", "-q", "origin", "HEAD:refs/heads/topic")
    assert not (running.folder / "ran").exists()


def test_a_broken_object_is_not_taken(running: Running, checkout: Path) -> None:
    blob = git(checkout, "hash-object", "-w", "README.md").stdout.strip()
    bad = f"100644 blob {blob}\t.git\n"
    tree = subprocess.run(
        ["git", "mktree"], cwd=checkout, input=bad, text=True, capture_output=True, check=True
    ).stdout.strip()
    made = git(checkout, "commit-tree", tree, "-m", "bad").stdout.strip()
    assert "fsck" in refused(checkout, "push", "origin", f"{made}:refs/heads/bad")


def test_lesser_tokens_fetch_and_push_nothing(running: Running, tmp_path: Path) -> None:
    tokens = Tokens(running.folder / ".git/luminaguard/forge")
    token = tokens.make(Holder(login="r", rights=Rights.READ))
    git(tmp_path, "clone", "-q", address(running, token), "reader")
    assert "403" in refused(tmp_path / "reader", "push", "origin", "HEAD:refs/heads/topic")
    tokens.revoke(token)
    assert "Authentication failed" in refused(tmp_path, "clone", address(running, token), "again")


@pytest.mark.parametrize("name", ["ann/other.git", "ann/..", "%2e%2e/%2e%2e", "ann/demo.git/objects"])
def test_there_is_no_other_repository(running: Running, tmp_path: Path, name: str) -> None:
    refused(tmp_path, "clone", address(running, name=name), "x")
