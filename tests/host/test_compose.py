"""Candidates: the same inputs give the same commit, conflicts are told with both sides, nothing is checked out."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import anyio
import pytest
from tests.host.conftest import ME, Content, Make, Repository

from luminaguard.host.trunk import HUNKS_BYTES, Reader
from luminaguard.model.ids import Oid
from luminaguard.model.work import Candidate, Conflict, FileChange

ODD = [
    "with space.txt",
    "new\nline.txt",
    "tab\tname.txt",
    'quote".txt',
    "-dash.txt",
    os.fsdecode(b"caf\xe9.txt"),
    "ünï.txt",
]


def made(what: Candidate | Conflict) -> Candidate:
    assert isinstance(what, Candidate), what
    return what


def clash(what: Candidate | Conflict) -> Conflict:
    assert isinstance(what, Conflict), what
    return what


def test_same_inputs_give_the_same_commit(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    change = repository.commit({"a.txt": "new\n"})
    first = made(repository.compose(change))
    monkeypatch.setenv("GIT_COMMITTER_DATE", "1999-01-01T00:00:00Z")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    repository.git("config", "user.name", "Somebody Else")
    repository.git("config", "commit.gpgSign", "true")
    assert made(repository.compose(change)) == first


def test_squash_has_one_parent_and_merge_keeps_the_work(repository: Repository) -> None:
    change = repository.commit({"a.txt": "new\n"}, parent=repository.commit({"b.txt": "work\n"}))
    tip = repository.rev("main")
    squashed, merged = made(repository.compose(change)), made(repository.compose(change, style="merge"))
    assert repository.git("log", "-1", "--format=%P", squashed.commit) == tip
    assert repository.git("log", "-1", "--format=%P", merged.commit) == f"{tip} {change}"
    assert squashed.tree == merged.tree == repository.rev(f"{merged.commit}^{{tree}}")
    assert squashed.base == merged.base == tip


def test_candidate_says_what_was_asked(repository: Repository) -> None:
    message = "feat: ünï (#1)\n\nCloses #1"
    candidate = made(repository.compose(repository.commit({"a.txt": "x\n"}), message=message, when=1_700_000_000.9))
    name, address = ME
    told = repository.git("log", "-1", "--format=%an|%ae|%cn|%ce|%at|%ct", candidate.commit)
    assert told == f"{name}|{address}|{name}|{address}|1700000000|1700000000"
    assert repository.git("log", "-1", "--format=%B", candidate.commit).strip() == message


def test_changes_of_both_sides_are_in_the_candidate(repository: Repository) -> None:
    change = repository.commit({"b.txt": "theirs\n"})
    repository.git("update-ref", "refs/heads/main", repository.commit({"a.txt": "ours\n"}))
    candidate = made(repository.compose(change))
    assert repository.show(candidate.commit, "a.txt") == "ours"
    assert repository.show(candidate.commit, "b.txt") == "theirs"


def test_nothing_of_the_user_moves_when_a_candidate_is_made(checked_out: Repository) -> None:
    before = checked_out.git("for-each-ref"), checked_out.rev("HEAD")
    checked_out.compose(checked_out.commit({"a.txt": "x\n"}))
    assert (checked_out.git("for-each-ref"), checked_out.rev("HEAD")) == before
    assert checked_out.status() == ""


def test_conflict_tells_paths_base_and_both_sides_with_the_common_one(repository: Repository) -> None:
    change = repository.commit({"a.txt": "one\nmine\nthree\n", "b.txt": "fine\n"})
    repository.git("update-ref", "refs/heads/main", repository.commit({"a.txt": "one\nyours\nthree\n"}))
    conflict = clash(repository.compose(change))
    assert conflict.paths == ("a.txt",)
    assert conflict.base == repository.rev("main")
    for line in ("--- a.txt", "<<<<<<<", "yours", "|||||||", "two", "=======", "mine", ">>>>>>>"):
        assert line in conflict.hunks


@pytest.mark.parametrize(
    ("mine", "yours", "path"),
    [
        pytest.param({"a.txt": None}, {"a.txt": "kept\n"}, "a.txt", id="deleted against changed"),
        pytest.param({"a.txt": "kept\n"}, {"a.txt": None}, "a.txt", id="changed against deleted"),
        pytest.param({"n.bin": b"\0\1mine"}, {"n.bin": b"\0\2yours"}, "n.bin", id="binary added twice"),
        pytest.param({"n.txt": "mine\n"}, {"n.txt": "yours\n"}, "n.txt", id="added twice"),
        pytest.param(
            {"b.txt": None, "mine.txt": "b\n"}, {"b.txt": None, "yours.txt": "b\n"}, "b.txt", id="renamed twice"
        ),
    ],
)
def test_conflict_is_told_not_raised(
    repository: Repository, mine: dict[str, Content], yours: dict[str, Content], path: str
) -> None:
    change = repository.commit(mine)
    repository.git("update-ref", "refs/heads/main", repository.commit(yours))
    conflict = clash(repository.compose(change))
    assert path in conflict.paths
    assert f"--- {path}" in conflict.hunks


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_conflict_in_a_file_of_an_odd_name_is_told(repository: Repository, name: str) -> None:
    change = repository.commit({name: "mine\n"})
    repository.git("update-ref", "refs/heads/main", repository.commit({name: "yours\n"}))
    conflict = clash(repository.compose(change))
    assert conflict.paths == (name,)
    assert "mine" in conflict.hunks


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_files_and_paths_tell_odd_names_as_they_are(repository: Repository, name: str) -> None:
    async def told() -> tuple[tuple[FileChange, ...], frozenset[str]]:
        new = repository.commit({name: "x\ny\n"})
        return await repository.trunk.files(repository.rev("main"), new), await repository.trunk.paths(new)

    files, paths = anyio.run(told)
    assert files == (FileChange(path=name, added=2, removed=0),)
    assert name in paths


def stage_only(repository: Repository, path: str, content: bytes, mode: str) -> Oid:
    env = {"GIT_INDEX_FILE": str(repository.root / "test.index")}
    repository.git("read-tree", "main", env=env)
    blob = repository.git("hash-object", "-w", "--stdin", stdin=content)
    repository.stage(path, blob, env=env, mode=mode)
    return Oid(repository.git("commit-tree", repository.git("write-tree", env=env), "-p", "main", "-m", "mode"))


def test_symlink_against_a_changed_file_is_a_conflict(repository: Repository) -> None:
    change = stage_only(repository, "a.txt", b"/etc/shadow", "120000")
    repository.git("update-ref", "refs/heads/main", repository.commit({"a.txt": "one\nyours\nthree\n"}))
    conflict = clash(repository.compose(change))
    assert any(path.startswith("a.txt") for path in conflict.paths)


def test_mode_and_content_changed_on_two_sides_go_together(repository: Repository) -> None:
    change = stage_only(repository, "a.txt", b"one\ntwo\nthree\n", "100755")
    repository.git("update-ref", "refs/heads/main", repository.commit({"a.txt": "one\nyours\nthree\n"}))
    candidate = made(repository.compose(change))
    assert repository.git("ls-tree", candidate.commit, "a.txt").startswith("100755")
    assert repository.show(candidate.commit, "a.txt") == "one\nyours\nthree"


def test_binary_and_mode_changes_count_no_lines(repository: Repository) -> None:
    async def told() -> tuple[FileChange, ...]:
        new = stage_only(repository, "a.txt", b"one\ntwo\nthree\n", "100755")
        return await repository.trunk.files(new, repository.commit({"n.bin": b"\0\1"}, parent=new))

    assert anyio.run(told) == (FileChange(path="n.bin", added=0, removed=0),)


def test_hunks_of_a_huge_conflict_are_bounded(repository: Repository) -> None:
    mine = "".join(f"mine {n}\n" for n in range(20_000))
    change = repository.commit({"a.txt": mine, "b.txt": mine})
    yours = mine.replace("mine", "yours")
    repository.git("update-ref", "refs/heads/main", repository.commit({"a.txt": yours, "b.txt": yours}))
    conflict = clash(repository.compose(change))
    assert conflict.paths == ("a.txt", "b.txt")
    assert len(conflict.hunks) <= HUNKS_BYTES


def test_change_that_changes_nothing_gives_the_same_tree(repository: Repository) -> None:
    candidate = made(repository.compose(repository.commit({})))
    assert candidate.tree == repository.rev("main^{tree}")
    assert candidate.commit != repository.rev("main")


@dataclass(frozen=True)
class Written:
    path: str
    content: bytes


def test_edits_are_written_on_the_merged_tree(repository: Repository) -> None:
    async def close(read: Reader) -> Sequence[Written]:
        assert await read("no-such-file") is None
        before = await read("b.txt")
        assert before is not None
        return [Written("b.txt", before + b"closed\n"), Written("new/deep file.md", b"done\n")]

    async def compose() -> Candidate | Conflict:
        change = repository.commit({"b.txt": "from the change\n"})
        return await repository.trunk.compose(
            change, onto=repository.rev("main"), style="squash", message="m", when=1, edits=close
        )

    candidate = made(anyio.run(compose))
    assert repository.show(candidate.commit, "b.txt") == "from the change\nclosed"
    assert repository.show(candidate.commit, "new/deep file.md") == "done"
    assert repository.show(candidate.commit, "a.txt") == "one\ntwo\nthree"
    assert not (repository.places.state / "landing.index").exists()


def test_edit_keeps_the_mode_of_the_file(repository: Repository) -> None:
    change = stage_only(repository, "a.txt", b"one\n", "100755")

    async def close(_: Reader) -> Sequence[Written]:
        return [Written("a.txt", b"two\n")]

    async def compose() -> Candidate | Conflict:
        return await repository.trunk.compose(
            change, onto=repository.rev("main"), style="squash", message="m", when=1, edits=close
        )

    assert repository.git("ls-tree", made(anyio.run(compose)).commit, "a.txt").startswith("100755")


def test_sha256_repository_composes_and_lands(make_repository: Make) -> None:
    repository = make_repository(options=("--object-format=sha256",))
    repository.git("checkout", "-q", "-f", "main")
    candidate = repository.candidate({"a.txt": "x\n", "b.txt": None})
    assert len(candidate.commit) == 64
    assert repository.land(candidate) is not None
    assert repository.tip() == candidate.commit
    assert repository.status() == ""
