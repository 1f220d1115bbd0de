"""A person steers a run, and works in the same repository meanwhile."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from stage import WAIT, WORK, Stage, go

HUMAN = '[landing]\napprove = "human"\n'


def state_of(stage: Stage, issue: str = "1") -> str:
    return str(stage.issues_told()[issue]["state"])


# Approval.


def test_nothing_lands_before_a_person_approves(one: Callable[..., Stage]) -> None:
    stage = one(settings=HUMAN)
    assert stage.run().returncode == 1
    assert (state_of(stage), stage.subjects()[-1]) == ("approval", "Set up")
    assert "luminaguard approve 1" in stage.say("problems").stdout
    assert stage.say("approve", "1").returncode == 0
    assert stage.run().returncode == 0
    assert (stage.starts("1"), len(stage.facts("1", "checks"))) == (1, 2)
    assert stage.facts("1", "checks")[-1].data["cached"] is True
    stage.must_be_whole(landed=["1"])


def test_a_change_is_approved_while_others_are_at_work(one: Callable[..., Stage]) -> None:
    stage = one(WORK + '[ "$LUMINAGUARD_ISSUE" = 1 ] || {' + WAIT + "}\n", settings=HUMAN)
    stage.issue("2", "Take a while")
    session = stage.start()
    stage.wait_for_fact("1", "approval_asked:1")
    assert stage.say("approve", "1").returncode == 0
    stage.wait_for_fact("1", "closed")
    assert session.poll() is None
    go(stage).touch()
    assert session.wait(timeout=stage.patience_s) == 1
    stage.must_be_whole(landed=["1"])


def test_a_rejected_change_has_failed_and_says_why(one: Callable[..., Stage]) -> None:
    stage = one(settings=HUMAN)
    stage.run()
    assert stage.say("reject", "1", "--why", "too clever").returncode == 0
    assert stage.run().returncode == 1
    told = stage.issues_told()["1"]
    assert told["state"] == "failed"
    assert "too clever" in str(told["why"])
    assert stage.subjects()[-1] == "Set up"


def test_what_a_person_says_with_a_retry_reaches_the_prompt(one: Callable[..., Stage]) -> None:
    stage = one(settings=HUMAN)
    stage.run()
    stage.say("reject", "1", "--why", "too clever")
    assert stage.say("retry", "1", "--say", "use the old parser").returncode == 0
    stage.run()
    prompt = stage.prompt("1", 2)
    assert "use the old parser" in prompt
    assert "too clever" in prompt
    assert state_of(stage) == "approval"
    stage.say("approve", "1")
    assert stage.run().returncode == 0
    assert stage.show("1.txt") == "2"
    stage.must_be_whole(landed=["1"])


def test_an_approval_of_an_earlier_attempt_approves_nothing_later(one: Callable[..., Stage]) -> None:
    # The approved change turns red before it lands; its second attempt is another change, which nobody has read.
    stage = one(settings=HUMAN, checks=('test ! -e "$GATE" || test ! -e 1.txt || grep -q 2 1.txt',))
    stage.env["GATE"] = str(stage.root.parent / "gate")
    stage.run()
    stage.say("approve", "1")
    Path(stage.env["GATE"]).touch()
    stage.commit("Moved on", {"other.txt": "x\n"})
    assert stage.run().returncode == 1
    assert (state_of(stage), len(stage.facts("1", "attempt"))) == ("approval", 2)
    stage.say("cancel", "1")
    stage.run()
    assert stage.subjects()[-1] == "Moved on"


def test_a_rejection_while_the_agent_works_stops_the_change(one: Callable[..., Stage]) -> None:
    stage = one(WORK + WAIT)
    session = stage.start()
    stage.wait_for_word("1", "waiting")
    assert stage.say("reject", "1", "--why", "not now").returncode == 0
    go(stage).touch()
    assert session.wait(timeout=stage.patience_s) == 1, stage.said(session)
    assert (state_of(stage), stage.subjects()[-1]) == ("failed", "Set up")
    assert stage.show("1.txt", "feature/issue-1") == "1"


# Trust.

EXPORT = [
    {
        "number": 1,
        "title": "Do it",
        "body": "",
        "state": "OPEN",
        "author": {"login": "eve"},
        "authorAssociation": "NONE",
    },
    {
        "number": 2,
        "title": "Mine",
        "body": "",
        "state": "OPEN",
        "author": {"login": "ada"},
        "authorAssociation": "OWNER",
    },
]


def test_a_strangers_issue_is_worked_on_when_a_person_says_so(stage: Stage) -> None:
    stage.set_up(agent=WORK, settings='[backlog]\nsource = "file"\npath = "issues.json"\n')
    stage.commit("Backlog", {"issues.json": json.dumps(EXPORT)})
    assert stage.run().returncode == 1
    assert (state_of(stage, "1"), state_of(stage, "2"), stage.starts("1")) == ("held", "landed", 0)
    assert "eve" in stage.say("problems").stdout
    assert stage.say("approve", "1").returncode == 0
    assert stage.run().returncode == 0
    assert stage.starts("1") == 1
    stage.must_be_whole(landed=["1", "2"])


# Cancel and retry.


def test_a_cancelled_agent_is_stopped_and_its_work_is_on_the_branch(one: Callable[..., Stage]) -> None:
    stage = one(WORK + WAIT)
    session = stage.start()
    stage.wait_for_word("1", "waiting")
    assert stage.say("cancel", "1").returncode == 0
    assert session.wait(timeout=stage.patience_s) == 1, stage.said(session)
    assert (state_of(stage), stage.subjects()[-1]) == ("cancelled", "Set up")
    assert stage.show("1.txt", "feature/issue-1") == "1"
    stage.must_be_whole(landed=[])


def test_all_are_cancelled_at_once(one: Callable[..., Stage]) -> None:
    stage = one(WORK + WAIT)
    stage.issue("2", "Do it as well")
    stage.issue("3", "And this", "Depends on #1")
    session = stage.start()
    stage.wait_for_word("1", "waiting")
    stage.wait_for_word("2", "waiting")
    assert stage.say("cancel").returncode == 0
    assert session.wait(timeout=stage.patience_s) == 1
    assert {issue["state"] for issue in stage.issues_told().values()} == {"cancelled"}
    assert stage.starts("3") == 0
    stage.must_be_whole(landed=[])


def test_a_cancelled_issue_can_be_taken_up_again(one: Callable[..., Stage]) -> None:
    stage = one(WORK + '[ "$LUMINAGUARD_ATTEMPT" != 1 ] || {' + WAIT + "}\n")
    session = stage.start()
    stage.wait_for_word("1", "waiting")
    stage.say("cancel", "1")
    session.wait(timeout=stage.patience_s)
    assert stage.say("retry", "1").returncode == 0
    assert stage.run().returncode == 0
    assert stage.show("1.txt") == "2"
    stage.must_be_whole(landed=["1"])


def test_a_change_that_is_cancelled_while_it_is_checked_does_not_land(one: Callable[..., Stage]) -> None:
    stage = one(checks=("sh tools/check.sh",))
    checking = stage.root.parent / "checking"
    stage.env["CHECKING"] = str(checking)
    session = stage.start()
    stage.wait_for("the checks", checking.exists)
    assert stage.say("cancel", "1").returncode == 0
    stage.wait_for("the fact to be read", lambda: stage.facts("1", "cancelled"))
    second_look = stage.say("status")
    assert "cancelled" in second_look.stdout
    go(stage).touch()
    assert session.wait(timeout=stage.patience_s) == 1, stage.said(session)
    assert (state_of(stage), stage.subjects()[-1]) == ("cancelled", "Set up")


def test_attempts_that_are_used_up_hold_the_issue_with_its_work_on_the_branch(one: Callable[..., Stage]) -> None:
    stage = one(checks=("! test -e 1.txt",))
    assert stage.run("--attempts", "2").returncode == 1
    told = stage.issues_told()["1"]
    assert (told["state"], told["attempts"]) == ("held", 2)
    assert "tried 2 times" in str(told["why"])
    assert stage.show("1.txt", "feature/issue-1") == "2"
    assert "the checks failed" in stage.prompt("1", 2)
    stage.must_be_whole(landed=[])


def test_a_held_issue_that_is_retried_goes_on_from_its_branch(one: Callable[..., Stage]) -> None:
    agent = 'cat > /dev/null\necho "$LUMINAGUARD_ATTEMPT" >> 1.txt\n'
    stage = one(agent, checks=("! test -e 1.txt || grep -q 2 1.txt",))
    assert stage.run("--attempts", "1").returncode == 1
    assert stage.say("retry", "1").returncode == 0
    assert stage.run("--attempts", "1").returncode == 0
    assert stage.show("1.txt").split() == ["1", "2"]
    stage.must_be_whole(landed=["1"])


def test_an_agent_is_stopped_at_the_end_of_its_time_and_its_work_is_kept(one: Callable[..., Stage]) -> None:
    agent = WORK + '[ "$LUMINAGUARD_ATTEMPT" != 1 ] || {' + WAIT + "}\n"
    stage = one(agent, settings="[budget]\nminutes_per_issue = 0.01\n")
    assert stage.run().returncode == 1
    told = stage.issues_told()["1"]
    assert (told["state"], told["attempts"]) == ("held", 1)
    worked = r"minutes_per_issue: (\d+\.\d) of 0\.01 minutes worked \(attempt 1: \1\)"
    assert re.search(worked, str(told["why"])), told["why"]
    assert "luminaguard run --minutes-per-issue 0.02" in stage.say("problems").stdout
    assert stage.say("retry", "1", "--say", "be quick").returncode == 0
    assert stage.run("--minutes-per-issue", "5").returncode == 0
    assert [fact.data["ended"] for fact in stage.facts("1", "agent")] == ["timeout", "exited"]
    assert "stopped at the end of its time" in stage.prompt("1", 2)
    assert "be quick" in stage.prompt("1", 2)
    stage.must_be_whole(landed=["1"])


# The base, and flaky checks.


def test_a_red_base_holds_the_change_and_says_so(one: Callable[..., Stage]) -> None:
    stage = one(checks=("test -e mended.txt",))
    assert stage.run().returncode == 1
    told = stage.issues_told()["1"]
    assert (told["state"], told["attempts"]) == ("held", 1)
    assert "'main' itself fails" in str(told["why"])
    stage.commit("Mend", {"mended.txt": "x\n"})
    stage.say("retry", "1")
    assert stage.run().returncode == 0
    assert stage.starts("1") == 1
    stage.must_be_whole(landed=["1"])


def test_a_check_that_is_red_once_and_green_on_the_same_tree_is_no_reason_to_send_back(
    one: Callable[..., Stage],
) -> None:
    stage = one(checks=('test ! -e 1.txt || test -e "$SEEN" || { touch "$SEEN"; false; }',))
    stage.env["SEEN"] = str(stage.root.parent / "seen")
    assert stage.run().returncode == 0
    assert [fact.data["ok"] for fact in stage.facts("1", "checks")] == [False, True]
    assert len(stage.facts("1", "attempt")) == 1
    stage.must_be_whole(landed=["1"])


# What is there already.


def branch_with_work(stage: Stage, text: str) -> str:
    stage.git("checkout", "-q", "-b", "feature/issue-1")
    commit = stage.commit("Earlier work", {"1.txt": text})
    stage.git("checkout", "-q", "main")
    return commit


def test_work_that_is_on_the_branch_already_is_gone_on_from(one: Callable[..., Stage]) -> None:
    stage = one("cat > /dev/null\necho more >> 1.txt\n")
    earlier = branch_with_work(stage, "begun\n")
    assert stage.run().returncode == 0
    assert "The branch has earlier work" in stage.prompt("1", 1)
    assert stage.show("1.txt").split() == ["begun", "more"]
    assert earlier in stage.git("rev-list", "feature/issue-1").splitlines()
    stage.must_be_whole(landed=["1"])


def test_a_branch_that_is_complete_lands_without_a_change(one: Callable[..., Stage]) -> None:
    stage = one("cat > /dev/null\n")
    branch_with_work(stage, "complete\n")
    stage.commit("Main has moved", {"other.txt": "x\n"})
    assert stage.run().returncode == 0
    assert stage.show("1.txt") == "complete"
    stage.must_be_whole(landed=["1"])


def test_an_agent_that_commits_nothing_but_words_has_failed(one: Callable[..., Stage]) -> None:
    stage = one("cat > /dev/null\ngit commit -q --allow-empty -m 'It is all done'\n")
    assert stage.run("--attempts", "1").returncode == 1
    assert state_of(stage) == "failed"
    assert "nothing changed" in str(stage.issues_told()["1"]["why"])
    assert stage.subjects()[-1] == "Set up"


def test_a_history_of_its_own_is_sent_back_and_stops_no_other_issue(one: Callable[..., Stage]) -> None:
    orphan = "git checkout -q --orphan own; git commit -q -m own; git checkout -q -B feature/issue-1\n"
    stage = one(WORK + '[ "$LUMINAGUARD_ISSUE" != 1 ] || { ' + orphan.strip() + "; }\n")
    stage.issue("2", "Another")
    assert stage.run("--attempts", "1").returncode == 1
    assert state_of(stage, "2") == "landed"
    assert state_of(stage, "1") in ("held", "failed")
    assert "history" in str(stage.issues_told()["1"]["why"])


# Styles, backlog files, odd names.


def test_merges_keep_the_works_history(one: Callable[..., Stage]) -> None:
    stage = one(settings='[landing]\nstyle = "merge"\n')
    assert stage.run().returncode == 0
    (landed,) = stage.facts("1", "landed")
    base, work = stage.git("log", "-1", "--format=%P", "main").split()
    assert (base, work) == (landed.data["base"], stage.git("rev-parse", "feature/issue-1"))
    stage.must_be_whole(landed=["1"])


@pytest.mark.parametrize("approve", ["auto", "human"])
def test_an_issue_of_a_file_is_closed_there_in_the_landing_commit(stage: Stage, approve: str) -> None:
    settings = f'[backlog]\nsource = "file"\npath = "issues"\nwrite_back = true\n[landing]\napprove = "{approve}"\n'
    stage.set_up(agent=WORK, settings=settings)
    stage.commit(
        "Backlog",
        {f"issues/{number}.md": f"---\nid: {number}\nstatus: open\n---\n# Do {number}\n" for number in (1, 2, 3)},
    )
    if approve == "human":
        assert stage.run().returncode == 1
        for issue in ("1", "2", "3"):
            assert stage.say("approve", issue).returncode == 0
    assert stage.run().returncode == 0
    for issue in ("1", "2", "3"):
        (landed,) = stage.facts(issue, "landed")
        changed = stage.git("show", "--format=", "--name-only", str(landed.data["commit"])).splitlines()
        assert changed == [f"{issue}.txt", f"issues/{issue}.md"]
        assert "status: open" not in stage.show(f"issues/{issue}.md")
    stage.must_be_whole(landed=["1", "2", "3"])
    assert stage.run().returncode == 0


def test_commits_of_a_person_on_the_branch_land_with_the_work(one: Callable[..., Stage]) -> None:
    stage = one(settings=HUMAN)
    assert stage.run().returncode == 1
    stage.git("checkout", "-q", "feature/issue-1")
    stage.commit("Mend it", {"mine.txt": "by a person\n"})
    stage.git("checkout", "-q", "main")
    assert stage.run().returncode == 1
    assert stage.say("approve", "1").returncode == 0
    assert stage.run().returncode == 0
    assert (stage.show("mine.txt"), stage.starts("1")) == ("by a person", 1)
    stage.must_be_whole(landed=["1"])


def test_a_file_whose_name_is_no_text_lands(one: Callable[..., Stage]) -> None:
    stage = one("cat > /dev/null\necho x > \"$(printf 'b\\374cher.txt')\"\n")
    ran = stage.run()
    assert (ran.returncode, ran.stderr) == (0, "")
    assert stage.say("report").returncode == 0
    assert stage.say("report", "--json").returncode == 0
    stage.must_be_whole(landed=["1"])


def test_an_issue_that_somebody_else_has_closed_no_longer_stands_in_the_way(one: Callable[..., Stage]) -> None:
    stage = one("cat > /dev/null\n[ $LUMINAGUARD_ISSUE = 1 ] || echo x > $LUMINAGUARD_ISSUE.txt\n")
    stage.issue("2", "After it", "Depends on #1")
    assert stage.run("--attempts", "1").returncode == 1
    assert (state_of(stage, "1"), stage.starts("2")) == ("failed", 0)
    assert stage.say("issues", "close", "1").returncode == 0
    assert stage.run().returncode == 0
    assert (state_of(stage, "1"), state_of(stage, "2")) == ("cancelled", "landed")


def test_with_nothing_to_do_there_is_nothing_wrong(one: Callable[..., Stage]) -> None:
    stage = one()
    assert stage.run().returncode == 0
    again = stage.run()
    assert (again.returncode, again.stderr) == (0, "")
    assert "nothing to do" in again.stdout
    stage.must_be_whole(landed=["1"])
