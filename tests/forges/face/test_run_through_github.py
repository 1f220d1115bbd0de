"""A whole run whose backlog lives on a forge that speaks GitHub's language: our driver, real HTTP, real pushes."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from face_ground import Running, git
from run_ground import luminaguard, opened, set_up, started, told, wait_for

from luminaguard.forges.store import TrackerStore

pytestmark = pytest.mark.timeout(900)  # each is several runs of the command


def test_twenty_issues_in_three_waves_are_merged_and_closed(running: Running, clone: Path) -> None:
    store = TrackerStore(running.folder / ".git/luminaguard/tracker.db")
    for number in range(1, 9):
        opened(running, f"Part {number}")
    for number in range(9, 17):
        opened(running, f"Part {number}", needs=[number - 8])
    for number in range(17, 21):
        opened(running, f"Part {number}", needs=[number - 8, number - 7])
    ran = luminaguard(clone, running, "run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert {issue.state.value for issue in store.issues()} == {"closed"}
    # A squash commit that is pushed shows no pull request as merged: they are closed with a comment that names it.
    assert len(store.pulls()) == 20
    still_open = running.gh("pr", "list", "--json", "number", cwd=running.folder)
    assert still_open.stdout.strip() == "[]", still_open.stderr
    subjects = git(running.folder, "log", "--first-parent", "--format=%s", "main").stdout.split("\n")
    for number in range(1, 21):
        assert sum(line.endswith(f"(#{number})") for line in subjects) == 1
    tip = git(running.folder, "rev-parse", "main").stdout
    assert git(clone, "rev-parse", "main").stdout == tip
    again = luminaguard(clone, running, "run")
    assert (again.returncode, git(running.folder, "rev-parse", "main").stdout) == (0, tip)


def test_an_issue_is_told_once_how_it_stands_and_its_commit_has_a_verdict(running: Running, clone: Path) -> None:
    opened(running, "Add the file")
    assert luminaguard(clone, running, "run").returncode == 0
    told = running.gh("issue", "view", "1", "--json", "comments", "-q", ".comments[].body", cwd=running.folder).stdout
    assert told.count("It landed as") == 1
    head = git(running.folder, "rev-parse", "feature/issue-1").stdout.strip()
    path = f"repos/ann/demo/commits/{head}/status"
    state = running.gh("api", path, "-q", ".state", cwd=running.folder)
    assert state.stdout.strip() == "success", state.stderr


def test_where_the_forge_merges_the_tree_that_was_tested_lands_and_the_branch_goes(
    running: Running, clone: Path
) -> None:
    set_up(clone, running, more='[landing]\nby = "forge"\nremove_branch = true\nlabels = ["agent"]\n')
    for number in (1, 2):
        opened(running, f"Part {number}")
    opened(running, "Part 3", needs=[1, 2])
    ran = luminaguard(clone, running, "run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    pulls = json.loads(told(running, "pr", "list", "--state", "all", "--json", "state,isDraft,labels,body,headRefName"))
    assert [(one["state"], one["isDraft"], one["labels"][0]["name"]) for one in pulls] == [
        ("MERGED", False, "agent")
    ] * 3
    (last,) = (one for one in pulls if one["headRefName"] == "feature/issue-3")
    assert "Depends on #1\nDepends on #2\n\nCloses #3" in last["body"]
    report = json.loads(luminaguard(clone, running, "report", "--json").stdout)
    assert report["verified"] == {"commits_on_target": True, "trees_tested": True, "issues_closed": True}
    assert git(running.folder, "branch", "--list", "feature/*").stdout == ""
    assert git(clone, "branch", "--list", "feature/*").stdout == ""
    assert git(clone, "rev-parse", "main").stdout == git(running.folder, "rev-parse", "main").stdout


def test_a_pull_request_is_a_draft_until_our_checks_pass(running: Running, clone: Path) -> None:
    opened(running, "Add the file")
    text = (clone / "luminaguard.toml").read_text()
    (clone / "luminaguard.toml").write_text(text.replace("test -f README.md", "test -f nothing"))
    assert luminaguard(clone, running, "run").returncode == 1
    assert told(running, "pr", "list", "--json", "isDraft", "-q", ".[].isDraft") == "true"
    (clone / "luminaguard.toml").write_text(text + '\n[landing]\napprove = "human"\n')
    assert luminaguard(clone, running, "retry", "1").returncode == 0
    assert luminaguard(clone, running, "run").returncode == 1
    assert told(running, "pr", "list", "--json", "isDraft", "-q", ".[].isDraft") == "false"


def test_a_run_that_watches_works_on_what_gets_the_label_and_on_nothing_else(running: Running, clone: Path) -> None:
    set_up(clone, running, backlog='labels = ["ready"]')
    watching = started(clone, running, "run", "--watch")
    try:
        opened(running, "Not for agents")
        told(running, "label", "create", "ready")
        for part in (2, 3):
            url = told(running, "issue", "create", "-t", f"Part {part}", "-b", "Make it.", "-l", "ready")
            closed_within(running, url, watching)
        assert told(running, "issue", "view", "1", "--json", "state", "-q", ".state") == "OPEN"
    finally:
        watching.send_signal(signal.SIGINT)
        code = watching.wait(timeout=240)
    assert code == 130, (clone.parent / "log").read_text()
    subjects = git(running.folder, "log", "--first-parent", "--format=%s", "main").stdout
    assert "Part 2" in subjects
    assert "Part 3" in subjects
    assert "Not for agents" not in subjects


def closed_within(running: Running, url: str, watching: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 240
    while told(running, "issue", "view", url.rpartition("/")[2], "--json", "state", "-q", ".state") != "CLOSED":
        assert watching.poll() is None, "the run has ended"
        assert time.monotonic() < until, "nobody has worked on it"
        time.sleep(0.2)


def test_watching_without_a_label_is_refused(running: Running, clone: Path) -> None:
    ran = luminaguard(clone, running, "run", "--watch")
    assert ran.returncode == 2
    assert "labels" in ran.stderr


KILLED_AT = ("published", "passed", "landing", "landed", "closing")


@pytest.mark.slow
@pytest.mark.parametrize("by", ["push", "forge"])
def test_runs_that_are_killed_do_nothing_twice_at_the_forge(running: Running, clone: Path, by: str) -> None:
    set_up(clone, running, more=f'[landing]\nby = "{by}"\n')
    for number in range(1, len(KILLED_AT) + 1):
        opened(running, f"Part {number}", needs=[number - 1] if number > 1 else [])
    for issue, name in enumerate(KILLED_AT, start=1):
        killed_at(clone, running, str(issue), name)
    ran = luminaguard(clone, running, "run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    numbers = range(1, len(KILLED_AT) + 1)
    subjects = git(running.folder, "log", "--first-parent", "--format=%s", "main").stdout.split("\n")
    assert [sum(line.endswith(f"(#{number})") for line in subjects) for number in numbers] == [1] * len(numbers)
    pulls = json.loads(told(running, "pr", "list", "--state", "all", "--json", "headRefName,state"))
    assert sorted(one["headRefName"] for one in pulls) == [f"feature/issue-{number}" for number in numbers]
    assert "OPEN" not in {one["state"] for one in pulls}
    for number in numbers:
        comments = told(running, "issue", "view", str(number), "--json", "comments", "-q", ".comments[].body")
        assert comments.count("It landed as") == 1
        assert comments.count("Landed on main as") <= 1


def killed_at(clone: Path, running: Running, issue: str, name: str) -> None:
    """Begin a session, and kill it as soon as the fact is written."""
    session = started(clone, running, "run")
    wait_for(clone, issue, name, session)
    session.kill()
    session.wait()
