"""A target that lives at a remote: the push is the landing, others' work is followed, nothing of theirs is lost."""

import os
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import pytest

from luminaguard.host.git import Git, find_repository
from luminaguard.host.trunk import Trunk
from luminaguard.host.upstream import Upstream, fault_of
from luminaguard.model.faults import Fault, HostFault, Transient, UserFault
from luminaguard.model.ids import Oid
from luminaguard.model.work import Candidate

ENV = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """`remote` is bare, `ours` a clone that we land from, `theirs` another."""

    remote: Path
    ours: Path
    theirs: Path

    def git(self, where: Path, *words: str) -> str:
        ran = subprocess.run(
            ("git", "-C", str(where), *words), check=False, env={**os.environ, **ENV}, capture_output=True, text=True
        )
        assert ran.returncode == 0, (words, ran.stderr)
        return ran.stdout.strip()

    def commit(self, where: Path, files: Mapping[str, str], message: str = "change") -> Oid:
        for path, text in files.items():
            (where / path).write_text(text)
        self.git(where, "add", "-A")
        self.git(where, "commit", "-q", "-m", message)
        return Oid(self.git(where, "rev-parse", "HEAD"))

    def trunk(self) -> Trunk:
        places = find_repository(self.ours)
        git = Git(places.root)
        upstream = Upstream(git=git, remote="origin", target="main")
        return Trunk(git, places, target="main", identity=("a", "a@b"), upstream=upstream)

    def candidate(self, path: str = "new.txt") -> Candidate:
        """A change on a branch of ours, composed onto the present tip; it is what the checkout shows."""

        async def made() -> Candidate:
            trunk = self.trunk()
            onto = await trunk.tip()
            self.git(self.ours, "checkout", "-q", "-B", f"work-{path}", onto)
            change = self.commit(self.ours, {path: "x\n"})
            composed = await trunk.compose(change, onto=onto, style="squash", message=f"Add {path}", when=1.0)
            assert isinstance(composed, Candidate)
            return composed

        return anyio.run(made)


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    made = Ground(remote=tmp_path / "remote.git", ours=tmp_path / "ours", theirs=tmp_path / "theirs")
    made.git(tmp_path, "init", "-q", "--bare", "-b", "main", str(made.remote))
    made.git(tmp_path, "clone", "-q", str(made.remote), str(made.theirs))
    made.git(made.theirs, "checkout", "-q", "-b", "main")
    made.commit(made.theirs, {"a.txt": "a\n"})
    made.git(made.theirs, "push", "-q", "origin", "main")
    made.git(tmp_path, "clone", "-q", str(made.remote), str(made.ours))
    return made


def test_landing_is_a_push_and_the_branch_here_follows(ground: Ground) -> None:
    candidate = ground.candidate()
    assert anyio.run(ground.trunk().land, candidate) == ()
    assert ground.git(ground.remote, "rev-parse", "main") == candidate.commit
    assert ground.git(ground.ours, "rev-parse", "main") == candidate.commit


def test_whoever_was_faster_upstream_makes_the_landing_do_nothing(ground: Ground) -> None:
    candidate = ground.candidate()
    theirs = ground.commit(ground.theirs, {"b.txt": "b\n"})
    trunk = ground.trunk()
    assert anyio.run(trunk.tip) == candidate.base  # seen before they pushed, and not yet looked at again
    ground.git(ground.theirs, "push", "-q", "origin", "main")
    assert anyio.run(trunk.land, candidate) is None
    assert ground.git(ground.remote, "rev-parse", "main") == theirs
    assert anyio.run(trunk.tip) == theirs


def test_a_kill_between_push_and_branch_is_made_good_by_the_next_look(ground: Ground) -> None:
    candidate = ground.candidate()
    upstream = ground.trunk().upstream
    assert upstream is not None

    async def cut_short() -> bool:
        return await upstream.push(candidate.commit, onto=candidate.base)

    assert anyio.run(cut_short)
    assert ground.git(ground.ours, "rev-parse", "main") == candidate.base
    assert anyio.run(ground.trunk().holds, candidate.commit)
    assert ground.git(ground.ours, "rev-parse", "main") == candidate.commit


