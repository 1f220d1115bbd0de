"""Which issues are planned: what filters let through, what a person names, and never what waits for others' work."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from gitlab_server import GitLabServer
from lab_drivers import TOKEN, at_once

from luminaguard.app import around
from luminaguard.app.planning import Planned, make_plan
from luminaguard.app.project import Project, open_project
from luminaguard.app.settings import parse
from luminaguard.forges.base import Filters
from luminaguard.forges.gitlab.forge import GitLab
from luminaguard.forges.http_project import Project as Place
from luminaguard.journal.sqlite import SqliteJournal
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, RunId

PATH = "group/sub/project"
READY = "[backlog]\nsource = 'gitlab'\nlabels = ['ready']\n"


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=A", "-c", "user.email=a@b.invalid")
    ran = subprocess.run(["git", "-C", folder, *who, *words], check=True, capture_output=True, text=True)
    return ran.stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main", "--template=")
    (folder / "README.md").write_text("demo\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


@pytest.fixture
def lab() -> GitLabServer:
    return GitLabServer()


At = Callable[..., Project]


@pytest.fixture
def at_lab(repo: Path, lab: GitLabServer) -> At:
    """Open the repository as one whose issues live on the server, with our own driver between."""

    def opened(text: str = READY) -> Project:
        settings = parse(text, path="luminaguard.toml")
        filters = Filters(labels=settings.backlog.labels, milestone=settings.backlog.milestone)
        place = Place(web="https://lab.test", path=PATH)
        forge = GitLab(place, TOKEN, filters=filters, transport=lab, sleep=at_once)
        local = open_project(repo)
        return replace(local, settings=settings, forge=forge, reached=forge, talk=forge, repository=PATH)

    return opened


def planned(project: Project, *select: str) -> Planned:
    return anyio.run(make_plan, project, select)


def ids(made: Planned) -> list[str]:
    return [one.issue.id for one in made.plan.issues]


def notices(made: Planned) -> list[str]:
    return [f"#{one.issue} {one.text}" for one in made.plan.notices]


def test_an_issue_that_the_filter_does_not_let_through_is_worked_on_when_a_person_names_it(
    lab: GitLabServer, at_lab: At
) -> None:
    lab.add("let through", labels=("ready",))
    lab.add("not let through")
    assert ids(planned(at_lab())) == ["1"]
    assert ids(planned(at_lab(), "2")) == ["2"]
    assert ids(planned(at_lab(), "#1", "2")) == ["1", "2"]


def test_a_number_that_is_nobodys_is_a_fault(lab: GitLabServer, at_lab: At) -> None:
    lab.add("let through", labels=("ready",))
    with pytest.raises(UserFault, match="99"):
        planned(at_lab(), "99")


@pytest.mark.parametrize(
    "body", ["Depends on #1.", f"Blocked by {PATH}#1", f"Needs https://lab.test/{PATH}/-/issues/1", ""]
)
def test_what_waits_for_an_open_issue_outside_the_filter_is_left_out_and_told(
    lab: GitLabServer, at_lab: At, body: str
) -> None:
    lab.add("the blocker")
    lab.add("waits", body, labels=("ready",))
    lab.add("waits for what waits", "Depends on #2", labels=("ready",))
    lab.add("free", labels=("ready",))
    if not body:
        lab.links.append((2, 1, "is_blocked_by"))
    made = planned(at_lab())
    assert ids(made) == ["4"]
    assert notices(made) == [
        "#2 waits for #1, which is open and not in this backlog; it is left out",
        "#3 waits for #2, which is left out; it is left out",
    ]


def test_a_blocker_outside_the_filter_that_is_closed_holds_nothing(lab: GitLabServer, at_lab: At) -> None:
    lab.issues[lab.add("done")]["state"] = "closed"
    lab.add("goes on", "Depends on #1, #77", labels=("ready",))
    made = planned(at_lab())
    assert ids(made) == ["2"]
    assert notices(made) == ['#2 2 says "Depends on #1, #77": this backlog has no issue #77; it is not waited for']


def test_who_names_an_issue_that_waits_for_one_outside_is_told_to_name_both(lab: GitLabServer, at_lab: At) -> None:
    lab.add("the blocker")
    lab.add("waits", "Depends on #1", labels=("ready",))
    with pytest.raises(UserFault, match="#2 waits for #1, which is open and not in this backlog") as raised:
        planned(at_lab(), "2")
    assert "name that one too" in raised.value.hint
    made = planned(at_lab(), "1", "2")
    assert made.plan.waves == (("1",), ("2",))


def test_without_a_filter_nothing_is_read_one_by_one(lab: GitLabServer, at_lab: At) -> None:
    lab.add("goes on", "Depends on #77")
    before = len(lab.requests)
    planned(at_lab("backlog.source = 'gitlab'"))
    assert [one for one in lab.requests[before:] if one.endswith("/issues/77")] == []


def test_more_blockers_than_are_read_hold_what_names_them(
    lab: GitLabServer, at_lab: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(around, "READ_AT_MOST", 1)
    for _ in range(2):
        lab.issues[lab.add("done")]["state"] = "closed"
    lab.add("names the first", "Depends on #1", labels=("ready",))
    lab.add("names the second", "Depends on #2", labels=("ready",))
    made = planned(at_lab())
    assert ids(made) == ["3"]
    assert notices(made)[0].startswith("#4 waits for more issues outside this backlog than are read")


def test_a_pull_request_of_the_last_run_is_shown_with_its_branch(repo: Path, lab: GitLabServer, at_lab: At) -> None:
    lab.add("begun", labels=("ready",))
    git(repo, "branch", "feature/issue-1")
    project = at_lab()
    with SqliteJournal(project.places.state / "journal.db") as journal:
        data = {"branch": "feature/issue-1", "commit": git(repo, "rev-parse", "main"), "pull_request": "!7"}
        journal.add_now(RunId("r"), "1", "published:1", data)
    (one,) = planned(project).plan.issues
    assert (one.present.branch, one.present.pull_request) == ("feature/issue-1", "!7")


def tracked(repo: Path, text: str, *issues: tuple[str, Sequence[str], Sequence[str]]) -> Project:
    (repo / "luminaguard.toml").write_text(text)
    project = open_project(repo)
    for title, labels, needs in issues:
        project.store.add(title, labels=tuple(labels), needs=tuple(map(IssueId, needs)))
    return project


def test_the_local_tracker_is_filtered_by_labels_too(repo: Path) -> None:
    project = tracked(
        repo,
        "backlog.labels = ['ready', 'small']",
        ("both", ["Ready", "small"], []),
        ("one", ["ready"], []),
        ("waits for one that is not let through", ["ready", "small"], ["2"]),
    )
    made = planned(project)
    assert ids(made) == ["1"]
    assert notices(made) == ["#3 waits for #2, which is open and not in this backlog; it is left out"]
    assert ids(planned(project, "2")) == ["2"]
    assert ids(planned(project, "3", "2")) == ["2", "3"]
    project.store.close("2", comment="")
    assert ids(planned(project)) == ["1", "3"]


def test_a_backlog_file_is_filtered_by_labels_and_milestone_too(repo: Path) -> None:
    export = (
        '[{"number": 1, "title": "a", "state": "OPEN", "labels": [{"name": "ready"}], "milestone": {"title": "v1"}},'
        ' {"number": 2, "title": "b", "state": "OPEN", "labels": [{"name": "ready"}], "milestone": null},'
        ' {"number": 3, "title": "c", "state": "OPEN", "labels": [], "milestone": {"title": "v1"}}]'
    )
    (repo / "issues.json").write_text(export)
    where = "source = 'file'\npath = 'issues.json'\n"
    assert ids(planned(tracked(repo, f"[backlog]\n{where}labels = ['ready']"))) == ["1", "2"]
    assert ids(planned(tracked(repo, f"[backlog]\n{where}milestone = 'V1'"))) == ["1", "3"]
    assert ids(planned(tracked(repo, f"[backlog]\n{where}labels = ['ready']\nmilestone = 'v1'"))) == ["1"]
    assert ids(planned(tracked(repo, f"[backlog]\n{where}labels = ['nobody']"))) == []
