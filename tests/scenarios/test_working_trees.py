"""The user works in the same repository meanwhile: nothing of theirs is overwritten, and nothing is reverted."""

from collections.abc import Callable

from stage import WAIT, WORK, Stage, go


def test_a_checkout_that_is_dirty_where_the_change_is_stays_and_catches_up_later(one: Callable[..., Stage]) -> None:
    stage = one("cat > /dev/null\necho theirs > README.md\n")
    stage.write({"README.md": "mine\n"})
    ran = stage.run()
    assert ran.returncode == 0
    assert "pending fast-forward" in ran.stdout + stage.say("report").stdout
    assert (stage.root / "README.md").read_text() == "mine\n"
    assert stage.subjects()[-1] == "Set up"
    assert stage.subjects("refs/luminaguard/target")[-1] == "feat: Do it (#1)"
    stage.git("checkout", "--", "README.md")
    assert stage.run().returncode == 0
    assert (stage.root / "README.md").read_text() == "theirs\n"
    assert stage.subjects()[-1] == "feat: Do it (#1)"
    assert stage.git("for-each-ref", "refs/luminaguard/target") == ""
    stage.must_be_whole(landed=["1"])


def test_a_checkout_that_is_dirty_elsewhere_follows(one: Callable[..., Stage]) -> None:
    stage = one()
    stage.write({"README.md": "mine\n", "untracked.txt": "mine\n"})
    assert stage.run().returncode == 0
    assert (stage.root / "1.txt").read_text() == "1\n"
    assert stage.git("status", "--porcelain").splitlines() == [" M README.md", "?? untracked.txt"]


def test_an_untracked_file_in_the_way_is_left_alone(one: Callable[..., Stage]) -> None:
    stage = one()
    stage.write({"1.txt": "mine\n"})
    assert stage.run().returncode == 0
    assert (stage.root / "1.txt").read_text() == "mine\n"
    assert stage.subjects()[-1] == "Set up"


def test_a_checkout_of_another_branch_is_left_alone(one: Callable[..., Stage]) -> None:
    stage = one()
    stage.git("checkout", "-q", "-b", "mine")
    assert stage.run().returncode == 0
    assert stage.subjects()[-1] == "feat: Do it (#1)"
    assert (stage.git("status", "--porcelain"), (stage.root / "1.txt").exists()) == ("", False)


def test_a_target_that_is_checked_out_in_a_second_worktree_is_followed_there(one: Callable[..., Stage]) -> None:
    stage = one()
    stage.git("checkout", "-q", "-b", "mine")
    second = stage.root.parent / "second"
    stage.git("worktree", "add", "-q", str(second), "main")
    assert stage.run().returncode == 0
    assert (second / "1.txt").read_text() == "1\n"
    assert stage.git("-C", str(second), "status", "--porcelain") == ""


def test_a_target_that_the_user_moves_meanwhile_gets_the_change_on_top(one: Callable[..., Stage]) -> None:
    stage = one(WORK + WAIT)
    session = stage.start()
    stage.wait_for_word("1", "waiting")
    stage.commit("By hand", {"other.txt": "x\n"})
    go(stage).touch()
    assert session.wait(timeout=60) == 0, stage.said(session)
    assert stage.subjects()[-2:] == ["By hand", "feat: Do it (#1)"]
    stage.must_be_whole(landed=["1"])


def test_a_target_that_moves_while_it_is_checked_has_the_candidate_made_again(one: Callable[..., Stage]) -> None:
    stage = one(checks=("sh tools/check.sh",))
    checking = stage.root.parent / "checking"
    stage.env["CHECKING"] = str(checking)
    session = stage.start()
    stage.wait_for("the checks", checking.exists)
    stage.commit("By hand", {"other.txt": "x\n"})
    go(stage).touch()
    assert session.wait(timeout=60) == 0, stage.said(session)
    assert len(stage.facts("1", "candidate")) == 2
    stage.must_be_whole(landed=["1"])