def test_commits_of_others_upstream_are_followed_and_those_only_here_are_told(ground: Ground) -> None:
    theirs = ground.commit(ground.theirs, {"b.txt": "b\n"})
    ground.git(ground.theirs, "push", "-q", "origin", "main")
    assert anyio.run(ground.trunk().tip) == theirs
    assert (ground.ours / "b.txt").read_text() == "b\n"
    ground.commit(ground.ours, {"only-here.txt": "x\n"})
    with pytest.raises(UserFault, match="has commits that 'origin' does not have") as caught:
        anyio.run(ground.trunk().tip)
    assert "git push origin main" in caught.value.hint


def test_a_protected_target_is_told_with_the_remotes_own_words(ground: Ground) -> None:
    candidate = ground.candidate()
    hook = ground.remote / "hooks" / "update"
    hook.write_text('#!/bin/sh\n[ "$1" != refs/heads/main ] || { echo "GH006: Protected branch" >&2; exit 1; }\n')
    hook.chmod(0o755)
    with pytest.raises(HostFault, match="takes no push to 'main'") as caught:
        anyio.run(ground.trunk().land, candidate)
    assert "allow it for this token" in caught.value.hint
    assert "forge" in caught.value.hint
    assert ground.git(ground.ours, "rev-parse", "main") == candidate.base


def test_a_remote_that_is_gone_is_worth_another_try_and_changes_nothing(ground: Ground) -> None:
    candidate = ground.candidate()
    ground.remote.rename(ground.remote.with_suffix(".away"))
    with pytest.raises((Transient, HostFault), match="'origin'"):
        anyio.run(ground.trunk().land, candidate)
    assert ground.git(ground.ours, "rev-parse", "main") == candidate.base


def test_a_remote_that_nobody_has_named_is_the_users_to_add(ground: Ground) -> None:
    upstream = Upstream(git=Git(find_repository(ground.ours).root), remote="nosuch", target="main")
    with pytest.raises(UserFault, match="no remote 'nosuch'") as caught:
        anyio.run(upstream.tip)
    assert "git remote add nosuch" in caught.value.hint


def test_what_git_died_of_is_told_and_not_its_advice(ground: Ground) -> None:
    ground.remote.rename(ground.remote.with_suffix(".away"))
    upstream = ground.trunk().upstream
    assert upstream is not None
    with pytest.raises(Fault, match="does not appear to be a git repository"):
        anyio.run(upstream.tip)


def test_what_landed_at_a_remote_lies_beside_nothing(ground: Ground) -> None:
    candidate = ground.candidate("a.txt")
    ground.git(ground.ours, "checkout", "-q", "main")
    (ground.ours / "a.txt").write_text("in the way\n")
    told = anyio.run(ground.trunk().land, candidate)
    assert told is not None
    assert told[0].startswith("pending fast-forward")
    assert anyio.run(ground.trunk().beside) is None
    assert dict(anyio.run(ground.trunk().first_parents, candidate.base)) == {candidate.commit: candidate.tree}


def test_a_work_branch_is_published_again_and_again(ground: Ground) -> None:
    first = ground.candidate("one.txt").commit
    second = ground.candidate("two.txt").commit
    for commit in (first, first, second):
        assert anyio.run(ground.trunk().publish, "feature/issue-1", commit) == ""
        assert ground.git(ground.remote, "rev-parse", "feature/issue-1") == commit


def test_a_kill_right_behind_the_push_does_not_make_our_branch_somebody_elses(ground: Ground) -> None:
    first, second = ground.candidate("one.txt").commit, ground.candidate("two.txt").commit
    anyio.run(ground.trunk().publish, "feature/issue-1", first)
    ground.git(ground.ours, "update-ref", "-d", "refs/luminaguard/pushed/feature/issue-1")
    for commit in (first, second):
        assert anyio.run(ground.trunk().publish, "feature/issue-1", commit) == ""
    assert ground.git(ground.remote, "rev-parse", "feature/issue-1") == second


