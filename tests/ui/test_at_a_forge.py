"""What a person types where the issues live on a forge that speaks GitHub's language: real processes, real HTTP."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from face_ground import Running, git

from luminaguard.forges.store import TrackerStore
from luminaguard.forges.talk import Talk
from luminaguard.journal.sqlite import SqliteJournal
from luminaguard.model.ids import IssueId, Json, RunId

pytestmark = pytest.mark.usefixtures("no_guests")
BACKLOG = '[backlog]\nsource = "github"\nrepository = "ann/demo"\nbase_url = "{}/api/v3"\nlabels = ["ready"]\n'
AGENT = '[run]\nisolation = "none"\n[agents.mine]\nprotocol = "command"\nargv = ["sh"]\n[checks]\nrun = ["true"]\n'


@pytest.fixture
def clone(running: Running, tmp_path: Path) -> Path:
    made = tmp_path / "clone"
    header = f"http.extraHeader=Authorization: Bearer {running.token}"
    git(tmp_path, "-c", header, "clone", "-q", f"{running.url}/ann/demo.git", str(made))
    for name, value in (("user.name", "Ann"), ("user.email", "ann@example.org")):
        git(made, "config", name, value)
    set_to(made, BACKLOG.format(running.url) + AGENT)
    (made / ".git/info/exclude").write_text("luminaguard.toml\n")
    return made


def set_to(clone: Path, text: str) -> None:
    (clone / "luminaguard.toml").write_text(text)


def store_of(running: Running) -> TrackerStore:
    return TrackerStore(running.folder / ".git/luminaguard/tracker.db")


def luminaguard(clone: Path, token: str, *words: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "GH_", "GITHUB_"))}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "luminaguard", *words],
        cwd=clone,
        env={**kept, "GITHUB_TOKEN": token, "GIT_CONFIG_GLOBAL": os.devnull},
        text=True,
        capture_output=True,
        check=False,
        timeout=120,
    )


def ran_once(clone: Path, title: str) -> None:
    """Leave a run behind that landed one issue of this title."""
    rows: tuple[tuple[str, str, Mapping[str, Json]], ...] = (
        ("run", "started", {"target": "main"}),
        ("1", "planned", {"title": title}),
        ("1", "landed", {"commit": "a" * 40, "tree": "b" * 40, "files": []}),
    )
    with SqliteJournal(clone / ".git/luminaguard/journal.db") as journal:
        for subject, kind, data in rows:
            journal.add_now(RunId("20260213-162640-aaaa"), subject, kind, data)


def test_a_report_is_posted_where_the_settings_say_and_edited_when_it_is_posted_again(
    running: Running, clone: Path
) -> None:
    store = store_of(running)
    store.add("Add the file", labels=("ready",))
    store.add("Reports")
    ran_once(clone, "Add the file, @team, fixes #2")
    set_to(clone, BACKLOG.format(running.url) + AGENT + '[report]\nissue = "2"\n')
    first = luminaguard(clone, running.token, "report", "--post")
    assert first.returncode == 0, first.stderr
    second = luminaguard(clone, running.token, "report", "--post", "--json")
    told = json.loads(second.stdout)
    assert told["schema"] == "luminaguard/posted@1"
    assert told["url"] == first.stdout.strip()
    assert told["url"].startswith("http")
    (comment,) = Talk(store).comments("2")
    assert "LuminaGuard run 20260213-162640-aaaa" in comment.text
    assert "1 of 1 issue landed" in comment.text
    assert "@team" not in comment.text
    assert "fixes #2" not in comment.text


def test_a_report_without_a_place_says_what_to_set(running: Running, clone: Path) -> None:
    ran_once(clone, "Add the file")
    refused = luminaguard(clone, running.token, "report", "--post")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "the settings name no place for a report" in refused.stderr
    assert 'issue = "12" or category = "General" under [report]' in refused.stderr


def test_a_person_names_an_issue_that_the_filter_does_not_let_through(running: Running, clone: Path) -> None:
    store = store_of(running)
    store.add("let through", labels=("ready",))
    store.add("not let through")
    store.add("waits", labels=("ready",), needs=(IssueId("2"),))
    named = json.loads(luminaguard(clone, running.token, "plan", "2", "--json").stdout)
    assert [issue["id"] for issue in named["issues"]] == ["2"]
    listed = luminaguard(clone, running.token, "plan")
    assert "waits for #2, which is open and not in this backlog; it is left out" in " ".join(listed.stdout.split())
    absent = luminaguard(clone, running.token, "plan", "99")
    assert (absent.returncode, "99" in absent.stderr) == (2, True)


def checks_of(clone: Path, token: str) -> tuple[int, dict[tuple[str, str], dict[str, str]]]:
    ran = luminaguard(clone, token, "doctor", "--json")
    assert "Traceback" not in ran.stderr
    return ran.returncode, {(one["group"], one["name"]): one for one in json.loads(ran.stdout)["checks"]}


def test_the_doctor_says_who_we_are_at_the_forge_and_what_the_target_takes(running: Running, clone: Path) -> None:
    store_of(running).add("let through", labels=("ready",))
    code, told = checks_of(clone, running.token)
    assert told["forge", "reachable"]["ok"] == "yes"
    assert "github ann/demo answers, and knows us as ann" in told["forge", "reachable"]["said"]
    assert told["forge", "branch protection"]["said"] == "'main' takes pushes of ours: landings are pushed"
    assert told["forge", "git"]["said"] == "'origin' can be read, and lets us push branches"
    assert told["backlog", "issues"]["ok"] == "yes"
    assert code == 0
    assert git(running.folder, "for-each-ref", "refs/heads/luminaguard").stdout == ""


def test_the_doctor_looks_at_everything_where_the_token_is_refused(running: Running, clone: Path) -> None:
    code, told = checks_of(clone, "wrong")
    wrong = {key for key, one in told.items() if one["ok"] == "no"}
    assert wrong >= {("backlog", "issues"), ("forge", "permissions"), ("forge", "branch protection"), ("forge", "git")}
    assert all(told[key]["way_out"] for key in wrong)
    assert told["agents", "mine"]["ok"] == "yes"
    assert told["git", "target"]["ok"] == "yes"
    assert "wrong" not in json.dumps([one["said"] + one["way_out"] for one in told.values()])
    assert code in (2, 3)


def test_the_doctor_looks_at_everything_where_the_forge_is_gone(running: Running, clone: Path) -> None:
    set_to(clone, BACKLOG.format("http://127.0.0.1:9") + AGENT)
    git(clone, "remote", "set-url", "origin", "http://127.0.0.1:9/ann/demo.git")
    code, told = checks_of(clone, running.token)
    assert {name for (group, name), one in told.items() if group == "forge" and one["ok"] == "no"} >= {
        "reachable",
        "permissions",
        "branch protection",
        "git",
    }
    assert told["settings", "file"]["ok"] == "yes"
    assert ("isolation", "taken") in told
    assert code == 3


def test_a_token_that_may_only_read_is_told_what_it_lacks(running: Running, clone: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "luminaguard", "serve", "--forge", "--new-token", "read", "--repo", str(running.folder)],
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert made.returncode == 0, made.stderr
    _, told = checks_of(clone, made.stdout.split()[-1])
    assert told["forge", "reachable"]["ok"] == "yes"
    lacking = [one for (group, name), one in told.items() if group == "forge" and name.endswith(": write")]
    assert any(one["ok"] == "no" for one in lacking)
    assert all("needs at least issues, pull requests, contents" in one["way_out"] for one in lacking)
    assert told["forge", "git"]["ok"] == "no"
