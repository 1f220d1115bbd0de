"""Landing: by compare-and-swap, with the user's checkouts behind it or left alone and said so."""

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from tests.host.conftest import Content, Make, Repository, landed, linked, picture

from luminaguard.host.checkouts import checkouts_of
from luminaguard.host.git import find_repository
from luminaguard.host.trunk import AHEAD
from luminaguard.model.faults import UserFault


def ahead(repository: Repository) -> str:
    return repository.git("for-each-ref", "--format=%(objectname)", AHEAD)


def is_pending(told: tuple[str, ...]) -> bool:
    return len(told) == 1 and told[0].startswith("pending fast-forward: ")


# The branch.


def test_landing_moves_the_branch_and_keeps_the_candidate_reachable(repository: Repository) -> None:
    candidate = repository.candidate({"a.txt": "x\n"})
    assert repository.land(candidate) == ()
    assert repository.rev("main") == repository.tip() == candidate.commit
    assert repository.rev(f"refs/luminaguard/candidates/{candidate.commit}") == candidate.commit


def test_landing_on_a_target_that_has_moved_does_nothing(repository: Repository) -> None:
    candidate = repository.candidate({"a.txt": "x\n"})
    moved = repository.commit({"b.txt": "somebody was faster\n"})
    repository.git("update-ref", "refs/heads/main", moved)
    before = repository.git("for-each-ref")
    assert repository.land(candidate) is None
    assert repository.git("for-each-ref") == before


def test_landing_in_a_bare_repository_moves_the_branch(bare_repository: Repository) -> None:
    candidate = bare_repository.candidate({"a.txt": "x\n"})
    assert bare_repository.land(candidate) == ()
    assert bare_repository.rev("main") == candidate.commit


def test_missing_target_is_the_users_to_name(repository: Repository) -> None:
    repository.git("update-ref", "-d", "refs/heads/main")
    with pytest.raises(UserFault, match="no branch 'main'"):
        repository.tip()


def test_target_that_split_from_what_landed_beside_it_is_told(checked_out: Repository) -> None:
    checked_out.write("a.txt", "in the way\n")
    landed(checked_out, {"a.txt": "x\n"})
    checked_out.git("commit", "-q", "-a", "-m", "the user goes another way")
    with pytest.raises(UserFault, match="different ways") as caught:
        checked_out.tip()
    checked_out.git("merge", "-q", "-X", "ours", "-m", "together", AHEAD)
    assert checked_out.tip() == checked_out.rev("main"), caught.value.hint


def test_first_parents_and_holds_tell_of_what_landed_beside_the_branch(checked_out: Repository) -> None:
    base = checked_out.rev("main")
    first = checked_out.candidate({"b.txt": "x\n"})
    checked_out.land(first)
    checked_out.write("a.txt", "in the way\n")
    second = checked_out.candidate({"a.txt": "x\n"})
    checked_out.land(second)
    never = checked_out.candidate({"b.txt": "never\n"}, onto=second.commit)
    trunk = checked_out.trunk

    async def told() -> tuple[object, ...]:
        return await trunk.first_parents(base), await trunk.holds(second.commit), await trunk.holds(never.commit)

    assert anyio.run(told) == (((first.commit, first.tree), (second.commit, second.tree)), True, False)
    assert checked_out.rev("main") == first.commit


# The checkouts of the target.


def test_clean_checkout_follows(checked_out: Repository) -> None:
    told = landed(checked_out, {"a.txt": "x\n", "b.txt": None, "n/new.txt": "n\n", "d/old.txt": None})
    assert told == (f"{checked_out.root} is at {checked_out.rev('main')[:12]}",)
    assert checked_out.status() == ""
    assert (checked_out.root / "a.txt").read_text() == "x\n"
    assert not (checked_out.root / "b.txt").exists()
    assert not (checked_out.root / "d").exists()


def test_file_that_was_only_touched_is_no_change(checked_out: Repository) -> None:
    os.utime(checked_out.root / "a.txt", (1, 1))
    landed(checked_out, {"a.txt": "x\n"})
    assert checked_out.status() == ""


@pytest.mark.parametrize(
    "name", ["with space.txt", "new\nline.txt", os.fsdecode(b"caf\xe9.txt"), ":(glob)*"], ids=ascii
)
def test_checkout_follows_files_of_odd_names(checked_out: Repository, name: str) -> None:
    landed(checked_out, {name: "x\n"})
    assert (checked_out.root / name).read_text() == "x\n"
    landed(checked_out, {name: None})
    assert checked_out.status() == ""