def test_commits_of_others_on_a_work_branch_are_never_overwritten(ground: Ground) -> None:
    ground.git(ground.theirs, "checkout", "-q", "-b", "feature/issue-1")
    theirs = ground.commit(ground.theirs, {"theirs.txt": "x\n"})
    ground.git(ground.theirs, "push", "-q", "origin", "feature/issue-1")
    note = anyio.run(ground.trunk().publish, "feature/issue-1", ground.candidate().commit)
    assert "commits of others" in note
    assert ground.git(ground.remote, "rev-parse", "feature/issue-1") == theirs


def test_work_begun_elsewhere_is_found_upstream(ground: Ground) -> None:
    ground.git(ground.theirs, "checkout", "-q", "-b", "feature/issue-1")
    theirs = ground.commit(ground.theirs, {"theirs.txt": "x\n"})
    ground.git(ground.theirs, "push", "-q", "origin", "feature/issue-1")
    assert anyio.run(ground.trunk().branch, "feature/issue-1") == theirs
    assert anyio.run(ground.trunk().branch, "feature/issue-2") is None
    assert ground.git(ground.ours, "cat-file", "-t", theirs) == "commit"


def test_a_candidate_is_shown_whatever_was_shown_before(ground: Ground) -> None:
    for path in ("one.txt", "two.txt"):
        commit = ground.candidate(path).commit
        anyio.run(partial(ground.trunk().stage, commit, branch="luminaguard/candidate"))
        assert ground.git(ground.remote, "rev-parse", "luminaguard/candidate") == commit


def removed(ground: Ground, commit: Oid) -> str:
    return anyio.run(partial(ground.trunk().remove_branch, "feature/issue-1", commit=commit))


def test_a_work_branch_is_removed_here_and_there_and_its_commits_are_kept(ground: Ground) -> None:
    commit = ground.candidate().commit
    anyio.run(ground.trunk().publish, "feature/issue-1", commit)
    for _ in range(2):
        assert removed(ground, commit) == ""
        for where in (ground.ours, ground.remote):
            assert ground.git(where, "branch", "--list", "feature/*") == ""
    kept = ground.git(ground.ours, "for-each-ref", "--format=%(objectname)", "refs/luminaguard/kept")
    assert kept == commit


def test_a_branch_that_somebody_went_on_with_is_not_removed(ground: Ground) -> None:
    commit = ground.candidate().commit
    anyio.run(ground.trunk().publish, "feature/issue-1", commit)
    ground.git(ground.theirs, "fetch", "-q", "origin", "feature/issue-1:feature/issue-1")
    ground.git(ground.theirs, "checkout", "-q", "feature/issue-1")
    theirs = ground.commit(ground.theirs, {"more.txt": "x\n"})
    ground.git(ground.theirs, "push", "-q", "origin", "feature/issue-1")
    removed(ground, commit)
    assert ground.git(ground.remote, "rev-parse", "feature/issue-1") == theirs
    ground.git(ground.ours, "branch", "-f", "feature/issue-1", "main")
    assert "was left" in removed(ground, commit)
    assert ground.git(ground.ours, "rev-parse", "feature/issue-1") == ground.git(ground.ours, "rev-parse", "main")


def test_git_is_let_in_anew_before_every_call(ground: Ground) -> None:
    """What lets in now is worth nothing at the next call, as a token that is over."""
    places = find_repository(ground.ours)
    asked: list[str] = []

    async def let_in() -> Mapping[str, str]:
        asked.append(f"https://{len(asked)}.invalid/")
        ground.git(ground.ours, "remote", "set-url", "origin", asked[-1])
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{ground.remote}.insteadOf",
            "GIT_CONFIG_VALUE_0": asked[-1],
        }

    upstream = Upstream(git=Git(places.root), remote="origin", target="main", let_in=let_in)
    candidate = ground.candidate()
    assert anyio.run(lambda: upstream.tip(is_fresh=True)) == candidate.base
    assert anyio.run(upstream.publish, "feature/issue-1", candidate.commit) == ""
    assert anyio.run(lambda: upstream.push(candidate.commit, onto=candidate.base))
    assert ground.git(ground.remote, "rev-parse", "main") == candidate.commit
    assert len(asked) >= 4


