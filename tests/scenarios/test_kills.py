"""The orchestrator is killed at random moments, its shims and agents too; nothing is lost and nothing is done twice."""

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from stage import WAIT, Stage

# Work in two commits; every fifth issue's first agent kills itself between them, every seventh's before the first. One
# may be held by the test.
AGENT = f"""
cat > /dev/null
echo "start $LUMINAGUARD_ISSUE.$LUMINAGUARD_ATTEMPT"
[ "$LUMINAGUARD_ISSUE" != "$HELD" ] || {{ {WAIT} }}
"""
AGENT += """\
commit() {
  echo "$1 of $LUMINAGUARD_ISSUE" >> "work-$LUMINAGUARD_ISSUE.txt"
  git add -A
  git commit -q -m "$1" && echo "made $(git rev-parse HEAD)"
}
[ "$LUMINAGUARD_ATTEMPT" -gt 1 ] || [ $((LUMINAGUARD_ISSUE % 7)) -ne 0 ] || kill -9 $$
[ -e "work-$LUMINAGUARD_ISSUE.txt" ] || commit first
sleep 0.0$((LUMINAGUARD_ISSUE % 9 + 1))
[ "$LUMINAGUARD_ATTEMPT" -gt 1 ] || [ $((LUMINAGUARD_ISSUE % 5)) -ne 0 ] || kill -9 $$
[ $((LUMINAGUARD_ISSUE % 2)) -eq 0 ] || commit second
"""
# Says that it has begun, and goes on when the test says so.
HELD = f"""
cat > /dev/null
echo "start $LUMINAGUARD_ISSUE.$LUMINAGUARD_ATTEMPT"
echo begun >> "begun-$LUMINAGUARD_ISSUE.txt"
git add -A; git commit -q -m begun && echo "made $(git rev-parse HEAD)"
{WAIT}
echo "done" >> "done-$LUMINAGUARD_ISSUE.txt"
"""


def prepared(stage: Stage, count: int, *, seed: int) -> list[str]:
    """Set up a backlog of `count` issues, each of which needs up to two earlier ones."""
    chance = random.Random(seed)
    stage.set_up(agent=AGENT, checks=("test -f README.md",), settings="[budget]\nminutes_per_issue = 5\n")
    for number in range(1, count + 1):
        needed = sorted(chance.sample(range(1, number), min(number - 1, chance.choice((0, 0, 1, 2)))))
        stage.issue(str(number), f"Part {number}", " ".join(f"Depends on #{need}." for need in needed))
    return [str(number) for number in range(1, count + 1)]


def held_open(stage: Stage, issues: list[str]) -> list[str]:
    """Add an issue whose agent waits until all kills are done: the run cannot be over before that."""
    last = str(len(issues) + 1)
    stage.env.update(HELD=last, LET_GO=str(let_go(stage)))
    stage.issue(last, "The last part")
    return [*issues, last]


def is_almost_over(stage: Stage) -> bool:
    """Tell whether all issues but one are closed: where that one is held, no more facts come."""
    return 0 < len(stage.facts(None, "planned")) <= len(stage.facts(None, "closed")) + 1


def kill_after(stage: Stage, session: subprocess.Popen[str], *, facts: int, seconds: float) -> bool:
    """Kill a session when it has written so many facts, and a moment later; False where it ended by itself."""
    before = len(stage.facts())
    stage.wait_for(
        f"{facts} facts more",
        lambda: session.poll() is not None or len(stage.facts()) >= before + facts or is_almost_over(stage),
    )
    time.sleep(seconds)  # not to wait for anything: the random moment of the kill
    if session.poll() is None:
        session.kill()
    return session.wait() == -signal.SIGKILL


def run_under_kills(stage: Stage, *, kills: int, most_facts: int, seed: int) -> None:
    chance = random.Random(seed)
    for number in range(kills):
        session = stage.start("--slots", "4")
        was_killed = kill_after(
            stage, session, facts=chance.randint(0, most_facts), seconds=chance.choice((0.0, 0.0, 0.01, 0.05, 0.2))
        )
        assert was_killed, f"the run was over after {number} kills of {kills}, or failed: {stage.said(session)}"
    let_go(stage).touch()
    last = stage.start("--slots", "4")
    assert last.wait(timeout=stage.patience_s) == 0, stage.said(last)


def must_have_started_fairly(stage: Stage, issues: list[str]) -> None:
    for issue in issues:
        attempts, starts = len(stage.facts(issue, "attempt")), stage.starts(issue)
        assert starts == attempts <= 2, (issue, attempts, starts, stage.logs(issue))
        assert attempts == (2 if int(issue) % 7 == 0 else 1), (issue, [it.kind for it in stage.facts(issue)])


@pytest.mark.timeout(1800)
def test_a_run_that_is_killed_a_dozen_times(stage: Stage) -> None:
    issues = held_open(stage, prepared(stage, 10, seed=11))
    run_under_kills(stage, kills=12, most_facts=8, seed=21)
    stage.must_be_whole(landed=issues)
    must_have_started_fairly(stage, issues)


@pytest.mark.vm
def test_a_run_in_guests_is_killed_half_a_dozen_times(in_guests: Stage) -> None:
    issues = prepared(in_guests, 5, seed=3)
    run_under_kills(in_guests, kills=6, most_facts=4, seed=3)
    must_have_started_fairly(in_guests, issues)
    in_guests.must_be_whole(landed=issues)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_that_is_killed_a_hundred_times(walled: Stage) -> None:
    issues = prepared(walled, 30, seed=12)
    run_under_kills(walled, kills=100, most_facts=4, seed=22)
    walled.must_be_whole(landed=issues)
    must_have_started_fairly(walled, issues)