def test_changes_elsewhere_stay_and_the_checkout_follows(checked_out: Repository) -> None:
    checked_out.write("a.txt", "mine\n")
    checked_out.write("mine.txt", "untracked\n")
    checked_out.write("b.txt", "staged\n")
    checked_out.git("add", "b.txt")
    landed(checked_out, {"n.txt": "n\n"})
    assert checked_out.rev("HEAD^{tree}") == checked_out.rev("main^{tree}")
    assert checked_out.status().splitlines() == [" M a.txt", "M  b.txt", "?? mine.txt"]


def dirty(repository: Repository) -> None:
    repository.write("a.txt", "mine\n")


def staged(repository: Repository) -> None:
    repository.write("a.txt", "mine\n")
    repository.git("add", "a.txt")


def untracked(repository: Repository) -> None:
    repository.write("n/new.txt", "mine\n")


def ignored(repository: Repository) -> None:
    repository.write(".git/info/exclude", "new.txt\n")
    repository.write("n/new.txt", "mine\n")


def ignored_where_a_folder_must_be(repository: Repository) -> None:
    repository.write(".git/info/exclude", "n\n")
    repository.write("n", "mine\n")


def ignored_in_a_folder_that_becomes_a_file(repository: Repository) -> None:
    repository.write(".git/info/exclude", "d/cache\n")
    repository.write("d/cache/mine.txt", "mine\n")


def untracked_symlink_where_a_folder_must_be(repository: Repository) -> None:
    (repository.root.parent / "elsewhere").mkdir()
    (repository.root / "n").symlink_to(repository.root.parent / "elsewhere")


def index_locked(repository: Repository) -> None:
    repository.write(".git/index.lock", "")


def merging(repository: Repository) -> None:
    repository.write(".git/MERGE_HEAD", f"{repository.rev('main')}\n")


def rebasing(repository: Repository) -> None:
    repository.write(".git/rebase-merge/head-name", "refs/heads/main\n")


WAYS_TO_BLOCK = [
    dirty,
    staged,
    untracked,
    ignored,
    ignored_where_a_folder_must_be,
    ignored_in_a_folder_that_becomes_a_file,
    untracked_symlink_where_a_folder_must_be,
    index_locked,
    merging,
    rebasing,
]
BUSY = (index_locked, merging, rebasing)
CHANGE: dict[str, Content] = {"a.txt": "x\n", "n/new.txt": "new\n", "d/old.txt": None, "d": "now a file\n"}


@pytest.mark.parametrize("block", WAYS_TO_BLOCK, ids=lambda block: block.__name__)
def test_checkout_with_something_in_the_way_is_left_alone_and_said_so(
    checked_out: Repository, block: Callable[[Repository], None]
) -> None:
    candidate = checked_out.candidate(CHANGE)
    block(checked_out)
    branch, before = checked_out.rev("main"), picture(checked_out.root)
    told = checked_out.land(candidate)
    assert told is not None
    assert is_pending(told)
    assert picture(checked_out.root) == before
    assert checked_out.rev("main") == branch
    assert checked_out.tip() == ahead(checked_out) == candidate.commit
    assert is_pending(checked_out.catch_up()), "still in the way"


@pytest.mark.parametrize("block", WAYS_TO_BLOCK, ids=lambda block: block.__name__)
def test_what_landed_beside_the_branch_is_told_with_what_to_type(
    checked_out: Repository, block: Callable[[Repository], None]
) -> None:
    candidate = checked_out.candidate(CHANGE)
    block(checked_out)
    checked_out.land(candidate)
    beside = anyio.run(checked_out.trunk.beside)
    assert beside is not None
    assert beside.commits == {candidate.commit}
    command, then = beside.how.split("; then: ")
    assert then == "luminaguard run"
    if block in BUSY:
        assert "in the middle of" in beside.why
        return
    assert f"in {checked_out.root}" in beside.why
    subprocess.run(shlex.split(command), check=True, capture_output=True)
    assert checked_out.catch_up() == (f"{checked_out.root} is at {candidate.commit[:12]}",)
    assert anyio.run(checked_out.trunk.beside) is None


def test_only_the_files_in_the_way_are_named(checked_out: Repository) -> None:
    checked_out.write("b.txt", "mine\n")
    checked_out.write("n/other.txt", "mine\n")
    checked_out.write("n/new file.txt", "mine\n")
    landed(checked_out, {"a.txt": "x\n", "n/new file.txt": "new\n"})
    beside = anyio.run(checked_out.trunk.beside)
    assert beside is not None
    assert beside.why == f"'main' does not have it yet; it would overwrite n/new file.txt in {checked_out.root}"
    assert beside.how == f"git -C {checked_out.root} stash push --all -- 'n/new file.txt'; then: luminaguard run"


def test_nothing_lies_beside_a_branch_that_went_along(checked_out: Repository) -> None:
    landed(checked_out, {"a.txt": "x\n"})
    assert anyio.run(checked_out.trunk.beside) is None