def test_what_lets_git_in_is_in_no_fault_and_in_no_text(ground: Ground) -> None:
    async def let_in() -> Mapping[str, str]:
        return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.extraHeader", "GIT_CONFIG_VALUE_0": "A: s3cret"}

    places = find_repository(ground.ours)
    upstream = Upstream(git=Git(places.root), remote="origin", target="main", let_in=let_in)
    ground.remote.rename(ground.remote.with_suffix(".away"))
    with pytest.raises((Transient, HostFault)) as raised:
        anyio.run(lambda: upstream.tip(is_fresh=True))
    assert "s3cret" not in f"{raised.value.message} {raised.value.hint} {upstream!r}"


ADVICE = "Please make sure you have the correct access rights\nand the repository exists.\n"
SSH = f"fatal: Could not read from remote repository.\n\n{ADVICE}"
HTTP = "fatal: unable to access 'https://example.org/o/r.git/': "


@pytest.mark.parametrize(
    ("said", "is_away", "why"),
    [
        (f"{HTTP}The requested URL returned error: 403\n", False, "error: 403"),
        (f"{HTTP}The requested URL returned error: 429\n", True, "error: 429"),
        (f"{HTTP}The requested URL returned error: 503\n", True, "error: 503"),
        (f"{HTTP}SSL certificate problem: self signed certificate\n", False, "self signed"),
        (f"{HTTP}Failed to connect to example.org port 443 after 2 ms: Connection refused\n", True, "refused"),
        (f"{HTTP}Could not resolve host: example.org\n", True, "resolve"),
        (f"git@example.org: Permission denied (publickey).\n{SSH}", False, "publickey"),
        (f"Host key verification failed.\n{SSH}", False, "Host key"),
        (f"ERROR: Repository not found.\n{SSH}", False, "not found"),
        (f"ssh: connect to host example.org port 22: Connection timed out\n{SSH}", True, "Could not read"),
        (f"Connection closed by 192.0.2.1 port 22\n{SSH}", True, "Could not read"),
    ],
)
def test_a_remote_that_refuses_us_is_not_waited_for_and_one_that_is_away_is(
    said: str, why: str, *, is_away: bool
) -> None:
    fault = fault_of("origin", said)
    assert isinstance(fault, Transient) is is_away
    assert why in fault.message


def test_two_that_fetch_at_once_both_see_the_target(ground: Ground) -> None:
    """Git fails where two move the same ref: ours wait for each other, and other programs' are tried again."""

    async def both() -> list[Oid]:
        found: list[Oid] = []
        for number in range(8):
            ground.commit(ground.theirs, {"b.txt": f"{number}\n"})
            ground.git(ground.theirs, "push", "-q", "origin", "main")
            seen: list[Oid] = []

            async def look(tip: Callable[[], Awaitable[Oid]], seen: list[Oid] = seen) -> None:
                seen.append(await tip())

            async with anyio.create_task_group() as tasks:
                for trunk in (one, one, other):
                    tasks.start_soon(look, partial(trunk.tip, is_fresh=True))
            found += set(seen)
        return found

    one, other = ground.trunk(), ground.trunk()
    assert len(anyio.run(both)) == 8


def test_what_others_put_on_a_work_branch_is_found_here_and_there(ground: Ground) -> None:
    trunk = ground.trunk()
    candidate = ground.candidate()
    ours = Oid(ground.git(ground.ours, "rev-parse", "work-new.txt"))
    assert anyio.run(trunk.publish, "topic", ours) == ""
    assert anyio.run(trunk.of_others, "topic", ours) is None
    ground.git(ground.theirs, "fetch", "-q")
    ground.git(ground.theirs, "checkout", "-q", "topic")
    theirs = ground.commit(ground.theirs, {"c.txt": "c\n"})
    ground.git(ground.theirs, "push", "-q", "origin", "topic")
    assert anyio.run(trunk.of_others, "topic", ours) == theirs
    assert anyio.run(trunk.of_others, "topic", theirs) is None
    assert ground.git(ground.ours, "rev-parse", f"refs/luminaguard/kept/topic/{theirs[:12]}") == theirs
    ground.git(ground.ours, "update-ref", "refs/heads/topic", candidate.commit)
    assert anyio.run(trunk.of_others, "topic", theirs) == candidate.commit
    assert anyio.run(partial(trunk.of_others, "topic", theirs, ours={candidate.commit})) is None
