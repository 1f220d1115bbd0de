"""People at the forge while a run is at work: they ask for changes, approve, merge and close."""

import json
from pathlib import Path
from typing import Literal

import pytest
from face_ground import Running, git
from run_ground import LISTENER, facts, luminaguard, opened, set_up, started, told, wait_for

from luminaguard.forges.store import TrackerStore
from luminaguard.forges.talk import Remark, Talk
from luminaguard.model.ids import Oid

pytestmark = pytest.mark.timeout(900)  # each is several runs of the command

HUMAN = '[landing]\napprove = "human"\n'
TRUSTED = '[trust]\nauthors = ["ann", "Ann", "bob"]\n'


def waiting_for_approval(clone: Path, running: Running, *, more: str = "") -> int:
    """Run one issue until it waits for an approval; give its pull request."""
    set_up(clone, running, more=HUMAN + more)
    opened(running, "Add the file")
    assert luminaguard(clone, running, "run").returncode == 1
    return int(told(running, "pr", "list", "--json", "number", "-q", ".[].number"))


def reviewed(running: Running, pull: int, state: Literal["APPROVED", "CHANGES_REQUESTED"], *, line: str = "") -> None:
    """Let bob say something of the branch as it is."""
    talk = Talk(TrackerStore(running.folder / ".git/luminaguard/tracker.db"))
    head = Oid(git(running.folder, "rev-parse", "feature/issue-1").stdout.strip())
    remarks = [Remark(path="heard.txt", text=line, line=1)] if line else []
    talk.review(pull, author="bob", state=state, text="", head=head, remarks=remarks)


def test_what_a_person_asks_for_on_the_pull_request_goes_back_to_the_agent(running: Running, clone: Path) -> None:
    (clone.parent / "agent.py").write_text(LISTENER)
    set_up(clone, running, more='[landing]\napprove = "human"\n')
    opened(running, "Add the file")
    assert luminaguard(clone, running, "run").returncode == 1
    pull = told(running, "pr", "list", "--json", "number", "-q", ".[].number")
    told(running, "pr", "review", pull, "--comment", "-b", "I will look tomorrow.")
    assert luminaguard(clone, running, "run").returncode == 1
    assert git(running.folder, "show", "feature/issue-1:heard.txt").stdout == "1\n"
    line = ("-F", "line=1", "-f", "path=heard.txt", "-f", "body=Say it in French", "-f", "side=RIGHT")
    head = git(running.folder, "rev-parse", "feature/issue-1").stdout.strip()
    told(running, "api", f"repos/ann/demo/pulls/{pull}/comments", *line, "-f", f"commit_id={head}")
    assert luminaguard(clone, running, "run").returncode == 1
    heard = git(running.folder, "show", "feature/issue-1:heard.txt").stdout
    assert heard == "1\n2 Say it in French I will look tomorrow\n"
    assert luminaguard(clone, running, "run").returncode == 1
    assert git(running.folder, "show", "feature/issue-1:heard.txt").stdout == heard


def test_approval_after_a_wish_lands_and_nothing_is_sent_back_again(running: Running, clone: Path) -> None:
    (clone.parent / "agent.py").write_text(LISTENER)
    pull = waiting_for_approval(clone, running, more=TRUSTED)
    reviewed(running, pull, "CHANGES_REQUESTED", line="Say it in French")
    assert luminaguard(clone, running, "run").returncode == 1
    assert "Say it in French" in git(running.folder, "show", "feature/issue-1:heard.txt").stdout
    reviewed(running, pull, "APPROVED")
    assert luminaguard(clone, running, "run").returncode == 0
    assert "attempt:3" not in facts(clone, "1")


def test_a_pull_request_that_a_person_merged_while_it_waited_has_landed(running: Running, clone: Path) -> None:
    pull = waiting_for_approval(clone, running)
    told(running, "pr", "merge", str(pull), "--squash")
    assert luminaguard(clone, running, "run").returncode == 0
    report = json.loads(luminaguard(clone, running, "report", "--json").stdout)
    assert report["issues"][0]["state"] == "landed"
    assert set(report["verified"].values()) == {True}


def test_a_pull_request_that_a_person_closed_does_not_land_before_a_retry(running: Running, clone: Path) -> None:
    pull = waiting_for_approval(clone, running)
    told(running, "pr", "close", str(pull))
    set_up(clone, running)
    assert luminaguard(clone, running, "run").returncode == 1
    assert "closed" in luminaguard(clone, running, "problems").stdout
    assert luminaguard(clone, running, "retry", "1").returncode == 0
    assert luminaguard(clone, running, "run").returncode == 0
    assert "landed" in facts(clone, "1")


WAITER = """
import os, pathlib, time
attempt, go, until = os.environ["LUMINAGUARD_ATTEMPT"], pathlib.Path({go!r}), time.monotonic() + 600
while attempt == "2" and not go.exists() and time.monotonic() < until:
    time.sleep(0.05)
pathlib.Path(f"made{{attempt}}.txt").write_text(attempt)
"""


def test_an_issue_that_a_person_closes_while_its_agent_is_at_work_does_not_land(running: Running, clone: Path) -> None:
    go = clone.parent / "go"
    (clone.parent / "agent.py").write_text(WAITER.format(go=str(go)).replace('attempt == "2"', 'attempt == "1"'))
    opened(running, "Add the file")
    session = started(clone, running, "run")
    wait_for(clone, "1", "placed:1.1", session)
    told(running, "issue", "close", "1", "--reason", "not planned")
    go.touch()
    session.wait(timeout=600)
    assert "cancelled:1" in facts(clone, "1")
    assert "made1.txt" not in git(running.folder, "ls-tree", "--name-only", "main").stdout
    assert git(running.folder, "show", "feature/issue-1:made1.txt").stdout == "1"


def test_merged_by_a_person_while_the_next_attempt_is_at_work_it_lands_once(running: Running, clone: Path) -> None:
    go = clone.parent / "go"
    (clone.parent / "agent.py").write_text(WAITER.format(go=str(go)))
    pull = waiting_for_approval(clone, running, more=TRUSTED)
    reviewed(running, pull, "CHANGES_REQUESTED")
    set_up(clone, running, more=TRUSTED)
    session = started(clone, running, "run")
    wait_for(clone, "1", "placed:2.1", session)
    told(running, "pr", "merge", str(pull), "--squash")
    go.touch()
    assert session.wait(timeout=600) == 0, (clone.parent / "log").read_text()
    assert [one["state"] for one in json.loads(told(running, "pr", "list", "--state", "all", "--json", "state"))] == [
        "MERGED"
    ]
    subjects = git(running.folder, "log", "--first-parent", "--format=%s", "main").stdout
    assert subjects.count("(#1)") == 1
