"""The user works in the same repository meanwhile: nothing of theirs is overwritten, and nothing is reverted."""

import json
import shlex
from collections.abc import Callable

from stage import WAIT, WORK, Stage, go


def test_a_checkout_that_is_dirty_where_the_change_is_stays_and_catches_up_later(one: Callable[..., Stage]) -> None:
    stage = one("cat > /dev/null\necho theirs > README.md\n")
    stage.write({"README.md": "mine\n"})
    ran = stage.run()
    assert ran.returncode == 1
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


def test_what_waits_beside_the_target_is_said_until_it_is_there_and_then_proven(one: Callable[..., Stage]) -> None:
    stage = one()
    stage.write({"1.txt": "mine\n"})
    problem: dict[str, str] = {}
    for _ in range(2):
        ran = stage.run("--json")
        told = json.loads(ran.stdout)
        assert (ran.returncode, told["verified"]["commits_on_target"]) == (1, False)
        (issue,) = told["issues"]
        assert (issue["state"], issue["closed"]) == ("landed", True)
        assert f"1.txt in {stage.root}" in issue["why"]
        (problem,) = json.loads(stage.say("problems", "--json").stdout)["problems"]
        assert (problem["issue"], problem["who"], problem["why"]) == ("1", "you", issue["why"])
        assert problem["how"] in stage.say("problems").stdout
        assert issue["why"] in stage.say("report").stdout.replace("\\", "")
    command, then = problem["how"].split("; then: ")
    stage.git(*shlex.split(command)[1:])
    ended = stage.say(*shlex.split(then)[1:], "--json")
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["verified"]["commits_on_target"], told["issues"][0]["why"]) == (0, True, "")
    assert json.loads(stage.say("problems", "--json").stdout)["problems"] == []
    assert stage.starts("1") == 1
    stage.must_be_whole(landed=["1"])


def test_what_waits_beside_the_target_is_not_forgotten_by_work_on_something_else(one: Callable[..., Stage]) -> None:
    stage = one()
    stage.write({"1.txt": "mine\n"})
    stage.run()
    stage.issue("3", "Something else")
    ran = stage.run("3", "--json")
    assert (ran.returncode, json.loads(ran.stdout)["verified"]["commits_on_target"]) == (1, False)
    assert {issue["id"]: bool(issue["why"]) for issue in json.loads(ran.stdout)["issues"]} == {"1": True, "3": True}


def test_target_that_went_another_way_meanwhile_is_said_with_the_way_out(one: Callable[..., Stage]) -> None:
    stage = one(f'[ "$LUMINAGUARD_ISSUE" = 1 ] || {{ {WAIT} }}\n{WORK}')
    stage.write({"1.txt": "mine\n"})
    assert stage.run().returncode == 1
    stage.issue("3", "Something else")
    session = stage.start()
    stage.wait_for_word("3", "waiting")
    stage.commit("By hand", {"1.txt": "mine\n"})
    go(stage).touch()
    assert session.wait(timeout=stage.patience_s) == 1, stage.said(session)
    problems = json.loads(stage.say("problems", "--json").stdout)["problems"]
    assert ["git merge refs/luminaguard/target" in problem["how"] for problem in problems] == [True, True]
    assert stage.run().returncode == 2


def test_a_checkout_that_lags_behind_the_remotes_target_is_a_notice_only(one: Callable[..., Stage]) -> None:
    stage = one(settings='[landing]\nremote = "origin"\n')
    remote = stage.root.parent / "remote.git"
    stage.git("init", "-q", "--bare", "-b", "main", str(remote))
    stage.git("remote", "add", "origin", str(remote))
    stage.git("push", "-q", "origin", "main")
    stage.write({"1.txt": "mine\n"})
    ran = stage.run("--json")
    told = json.loads(ran.stdout)
    assert (ran.returncode, told["verified"]["commits_on_target"], told["issues"][0]["why"]) == (0, True, "")
    assert "pending fast-forward" in stage.say("report").stdout
    assert stage.git("--git-dir", str(remote), "rev-parse", "main") == told["issues"][0]["commit"]


def test_a_checkout_that_is_dirty_elsewhere_follows(one: Callable[..., Stage]) -> None:
    stage = one()
    stage.write({"README.md": "mine\n", "untracked.txt": "mine\n"})
    assert stage.run().returncode == 0
    assert (stage.root / "1.txt").read_text() == "1\n"
    assert stage.git("status", "--porcelain").splitlines() == [" M README.md", "?? untracked.txt"]


def test_an_untracked_file_in_the_way_is_left_alone(one: Callable[..., Stage]) -> None:
    stage = one()
    stage.write({"1.txt": "mine\n"})
    assert stage.run().returncode == 1
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
    assert session.wait(timeout=stage.patience_s) == 0, stage.said(session)
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
    assert session.wait(timeout=stage.patience_s) == 0, stage.said(session)
    assert len(stage.facts("1", "candidate")) == 2
    stage.must_be_whole(landed=["1"])