def test_checkout_catches_up_when_the_way_is_free(checked_out: Repository) -> None:
    checked_out.write("a.txt", "mine\n")
    landed(checked_out, {"a.txt": "x\n"})
    second = checked_out.candidate({"b.txt": "y\n"}, onto=AHEAD)
    told = checked_out.land(second)
    assert told is not None
    assert is_pending(told)
    checked_out.git("checkout", "-q", "--", "a.txt")
    assert checked_out.catch_up() == (f"{checked_out.root} is at {second.commit[:12]}",)
    assert checked_out.rev("main") == checked_out.tip() == second.commit
    assert (checked_out.status(), ahead(checked_out)) == ("", "")
    assert checked_out.catch_up() == ()


def test_next_landing_takes_the_branch_along_when_the_way_is_free(checked_out: Repository) -> None:
    checked_out.write("a.txt", "mine\n")
    landed(checked_out, {"a.txt": "x\n"})
    checked_out.git("checkout", "-q", "--", "a.txt")
    second = checked_out.candidate({"b.txt": "y\n"}, onto=AHEAD)
    checked_out.land(second)
    assert checked_out.rev("main") == checked_out.tip() == second.commit
    assert (checked_out.status(), ahead(checked_out)) == ("", "")


def test_detached_checkout_stays_where_it_is(checked_out: Repository) -> None:
    checked_out.git("checkout", "-q", "--detach")
    before = checked_out.rev("HEAD")
    assert landed(checked_out, {"a.txt": "x\n"}) == ()
    assert checked_out.rev("HEAD") == before
    assert (checked_out.root / "a.txt").read_text() == "one\ntwo\nthree\n"


def test_linked_worktree_on_the_target_follows(repository: Repository) -> None:
    tree = linked(repository, "../linked", "main")
    landed(repository, {"a.txt": "x\n", "b.txt": None})
    assert tree.status() == ""
    assert (tree.root / "a.txt").read_text() == "x\n"


def test_main_tree_follows_when_we_were_called_from_a_linked_one(checked_out: Repository) -> None:
    tree = linked(checked_out, ".trees/topic", "-b", "topic")
    before = picture(tree.root)
    told = landed(tree, {"a.txt": "x\n", "b.txt": None})
    assert told == (f"{checked_out.root} is at {tree.rev('main')[:12]}",)
    assert checked_out.status() == "?? .trees/"
    assert picture(tree.root) == before


def test_linked_worktree_of_a_bare_repository_is_not_taken_for_its_main_tree(bare_repository: Repository) -> None:
    tree = linked(bare_repository, "../topic", "-b", "topic", "main")
    assert checkouts_of(tree.places, "refs/heads/main") == ()
    before = picture(tree.root)
    assert landed(tree, {"a.txt": "x\n"}) == ()
    assert (picture(tree.root), tree.status()) == (before, "")
    assert bare_repository.rev("main") == bare_repository.tip()


def test_main_tree_follows_when_we_were_called_from_inside_the_git_folder(checked_out: Repository) -> None:
    inside = Repository(checked_out.root / ".git")
    assert inside.places.root == checked_out.root
    landed(inside, {"a.txt": "x\n"})
    assert checked_out.status() == ""


def test_main_tree_with_its_git_folder_elsewhere_follows(make_repository: Make, tmp_path: Path) -> None:
    repository = make_repository(options=(f"--separate-git-dir={tmp_path / 'elsewhere'}",))
    repository.git("checkout", "-q", "-f", "main")
    landed(repository, {"a.txt": "x\n"})
    assert repository.status() == ""
    assert find_repository(repository.root).common == tmp_path / "elsewhere"


