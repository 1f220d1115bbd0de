"""Words about issues are taken where somebody reads them, and refused with the way out where nobody does."""

import json
import subprocess
from functools import partial
from pathlib import Path

import anyio
import pytest

from luminaguard.app.project import Project, open_project
from luminaguard.app.tracking import Changes, add, close, edit, none_open, reopen, way_to_add
from luminaguard.model.faults import UserFault
from luminaguard.model.issue import IssueState

GITHUB = '[backlog]\nsource = "github"\nrepository = "o/r"\n'
FILE = '[backlog]\nsource = "file"\npath = "gh.json"\n'
WORDS = {
    "add": partial(add, title="New", issue=None, said=Changes()),
    "edit": partial(edit, issue="1", title="New", said=Changes()),
    "close": partial(close, issue="1", comment=""),
    "reopen": partial(reopen, issue="1", comment=""),
}


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GITHUB_TOKEN", "t")
    subprocess.run(["git", "init", "-q", "-b", "main", tmp_path], check=True)
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *who, "commit", "-q", "--allow-empty", "-m", "x"], cwd=tmp_path, check=True)
    (tmp_path / "gh.json").write_text(json.dumps([{"number": 1, "title": "Of the file", "state": "OPEN"}]))
    return tmp_path


def project_of(repo: Path, settings: str) -> Project:
    (repo / "luminaguard.toml").write_text(settings)
    return open_project(repo)


@pytest.mark.parametrize("word", WORDS)
def test_at_a_forge_nothing_is_said_to_the_local_tracker(repo: Path, word: str) -> None:
    project_of(repo, "").store.add("Local")
    project = project_of(repo, GITHUB)
    with pytest.raises(UserFault, match=r"^the issues of this project are at github o/r$") as refused:
        WORDS[word](project)
    assert "gh issue" in refused.value.hint
    assert 'source = "local"' in refused.value.hint
    assert [(it.title, it.state) for it in project.store.issues()] == [("Local", IssueState.OPEN)]


@pytest.mark.parametrize("word", ["add", "edit"])
def test_what_a_file_says_is_changed_in_the_file(repo: Path, word: str) -> None:
    project = project_of(repo, FILE)
    with pytest.raises(UserFault, match=r"^the issues of this project are at file gh\.json$") as refused:
        WORDS[word](project)
    assert "add and change them in gh.json" in refused.value.hint
    assert [it.title for it in project.store.issues()] in ([], ["Of the file"])


def test_an_issue_of_a_file_is_closed_and_opened_in_the_tracker(repo: Path) -> None:
    project = project_of(repo, FILE)
    assert close(project, "#1", comment="done by hand").state is IssueState.CLOSED
    assert anyio.run(project_of(repo, FILE).forge.backlog).issues[0].state is IssueState.CLOSED
    assert reopen(project, "1", comment="").state is IssueState.OPEN
    assert anyio.run(project_of(repo, FILE).forge.backlog).issues[0].state is IssueState.OPEN


def test_an_issue_that_is_not_of_the_file_is_neither_closed_nor_opened(repo: Path) -> None:
    project_of(repo, "").store.add("Local", id="7")
    project = project_of(repo, FILE)
    with pytest.raises(UserFault, match=r"there is no issue '7' in gh\.json"):
        close(project, "7", comment="")
    assert project.store.show("7").state is IssueState.OPEN


def test_here_all_of_it_is_taken(repo: Path) -> None:
    project = project_of(repo, "")
    assert [word(project).id for word in WORDS.values()] == ["1"] * 4


def test_the_way_to_an_issue_is_that_of_the_source(repo: Path) -> None:
    here, file, there = (project_of(repo, settings) for settings in ("", FILE, GITHUB))
    assert none_open(here) == "no open issues; add one with: luminaguard issues add TITLE"
    assert (none_open(file), way_to_add(file)) == ("no open issues, from file gh.json", "write it into gh.json")
    assert (none_open(there), way_to_add(there)) == ("no open issues, from github o/r", "add it at github o/r")
