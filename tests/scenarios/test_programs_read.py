"""What a program, or a person who watches, reads of a run: the whole, and nothing that is not so."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable

from stage import WAIT, Stage, go


def test_run_with_nothing_to_do_tells_a_program_of_the_run_that_did_it(one: Callable[..., Stage]) -> None:
    stage = one()
    assert stage.run().returncode == 0
    again = stage.run("--json")
    told = json.loads(again.stdout)
    assert (again.returncode, told) == (0, stage.report())
    assert set(told["verified"].values()) == {True}
    assert [issue["id"] for issue in told["issues"]] == ["1"]


def test_run_that_never_had_anything_to_do_tells_the_target_and_that_nothing_is_missing(stage: Stage) -> None:
    stage.set_up(agent="true")
    ran = stage.run("--json")
    told = json.loads(ran.stdout)
    assert (ran.returncode, told["target"], told["base"]) == (0, "main", stage.git("rev-parse", "main"))
    assert (told["started"], told["issues"], set(told["verified"].values())) == (None, [], {True})


def test_run_over_another_backlog_is_not_told_as_this_ones(one: Callable[..., Stage]) -> None:
    stage = one()
    assert stage.run().returncode == 0
    stage.write({"empty.json": "[]"})
    told = json.loads(stage.say("--backlog", "empty.json", "run", "--json").stdout)
    assert (told["run"], told["issues"]) == ("", [])


def test_status_of_an_unknown_issue_is_a_fault_in_every_form(one: Callable[..., Stage]) -> None:
    stage = one()
    assert stage.run().returncode == 0
    for words in ((), ("--json",), ("--follow",)):
        ran = stage.say("status", "77", *words)
        assert (ran.returncode, "has no issue #77" in ran.stdout + ran.stderr) == (2, True)
    ran = stage.say("status", "1", "--json")
    assert (ran.returncode, json.loads(ran.stdout)["schema"]) == (0, "luminaguard/status@1")


def test_run_at_a_remote_that_is_not_there_is_the_users_to_mend(one: Callable[..., Stage]) -> None:
    ran = one().run("--remote", "nosuch")
    assert (ran.returncode, "there is no remote 'nosuch'" in ran.stderr) == (2, True)


def test_landing_without_checks_says_that_none_were_run(one: Callable[..., Stage]) -> None:
    stage = one(checks=())
    told = json.loads(stage.run("--json").stdout)
    assert (told["totals"]["check_runs"], set(told["verified"].values())) == (0, {True})
    assert "no checks were configured, so none judged its tree" in stage.say("report").stdout


def test_log_that_is_followed_is_printed_to_the_last_line_of_every_attempt(one: Callable[..., Stage]) -> None:
    stage = one(
        "cat > /dev/null\n"
        + WAIT
        + 'echo "last words of $LUMINAGUARD_ATTEMPT"\n[ $LUMINAGUARD_ATTEMPT = 1 ] || echo x > 1.txt\n'
    )
    session = stage.start("--attempts", "2")
    stage.wait_for_word("1", "waiting")
    argv = (sys.executable, "-m", "luminaguard", "logs", "1", "--follow")
    with subprocess.Popen(argv, cwd=stage.root, env=stage.env, text=True, stdout=subprocess.PIPE) as follower:
        assert follower.stdout is not None
        lines = list(iter(follower.stdout.readline, "waiting\n"))
        follower.send_signal(signal.SIGSTOP)  # it does not look while all of this happens
        go(stage).touch()
        assert session.wait(timeout=stage.patience_s) == 0, stage.said(session)
        follower.send_signal(signal.SIGCONT)
        lines += follower.stdout.readlines()
    said = [line.rstrip() for line in lines if not line.startswith("==")]
    assert said == ["last words of 1", "waiting", "last words of 2"]