def test_worktree_whose_folder_is_gone_is_no_obstacle(repository: Repository) -> None:
    tree = linked(repository, "../linked", "main")
    for path in sorted(tree.root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (tree.root / ".git").unlink(missing_ok=True)
    tree.root.rmdir()
    assert landed(repository, {"a.txt": "x\n"}) == ()


def test_worktree_of_a_name_that_is_no_utf8_is_found(repository: Repository) -> None:
    name = os.fsdecode(b"../caf\xe9")
    repository.git("branch", os.fsdecode(b"caf\xe9"), "main")
    tree = linked(repository, name, "main")
    linked(repository, "../other", os.fsdecode(b"caf\xe9"))
    landed(repository, {"a.txt": "x\n"})
    assert tree.status() == ""


def test_worktree_that_names_its_folder_relatively_is_found(repository: Repository) -> None:
    tree = linked(repository, "../linked", "main")
    admin = repository.root / ".git/worktrees/linked"
    (admin / "gitdir").write_text(f"{os.path.relpath(tree.root / '.git', admin)}\n", encoding="utf-8")
    [found] = checkouts_of(repository.places, "refs/heads/main")
    assert found.folder.resolve() == tree.root


# The user's settings.


def test_hooks_and_monitors_of_the_user_do_not_run(checked_out: Repository, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    hooks = checked_out.root / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("reference-transaction", "post-checkout", "post-index-change", "pre-commit", "post-commit", "update"):
        hook = hooks / name
        hook.write_text(f"#!/bin/sh\necho {name} >> {ran}\nexit 1\n", encoding="utf-8")
        hook.chmod(0o755)
    monitor = tmp_path / "monitor"
    monitor.write_text(f"#!/bin/sh\necho fsmonitor >> {ran}\n", encoding="utf-8")
    monitor.chmod(0o755)
    candidate = checked_out.candidate({"a.txt": "x\n"})
    ran.unlink(missing_ok=True)  # making the candidate here was the test's own git
    checked_out.git("config", "core.fsmonitor", str(monitor))
    assert checked_out.land(candidate) is not None
    assert not ran.exists()
    checked_out.git("config", "core.fsmonitor", "false")
    assert checked_out.rev("main") == candidate.commit
    assert checked_out.status() == ""


def test_odd_settings_do_not_change_what_is_read(checked_out: Repository) -> None:
    for key, value in (
        ("diff.renames", "copies"),
        ("diff.noprefix", "true"),
        ("color.ui", "always"),
        ("core.quotePath", "true"),
        ("log.showSignature", "true"),
        ("diff.external", "false"),
        ("merge.conflictStyle", "merge"),
        ("status.relativePaths", "true"),
    ):
        checked_out.git("config", key, value)
    base = checked_out.rev("main")
    candidate = checked_out.candidate({"b.txt": None, "ü.txt": "b\n"})

    async def told() -> tuple[object, ...]:
        trunk = checked_out.trunk
        await trunk.land(candidate)
        files = await trunk.files(base, candidate.commit)
        return [it.path for it in files], await trunk.first_parents(base)

    assert anyio.run(told) == (["b.txt", "ü.txt"], ((candidate.commit, candidate.tree),))


# Work branches.


def publish(repository: Repository, branch: str, commit: str) -> str:
    async def go() -> str:
        return await repository.trunk.publish(branch, repository.rev(commit))

    return anyio.run(go)


def test_published_branch_points_at_the_work(repository: Repository) -> None:
    first = repository.commit({"a.txt": "1\n"})
    second = repository.commit({"a.txt": "2\n"}, parent=first)
    assert publish(repository, "feature/issue-1", first) == ""
    assert publish(repository, "feature/issue-1", second) == ""
    assert publish(repository, "feature/issue-1", second) == ""
    assert repository.rev("feature/issue-1") == second
    assert repository.git("for-each-ref", "refs/luminaguard/kept") == ""


def test_commits_that_a_published_branch_leaves_behind_stay_reachable(repository: Repository) -> None:
    first, second = repository.commit({"a.txt": "1\n"}), repository.commit({"a.txt": "2\n"})
    publish(repository, "feature/issue-1", first)
    publish(repository, "feature/issue-1", second)
    assert repository.rev(f"refs/luminaguard/kept/feature/issue-1/{first[:12]}") == first


def test_branch_that_is_checked_out_is_left_alone_and_said_so(repository: Repository) -> None:
    tree = linked(repository, "../linked", "-b", "feature/issue-1", "main")
    work = repository.commit({"a.txt": "1\n"})
    assert "is checked out" in publish(repository, "feature/issue-1", work)
    assert tree.status() == ""
    assert repository.rev("feature/issue-1") == repository.rev("main")


def test_branch_that_cannot_be_made_is_told(repository: Repository) -> None:
    repository.git("branch", "feature", "main")
    work = repository.commit({"a.txt": "1\n"})
    assert "could not be moved" in publish(repository, "feature/issue-1", work)


# Locks that a killed git left.


def test_stale_locks_are_cleared_and_landing_goes_on(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("luminaguard.host.trunk.STALE_AFTER_S", 0.0)
    candidate = repository.candidate({"a.txt": "x\n"})
    locks = ["refs/heads/main.lock", "packed-refs.lock", "HEAD.lock", "refs/luminaguard/candidates/x.lock"]
    for name in locks:
        repository.write(f".git/{name}", "")
    cleared = anyio.run(repository.trunk.clear_stale_locks)
    assert {Path(path).relative_to(repository.root / ".git") for path in cleared} == {Path(name) for name in locks}
    assert repository.land(candidate) == ()


def test_lock_that_somebody_drops_meanwhile_is_not_ours_to_clear(repository: Repository) -> None:
    assert anyio.run(repository.trunk.clear_stale_locks) == ()
