"""A landing that was killed between the swap and the files is finished, and what the user did since stays."""

import os

import pytest
from tests.host.conftest import Content, Make, Repository, landed, linked, picture

from luminaguard.host import checkouts
from luminaguard.host.checkouts import checkouts_of, intend


def cut_short(repository: Repository, change: dict[str, Content]) -> str:
    """Leave what a kill right after the compare-and-swap leaves: the intent, the branch, the old files."""
    candidate = repository.candidate(change)
    [checkout] = checkouts_of(repository.places, "refs/heads/main")
    intend(checkout, candidate.base, candidate.commit)
    repository.git("update-ref", "refs/heads/main", candidate.commit)
    return candidate.commit


KILLED: dict[str, Content] = {
    "a.txt": "x\n",
    "b.txt": None,
    "n/new.txt": "n\n",
    "d/old.txt": None,
    "d": "now a file\n",
    os.fsdecode(b"caf\xe9 \n.txt"): "odd\n",
    ":(glob)*": "magic\n",
}


def test_follow_cut_short_before_it_began_is_finished(checked_out: Repository) -> None:
    cut_short(checked_out, KILLED)
    checked_out.catch_up()
    assert checked_out.status() == ""
    assert (checked_out.root / "n/new.txt").read_text() == "n\n"
    assert (checked_out.root / "d").read_text() == "now a file\n"


def test_follow_cut_short_in_the_middle_is_finished(checked_out: Repository) -> None:
    cut_short(checked_out, KILLED)
    checked_out.write("n/new.txt", "n\n")
    checked_out.write("b.txt", None)
    checked_out.write("a.txt", None)  # git removes a file before it writes the new one
    checked_out.write(".git/index.lock", "of the git that was killed")
    checked_out.catch_up()
    assert checked_out.status() == ""
    assert (checked_out.root / "a.txt").read_text() == "x\n"


def test_follow_cut_short_after_the_index_was_written_is_finished(checked_out: Repository) -> None:
    new = cut_short(checked_out, KILLED)
    checked_out.git("read-tree", "-m", "-u", f"{new}^", new)
    checked_out.catch_up()
    assert checked_out.status() == ""


def test_what_the_user_did_after_the_kill_stays(checked_out: Repository) -> None:
    cut_short(checked_out, KILLED)
    checked_out.write("a.txt", "mine\n")
    checked_out.write("n/new.txt", "mine too\n")
    checked_out.catch_up()
    assert (checked_out.root / "a.txt").read_text() == "mine\n"
    assert (checked_out.root / "n/new.txt").read_text() == "mine too\n"
    assert not (checked_out.root / "b.txt").exists()
    assert (checked_out.root / "d").read_text() == "now a file\n"


def test_users_reset_after_the_kill_does_not_stop_the_finish(checked_out: Repository) -> None:
    cut_short(checked_out, {"a.txt": "x\n", "b.txt": None})
    checked_out.git("reset", "-q")
    checked_out.catch_up()
    assert (checked_out.root / "a.txt").read_text() == "x\n"
    assert checked_out.git("diff", "HEAD", "--name-only") == ""


def test_finish_knows_files_by_what_git_would_store(checked_out: Repository) -> None:
    landed(checked_out, {".gitattributes": "*.txt text eol=crlf\n"})
    for name in ("a.txt", "b.txt"):
        (checked_out.root / name).unlink()
    checked_out.git("checkout", "-q", "--", ".")
    assert (checked_out.root / "a.txt").read_bytes() == b"one\r\ntwo\r\nthree\r\n"
    cut_short(checked_out, {"a.txt": "x\n"})
    checked_out.catch_up()
    assert (checked_out.root / "a.txt").read_bytes() == b"x\r\n"
    assert checked_out.status() == ""


def test_finish_in_a_sha256_repository(make_repository: Make) -> None:
    repository = make_repository(options=("--object-format=sha256",))
    repository.git("checkout", "-q", "-f", "main")
    cut_short(repository, KILLED)
    repository.catch_up()
    assert repository.status() == ""


def test_finish_from_a_linked_worktree_inside_the_main_one(checked_out: Repository) -> None:
    tree = linked(checked_out, ".trees/topic", "-b", "topic")
    cut_short(checked_out, KILLED)
    tree.catch_up()
    assert checked_out.status() == "?? .trees/"
    assert tree.status() == ""


def test_intent_without_a_move_is_forgotten(checked_out: Repository) -> None:
    candidate = checked_out.candidate(KILLED)
    [checkout] = checkouts_of(checked_out.places, "refs/heads/main")
    intend(checkout, candidate.base, candidate.commit)
    before = picture(checked_out.root)
    checked_out.catch_up()
    assert picture(checked_out.root) == before
    assert not checkouts._mark(checkout).exists()


@pytest.mark.parametrize("words", [b"", b"\xff\xfe", b"one\n", b"a b c\n"])
def test_broken_intent_does_no_harm(checked_out: Repository, words: bytes) -> None:
    (checked_out.root / ".git/luminaguard-following").write_bytes(words)
    assert checked_out.catch_up() == ()
    assert checked_out.status() == ""
