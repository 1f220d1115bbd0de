"""The parts of workspaces that can be tried alone: removal, links, bundles, git folders, snapshots."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luminaguard.model.faults import HostFault, UserFault
from luminaguard.model.ids import Oid
from luminaguard.workspaces import snapshots
from luminaguard.workspaces.bundle import objects_in, write_bundle
from luminaguard.workspaces.collect import Brought, read_said
from luminaguard.workspaces.gitfolder import object_stores, write_git_folder
from luminaguard.workspaces.look import leaves
from luminaguard.workspaces.plain_git import plain_git
from luminaguard.workspaces.remove import remove_folder
from luminaguard.workspaces.snapshots import Snapshots


def git(folder: Path, *args: str) -> str:
    ran = subprocess.run(("git", "-C", str(folder), *args), capture_output=True, check=True)
    return ran.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    git(root, "config", "user.name", "Ada")
    git(root, "config", "user.email", "ada@example.org")
    return root


@pytest.fixture
def commit(repository: Path) -> Callable[..., Oid]:
    def make(name: str, content: str = "x\n") -> Oid:
        (repository / name).write_text(content, encoding="utf-8")
        git(repository, "add", "-A")
        git(repository, "commit", "-q", "-m", name)
        return Oid(git(repository, "rev-parse", "HEAD"))

    return make


def test_removal_never_goes_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").write_text("kept", encoding="utf-8")
    (tmp_path / "tree/inner").mkdir(parents=True)
    (tmp_path / "tree/link").symlink_to(tmp_path / "outside")
    (tmp_path / "tree/inner/link").symlink_to(tmp_path / "outside/kept")
    remove_folder(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    assert (tmp_path / "outside/kept").read_text(encoding="utf-8") == "kept"


def test_a_link_in_the_place_of_a_folder_is_removed_alone(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "tree").symlink_to(tmp_path / "outside")
    remove_folder(tmp_path / "tree")
    assert (tmp_path / "outside").is_dir()
    assert not (tmp_path / "tree").is_symlink()


def test_removal_opens_what_nobody_may_enter(tmp_path: Path) -> None:
    (tmp_path / "tree/shut/inner").mkdir(parents=True)
    (tmp_path / "tree/shut/inner").chmod(0)
    (tmp_path / "tree/shut").chmod(0)
    remove_folder(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_removing_what_is_not_there_is_no_harm(tmp_path: Path) -> None:
    remove_folder(tmp_path / "nothing")
    remove_folder(tmp_path / "nothing/at/all")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("a", "/etc/passwd"),
        ("a", ".."),
        ("a", "../b"),
        ("d/a", "../../b"),
        ("a", ".git/config"),
        ("d/a", "../.GIT/config"),
        ("p/a", "d/../../k"),
        ("a", "b/../c"),
        ("a", "./../b"),
    ],
)
def test_a_link_that_may_lead_out_is_seen(path: str, target: str) -> None:
    assert leaves(path, target)


@pytest.mark.parametrize(
    ("path", "target"),
    [("a", "b"), ("d/a", "../b"), ("d/e/a", "../../b/c"), ("a", "./b"), ("d/a", ".."), ("a", "x.git")],
)
def test_a_link_that_stays_inside_is_left_alone(path: str, target: str) -> None:
    assert not leaves(path, target)


OID = "a" * 40


@given(st.binary(max_size=400))
def test_no_bytes_confuse_the_reader_of_what_came_out(content: bytes) -> None:
    assert read_said(content) is None
    said = read_said(f"tip {OID}\n".encode() + content.replace(b"\r", b"").replace(b"other", b""))
    assert said is None or said.tip == OID


@pytest.mark.parametrize("word", ["", "--all", "a" * 39, "A" * 40, "a" * 41, "a" * 40 + "^{commit}", "refs/heads/x"])
def test_only_object_ids_are_taken_for_commits(word: str) -> None:
    assert read_said(f"tip {word}\ncommitted yes".encode()) is None
    assert read_said(f"tip {OID}\nother {word}\ncommitted yes".encode()) is None


def test_what_came_out_is_read_as_the_script_says_it() -> None:
    other = "b" * 64
    said = read_said(f"tip {OID}\ncommitted yes\nother {other}\nskipped a b\nskipped c".encode())
    assert said == Brought(tip=Oid(OID), others=(Oid(other),), committed=True, skipped=("a b", "c"))


def test_a_pack_is_known_by_its_head(tmp_path: Path) -> None:
    for content, count in (
        (b"..PACK\0\0\0\2\0\0\0\7", 7),
        (b"..PACK\0\0\0\2", None),
        (b"..KCAP\0\0\0\2\0\0\0\7", None),
    ):
        (tmp_path / "out").write_bytes(content)
        with (tmp_path / "out").open("rb") as file:
            assert objects_in(file.fileno(), 2) == count


@pytest.mark.parametrize("options", [(), ("--object-format=sha256",)])
def test_a_bundle_of_ours_is_one_for_git(tmp_path: Path, options: tuple[str, ...]) -> None:
    new = tmp_path / "new"
    subprocess.run(("git", "init", "-q", *options, str(new)), check=True)
    one, two = _two(new)
    packed = subprocess.run(
        ("git", "-C", str(new), "pack-objects", "--revs", "--thin", "--stdout", "-q"),
        input=f"{two}\n^{one}\n".encode(),
        capture_output=True,
        check=True,
    )
    (tmp_path / "out").write_bytes(b"said\n\n" + packed.stdout)
    write_bundle(tmp_path / "b", {"refs/out/tip": two}, [one], pack=tmp_path / "out", at=6)
    git(new, "bundle", "verify", "-q", str(tmp_path / "b"))
    assert git(new, "bundle", "list-heads", str(tmp_path / "b")) == f"{two} refs/out/tip"


def _two(repository: Path) -> tuple[Oid, Oid]:
    named = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    tree = git(repository, "write-tree")
    one = git(repository, *named, "commit-tree", "-m", "one", tree)
    return Oid(one), Oid(git(repository, *named, "commit-tree", "-m", "two", "-p", one, tree))


def test_a_git_folder_of_ours_is_one_for_git(tmp_path: Path, repository: Path, commit: Callable[..., Oid]) -> None:
    tip = commit("a")
    store = repository / ".git/objects"
    write_git_folder(tmp_path / "g", head="refs/heads/x", refs={"refs/heads/x": tip}, alternates=(store,))
    assert git(tmp_path, "--git-dir=g", "log", "--format=%H") == tip
    assert git(tmp_path, "--git-dir=g", "symbolic-ref", "HEAD") == "refs/heads/x"
    assert not (tmp_path / "g/hooks").exists()


def test_borrowed_stores_are_found_through_each_other_once(tmp_path: Path) -> None:
    for name, borrowed in (("one", "../../two\n"), ("two", f"# a note\n{tmp_path}/one\n../../gone\n")):
        (tmp_path / name / "info").mkdir(parents=True)
        (tmp_path / name / "info/alternates").write_text(borrowed.replace("../../", "../"), encoding="utf-8")
    assert object_stores(tmp_path / "one") == (tmp_path / "one", tmp_path / "two")


def test_a_folder_without_objects_is_the_users_fault(tmp_path: Path) -> None:
    with pytest.raises(UserFault, match="not a folder of git objects"):
        object_stores(tmp_path / "nothing")


def test_a_snapshot_close_by_is_used_again(repository: Path, tmp_path: Path, commit: Callable[..., Oid]) -> None:
    first = commit("a")
    second = commit("b")
    kept = Snapshots(tmp_path / "snapshots", common=repository / ".git")
    assert anyio.run(kept.near, first).commit == first
    assert anyio.run(kept.near, second).commit == first
    assert (kept.folder / first / "tree/a").read_text(encoding="utf-8") == "x\n"
    assert not (kept.folder / first / "tree/b").exists()


def test_a_snapshot_far_away_is_not(
    repository: Path, tmp_path: Path, commit: Callable[..., Oid], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "LEAST_NEAR", 1)
    first = commit("a")
    commit("b")
    third = commit("c")
    kept = Snapshots(tmp_path / "snapshots", common=repository / ".git")
    anyio.run(kept.near, first)
    assert anyio.run(kept.near, third).commit == third


def test_snapshots_that_nobody_stands_on_go_but_for_the_newest(
    repository: Path, tmp_path: Path, commit: Callable[..., Oid]
) -> None:
    kept = Snapshots(tmp_path / "snapshots", common=repository / ".git")
    commits = [commit(name) for name in "abcd"]
    for number, oid in enumerate(commits):
        anyio.run(kept.make, oid)
        os.utime(kept.folder / oid, (number, number))

    async def prune() -> None:
        await kept.prune(used={commits[0]})

    anyio.run(prune)
    assert sorted(path.name for path in kept.folder.iterdir()) == sorted([commits[0], commits[2], commits[3]])


def test_many_make_the_same_snapshot_at_once(repository: Path, tmp_path: Path, commit: Callable[..., Oid]) -> None:
    tip = commit("a")
    kept = Snapshots(tmp_path / "snapshots", common=repository / ".git")

    async def make_all() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(kept.make, tip)

    anyio.run(make_all)
    assert [path.name for path in kept.folder.iterdir()] == [tip]
    assert (kept.folder / tip / "tree/a").exists()


def test_a_commit_that_is_not_whole_is_the_machines_fault(
    repository: Path, tmp_path: Path, commit: Callable[..., Oid]
) -> None:
    tip = commit("a", "content that is its own\n")
    blob = git(repository, "rev-parse", "HEAD:a")
    (repository / ".git/objects" / blob[:2] / blob[2:]).unlink()
    kept = Snapshots(tmp_path / "snapshots", common=repository / ".git")
    with pytest.raises(HostFault, match="git checkout-index failed"):
        anyio.run(kept.make, tip)
    assert list(kept.folder.iterdir()) == []


def test_git_without_settings_is_made_once_and_again_when_it_was_cut_short(
    repository: Path, tmp_path: Path, commit: Callable[..., Oid]
) -> None:
    tip = commit("a")
    first = plain_git(tmp_path / "state", repository / ".git", tip)
    (first.folder / "mark").touch()
    assert plain_git(tmp_path / "state", repository / ".git", tip) == first
    assert (first.folder / "mark").exists()
    (first.folder / "config").write_bytes(b"")
    again = plain_git(tmp_path / "state", repository / ".git", tip)
    assert git(again.folder, "config", "core.protectNTFS") == "true"
    assert [path.name for path in (tmp_path / "state").iterdir()] == [again.folder.name]


def test_a_repository_that_became_shallow_gets_a_git_of_its_own(
    repository: Path, tmp_path: Path, commit: Callable[..., Oid]
) -> None:
    tip = commit("a")
    before = plain_git(tmp_path / "state", repository / ".git", tip)
    (repository / ".git/shallow").write_text(f"{tip}\n", encoding="ascii")
    after = plain_git(tmp_path / "state", repository / ".git", tip)
    assert after.folder != before.folder
    assert (after.folder / "shallow").read_text(encoding="ascii") == f"{tip}\n"
