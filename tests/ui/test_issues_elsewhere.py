"""What a person types where the issues are in a file, or where there are none: real processes, exit codes, words."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from luminaguard.forges.store import TrackerStore

pytestmark = pytest.mark.usefixtures("no_guests")
AGENT = '[run]\nisolation = "none"\n[agents.mine]\nprotocol = "command"\nargv = ["true"]\n'
FILE = '[backlog]\nsource = "file"\npath = "{}"\nwrite_back = {}\n'


def luminaguard(repo: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "luminaguard", *words],
        cwd=repo,
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull},
        text=True,
        capture_output=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    made = tmp_path / "repo"
    subprocess.run(["git", "init", "-q", "-b", "main", "--template=", made], check=True)
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *who, "commit", "-q", "--allow-empty", "-m", "x"], cwd=made, check=True)
    return made


def store_of(repo: Path) -> TrackerStore:
    return TrackerStore(repo / ".git/luminaguard/tracker.db")


def export(path: Path, *titles: str) -> None:
    issues = [{"number": number, "title": title, "state": "OPEN"} for number, title in enumerate(titles, start=1)]
    path.write_text(json.dumps(issues))


def checks_of(repo: Path, *words: str) -> tuple[int, dict[str, dict[str, str]]]:
    ran = luminaguard(repo, *words, "doctor", "--json")
    return ran.returncode, {one["name"]: one for one in json.loads(ran.stdout)["checks"] if one["group"] == "backlog"}


@pytest.mark.parametrize("verb", [("issues", "show", "1"), ("run",), ("issues", "close", "1")])
def test_a_file_with_another_issue_of_the_same_id_is_the_users_fault(repo: Path, verb: tuple[str, ...]) -> None:
    (repo / "luminaguard.toml").write_text(AGENT)
    luminaguard(repo, "issues", "add", "Local one", "--body", "precious text")
    export(repo / "gh.json", "File one", "File two")
    refused = luminaguard(repo, "--backlog", "gh.json", *verb)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "#1 'File one' ('Local one' there, added here)" in refused.stderr
    assert [(it.title, it.body) for it in store_of(repo).issues()] == [("Local one", "precious text")]


def test_a_file_with_another_issue_of_the_same_id_can_be_planned_and_nothing_is_touched(repo: Path) -> None:
    (repo / "luminaguard.toml").write_text(AGENT)
    luminaguard(repo, "issues", "add", "Local one", "--body", "precious text")
    export(repo / "gh.json", "File one", "File two")
    export(repo / "other.json", "Another one")
    for source, titles in (("gh.json", ["File one", "File two"]), ("other.json", ["Another one"])):
        planned = luminaguard(repo, "--backlog", source, "plan", "--json")
        assert [it["title"] for it in json.loads(planned.stdout)["issues"]] == titles
        assert "not worked on" in luminaguard(repo, "--backlog", source, "issues").stderr
        code, checks = checks_of(repo, "--backlog", source)
        assert (code, checks["tracker"]["ok"]) == (2, "no")
        assert "Local one" in checks["tracker"]["said"]
    assert [(it.title, it.body) for it in store_of(repo).issues()] == [("Local one", "precious text")]


def test_what_was_exported_is_read_as_the_same_issues(repo: Path) -> None:
    luminaguard(repo, "issues", "add", "One", "--body", "text", "--priority", "0")
    luminaguard(repo, "issues", "add", "Two", "--needs", "1")
    assert luminaguard(repo, "issues", "export", "out.json").returncode == 0
    ran = luminaguard(repo, "--backlog", "out.json", "plan", "--json")
    assert [(it["id"], it["priority"], it["needs"]) for it in json.loads(ran.stdout)["issues"]] == [
        ("1", 0, []),
        ("2", None, ["1"]),
    ]
    assert store_of(repo).show("1").body == "text"


def test_the_way_out_of_an_id_that_is_taken_works(repo: Path) -> None:
    luminaguard(repo, "issues", "add", "Local one")
    export(repo / "gh.json", "File one")
    assert luminaguard(repo, "issues", "import", "gh.json").returncode == 0
    assert [it.title for it in store_of(repo).issues()] == ["Local one", "File one"]


def test_an_empty_folder_is_no_fault_of_any_verb(repo: Path) -> None:
    (repo / "issues").mkdir()
    (repo / "luminaguard.toml").write_text(AGENT + FILE.format("issues", "false"))
    for verb in ("issues", "plan", "run"):
        ran = luminaguard(repo, verb)
        assert (ran.returncode, ran.stderr) == (0, ""), verb
        assert "issues add" not in ran.stdout
    assert checks_of(repo)[1]["issues"]["ok"] == "note"


def test_an_issue_is_not_added_where_nobody_reads_it(repo: Path) -> None:
    export(repo / "gh.json", "File one")
    (repo / "luminaguard.toml").write_text(FILE.format("gh.json", "false"))
    refused = luminaguard(repo, "issues", "add", "Lost", "--json")
    told = json.loads(refused.stdout)["error"]
    assert (refused.returncode, told["message"]) == (2, "the issues of this project are at file gh.json")
    assert "gh.json" in told["hint"]
    assert store_of(repo).issues() == ()


def test_an_empty_plan_says_how_an_issue_gets_there(repo: Path) -> None:
    hint = "no open issues; add one with: luminaguard issues add TITLE"
    assert hint in luminaguard(repo, "issues").stdout.splitlines()
    assert hint in luminaguard(repo, "plan").stdout.splitlines()
    assert hint not in luminaguard(repo, "plan", "--script").stdout
    luminaguard(repo, "issues", "add", "One")
    assert hint not in luminaguard(repo, "plan").stdout


def test_a_run_that_cannot_write_back_begins_no_agent(repo: Path) -> None:
    export(repo.parent / "out.json", "One")
    (repo / "luminaguard.toml").write_text(AGENT + FILE.format("../out.json", "true"))
    refused = luminaguard(repo, "run")
    assert refused.returncode == 2
    assert "is not inside the repository" in refused.stderr
    assert "set write_back = false" in refused.stderr
    assert list((repo / ".git/luminaguard").glob("attempts/*")) == []
    code, told = checks_of(repo)
    assert (code, told["write back"]["ok"]) == (2, "no")
    assert "is not inside the repository" in told["write back"]["said"]


def test_a_run_and_its_plan_say_that_a_file_is_not_committed(repo: Path) -> None:
    export(repo / "gh.json", "One")
    (repo / "luminaguard.toml").write_text(AGENT + FILE.format("gh.json", "true"))
    for verb in (("plan",), ("run", "--attempts", "1")):
        ran = luminaguard(repo, *verb)
        assert "write_back = true cannot be kept for #1" in " ".join((ran.stdout + ran.stderr).split()), verb


def test_an_export_names_issues_as_gh_does(repo: Path) -> None:
    for words in (("Parent",), ("One", "--needs", "1"), ("Odd", "--id", "BACK-3", "--needs", "2,BACK-4")):
        assert luminaguard(repo, "issues", "add", *words).returncode == 0
    assert luminaguard(repo, "issues", "export", "out.json").returncode == 0
    parent, one, odd = json.loads((repo / "out.json").read_text())
    assert parent["blockedBy"] == {"nodes": [], "totalCount": 0}
    assert one["blockedBy"] == {"nodes": [{"number": 1}], "totalCount": 1}
    assert odd["number"] == "BACK-3"
    assert odd["blockedBy"] == {"nodes": [{"number": 2}, {"number": "BACK-4"}], "totalCount": 2}