@pytest.fixture
def held(stage: Stage) -> Stage:
    """One issue, whose agent waits for the file that `let_go` names."""
    stage.env["LET_GO"] = str(let_go(stage))
    stage.set_up(agent=HELD)
    stage.issue("1", "Take a while")
    return stage


def let_go(stage: Stage) -> Path:
    return stage.root.parent / "go"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "TERM"])
def test_an_interrupted_session_leaves_its_agent_at_work_and_the_next_attaches(held: Stage, number: int) -> None:
    first = held.start()
    held.wait_for_word("1", "waiting")
    first.send_signal(number)
    assert first.wait(timeout=held.patience_s) == 130, held.said(first)
    assert "luminaguard run goes on" in held.said(first)
    assert held.facts("run", "session_ended")[-1].data["outcome"] == "interrupted"
    (shim,) = held.shims("1")
    os.kill(shim, 0)  # still there
    second = held.start()
    held.wait_for_fact("run", "session:2")
    let_go(held).touch()
    assert second.wait(timeout=held.patience_s) == 0, held.said(second)
    assert (held.starts("1"), len(held.facts("1", "placed"))) == (1, 1)
    held.must_be_whole(landed=["1"])


def test_an_agent_that_ends_while_nobody_is_at_work_is_found_done(held: Stage) -> None:
    first = held.start()
    held.wait_for_word("1", "waiting")
    first.kill()
    first.wait()
    let_go(held).touch()
    held.wait_for("its result", lambda: list(held.state.glob("attempts/*/1/1.1/result.json")))
    assert held.run().returncode == 0
    assert (held.starts("1"), len(held.facts("1", "placed"))) == (1, 1)
    held.must_be_whole(landed=["1"])


def test_an_agent_whose_shim_is_killed_is_started_again_on_its_own_work(held: Stage) -> None:
    session = held.start()
    held.wait_for_word("1", "waiting")
    (shim,) = held.shims("1")
    os.kill(shim, signal.SIGKILL)
    held.wait_for_fact("1", "placed:1.2")
    let_go(held).touch()
    assert session.wait(timeout=held.patience_s) == 0, held.said(session)
    assert (held.starts("1"), len(held.facts("1", "attempt"))) == (2, 1)
    assert held.show("begun-1.txt").splitlines() == ["begun", "begun"]
    held.must_be_whole(landed=["1"])


def test_a_shim_that_is_lost_between_sessions_is_not_counted_as_its_next_start(held: Stage) -> None:
    first = held.start()
    held.wait_for_word("1", "waiting")
    first.kill()
    first.wait()
    (shim,) = held.shims("1")
    os.kill(shim, signal.SIGKILL)
    held.wait_for("the end of the agent", lambda: not held.alive())
    second = held.start()
    held.wait_for_fact("1", "placed:1.2")
    # The fact comes before the deed: killed between the two, the start would be lost as well, and rightly made again.
    held.wait_for("the second start", lambda: held.starts("1") == 2)
    second.kill()
    second.wait()
    # The second start lives; a third session must neither start the lost one again nor another.
    third = held.start()
    held.wait_for_fact("run", "session:3")
    let_go(held).touch()
    assert third.wait(timeout=held.patience_s) == 0, held.said(third)
    assert (held.starts("1"), len(held.facts("1", "placed"))) == (2, 2)
    held.must_be_whole(landed=["1"])


def test_an_agent_that_is_killed_has_its_work_brought_out(held: Stage) -> None:
    session = held.start()
    held.wait_for_word("1", "waiting")
    # A fork of it, about to be a `sleep`, has its words as well.
    for agent in [pid for pid, words in held.processes() if "tools/agent.sh" in words and "shim" not in words]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(agent, signal.SIGKILL)
    assert session.wait(timeout=held.patience_s) == 0, held.said(session)
    assert held.show("begun-1.txt") == "begun"
    held.must_be_whole(landed=["1"])


def test_what_an_agent_leaves_running_ends_with_it(held: Stage) -> None:
    held.commit("Leave something", {"tools/agent.sh": "cat > /dev/null\nsetsid sleep 600 &\necho it > it.txt\n"})
    assert held.run().returncode == 0
    held.must_be_whole(landed=["1"])


def test_a_second_orchestrator_is_refused_and_names_the_first(held: Stage) -> None:
    first = held.start()
    held.wait_for_word("1", "waiting")
    second = held.run()
    assert second.returncode == 2
    assert f"process {first.pid}" in second.stderr
    let_go(held).touch()
    assert first.wait(timeout=held.patience_s) == 0


@pytest.mark.timeout(1800)
def test_a_run_under_kills_tells_a_whole_story(stage: Stage) -> None:
    issues = held_open(stage, prepared(stage, 4, seed=13))
    run_under_kills(stage, kills=3, most_facts=6, seed=23)
    told = stage.report()
    assert told["verified"] == {"commits_on_target": True, "trees_tested": True, "issues_closed": True}
    assert {issue["state"] for issue in told["issues"]} == {"landed"}  # type: ignore[attr-defined]
    assert isinstance(told["totals"], dict)
    # A session that is killed while it starts an agent leaves one that never said so; the next start has a number more.
    assert told["totals"]["agent_starts"] == len(stage.facts(None, "placed"))
    must_have_started_fairly(stage, issues)
