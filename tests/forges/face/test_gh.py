"""The unmodified `gh` of GitHub, driven through the whole story against `luminaguard serve --forge`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from face_ground import Running, commit, git

from luminaguard.forges.store import TrackerStore


def said(running: Running, *args: str, cwd: Path | None = None) -> str:
    ran = running.gh(*args, cwd=cwd)
    assert ran.returncode == 0, f"gh {' '.join(args)}: {ran.stderr or ran.stdout}"
    return ran.stdout.strip()


def read(running: Running, *args: str) -> Any:
    return json.loads(said(running, *args))


def clone(running: Running, folder: Path) -> Path:
    address = running.url.replace("http://", f"http://x:{running.token}@")
    git(folder.parent, "clone", "-q", f"{address}/ann/demo.git", str(folder))
    return folder


def test_gh_runs_the_whole_story(running: Running, tmp_path: Path) -> None:
    assert said(running, "issue", "create", "-t", "First", "-b", "do it").endswith("/ann/demo/issues/1")
    said(running, "issue", "create", "-t", "Second", "-b", "then", "--blocked-by", "1")
    listed = read(running, "issue", "list", "--json", "number,title,state,blockedBy")
    assert [(it["number"], [b["number"] for b in it["blockedBy"]["nodes"]]) for it in listed] == [(2, [1]), (1, [])]
    said(running, "issue", "comment", "1", "-b", "hello")
    assert "hello" in said(running, "issue", "view", "1", "--comments")
    said(running, "issue", "edit", "1", "--title", "First of all")

    checkout = clone(running, tmp_path / "clone")
    git(checkout, "checkout", "-q", "-b", "agent/1")
    (checkout / "new.py").write_text("print(1)\n")
    git(checkout, "add", ".")
    git(checkout, "commit", "-q", "-m", "work")
    git(checkout, "push", "-q", "origin", "agent/1")
    head = git(checkout, "rev-parse", "HEAD").stdout.strip()

    made = said(running, "pr", "create", "-H", "agent/1", "-B", "main", "-t", "Work", "-b", "Closes #1", cwd=checkout)
    assert made.endswith("/ann/demo/pull/3")
    assert [it["number"] for it in read(running, "pr", "list", "--json", "number,headRefName")] == [3]
    run = ("-f", "name=ci", "-f", f"head_sha={head}", "-f", "status=completed", "-f", "conclusion=success")
    said(running, "api", "-X", "POST", "repos/ann/demo/check-runs", *run)
    assert "ci\tpass" in said(running, "pr", "checks", "3")
    shown = read(
        running, "pr", "view", "3", "--json", "state,mergeable,mergeStateStatus,closingIssuesReferences,files,reviews"
    )
    assert (shown["state"], shown["mergeable"], shown["mergeStateStatus"]) == ("OPEN", "MERGEABLE", "CLEAN")
    assert [it["number"] for it in shown["closingIssuesReferences"]] == [1]
    assert [(it["path"], it["changeType"]) for it in shown["files"]] == [("new.py", "ADDED")]

    wrong = running.gh("pr", "merge", "3", "--squash", "--match-head-commit", "0" * 40)
    assert wrong.returncode != 0
    assert "Head branch was modified" in wrong.stderr
    said(running, "pr", "merge", "3", "--squash", "--match-head-commit", head)

    assert read(running, "pr", "view", "3", "--json", "state")["state"] == "MERGED"
    assert read(running, "issue", "view", "1", "--json", "state,stateReason") == {
        "state": "CLOSED",
        "stateReason": "COMPLETED",
    }
    assert (running.folder / "new.py").read_text() == "print(1)\n"
    assert git(running.folder, "status", "--porcelain").stdout == ""
    assert git(running.folder, "log", "-1", "--format=%s").stdout.strip() == "Work (#3)"


def test_gh_steers_issues_and_pull_requests(running: Running, tmp_path: Path) -> None:
    for title in ("One", "Two", "Three"):
        said(running, "issue", "create", "-t", title, "-b", "")
    said(running, "label", "create", "bug", "--color", "ff0000")
    said(running, "issue", "edit", "1", "--add-label", "bug")
    assert [it["number"] for it in read(running, "issue", "list", "--label", "bug", "--json", "number")] == [1]
    said(running, "issue", "edit", "2", "--add-blocked-by", "1")
    said(running, "issue", "edit", "3", "--parent", "1")
    family = read(running, "issue", "view", "1", "--json", "subIssues,blocking")
    assert [it["number"] for it in family["subIssues"]["nodes"]] == [3]
    assert [it["number"] for it in family["blocking"]["nodes"]] == [2]
    said(running, "issue", "close", "3", "--reason", "not planned", "-c", "no")
    assert read(running, "issue", "view", "3", "--json", "stateReason")["stateReason"] == "NOT_PLANNED"
    said(running, "issue", "reopen", "3")

    checkout = clone(running, tmp_path / "clone")
    git(checkout, "commit", "-q", "--allow-empty", "-m", "nothing")
    git(checkout, "push", "-q", "origin", "HEAD:refs/heads/topic")
    said(running, "pr", "create", "-H", "topic", "-B", "main", "-t", "T", "-b", "", "--draft", cwd=checkout)
    assert read(running, "pr", "view", "4", "--json", "isDraft")["isDraft"] is True
    said(running, "pr", "ready", "4")
    said(running, "pr", "comment", "4", "-b", "look")
    said(running, "pr", "review", "4", "--comment", "-b", "fine")
    said(running, "pr", "edit", "4", "--title", "Title", "--add-label", "bug")
    shown = read(running, "pr", "view", "4", "--json", "title,labels,comments,reviews,isDraft")
    assert (shown["title"], shown["isDraft"], shown["labels"][0]["name"]) == ("Title", False, "bug")
    assert (shown["comments"][0]["body"], shown["reviews"][0]["body"]) == ("look", "fine")
    said(running, "pr", "close", "4", "--delete-branch")
    assert read(running, "pr", "view", "4", "--json", "state")["state"] == "CLOSED"
    said(running, "repo", "view", "ann/demo", "--json", "name,owner,defaultBranchRef")


@pytest.mark.parametrize("words", [("issue", "view", "99"), ("pr", "view", "99")])
def test_gh_is_told_what_is_not_there(running: Running, words: tuple[str, ...]) -> None:
    ran = running.gh(*words)
    assert ran.returncode != 0
    assert "99" in ran.stderr
    assert TrackerStore(running.folder / ".git/luminaguard/tracker.db").issues() == ()


AGENT = """
import os, pathlib
issue = os.environ["LUMINAGUARD_ISSUE"]
pathlib.Path(f"made_{issue}.txt").write_text("done by an agent\\n")
"""
SETTINGS = """
[run]
agent = "mine"
isolation = "none"
[agents.mine]
protocol = "command"
argv = ["{python}", "{agent}"]
[checks]
run = ["test -f README.md"]
"""


@pytest.mark.timeout(900)
def test_gh_fills_the_backlog_of_a_run_and_sees_what_became_of_it(running: Running, tmp_path: Path) -> None:
    said(running, "issue", "create", "-t", "Add the first file", "-b", "Make it.")
    said(running, "issue", "create", "-t", "Add the second file", "-b", "After the first.", "--blocked-by", "1")
    (tmp_path / "agent.py").write_text(AGENT)
    settings = SETTINGS.format(python=sys.executable, agent=tmp_path / "agent.py")
    commit(running.folder, "luminaguard.toml", settings)
    argv = [sys.executable, "-m", "luminaguard", "run", "--repo", str(running.folder)]
    ran = subprocess.run(argv, text=True, capture_output=True, check=False, timeout=800)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    issues = read(running, "issue", "list", "--state", "all", "--json", "number,state,closedByPullRequestsReferences")
    assert [(it["number"], it["state"]) for it in issues] == [(2, "CLOSED"), (1, "CLOSED")]
    pulls = read(running, "pr", "list", "--state", "merged", "--json", "number,headRefName,state")
    assert sorted(it["headRefName"] for it in pulls) == ["feature/issue-1", "feature/issue-2"]
    assert {(running.folder / f"made_{number}.txt").exists() for number in (1, 2)} == {True}
