"""The doctor, on real repositories: what holds, what does not, and that one broken thing hides no other."""

import json
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from luminaguard.app.doctor import Diagnosis, diagnose
from luminaguard.app.doctor_check import Check, Ok, Who
from luminaguard.app.doctor_machine import Levels
from luminaguard.forges.store import TrackerStore
from luminaguard.host.detached import Command, ask_to_stop, start, wait
from luminaguard.host.git import find_repository
from luminaguard.host.limits import Limits
from luminaguard.host.locks import only_one
from luminaguard.journal.sqlite import SqliteJournal
from luminaguard.model.ids import IssueId, RunId
from luminaguard.model.isolation import Isolation
from luminaguard.sandboxes.namespace import Namespace
from luminaguard.sandboxes.none import NoWalls
from luminaguard.sandboxes.toolchain import Toolchain

pytestmark = pytest.mark.usefixtures("no_guests")
SETTINGS = '[agents.mine]\nprotocol = "command"\nargv = ["sh"]\n'
NO_LEVELS: Levels = {Isolation.NONE: NoWalls()}


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", folder, "-c", "user.name=A", "-c", "user.email=a@b.invalid", *words], check=True)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main", "--template=")
    (folder / "Makefile").write_text("test:\n\t@true\n")
    (folder / "luminaguard.toml").write_text(SETTINGS)
    git(folder, "config", "user.name", "Ada")
    git(folder, "config", "user.email", "ada@example.invalid")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    TrackerStore(folder / ".git/luminaguard/tracker.db").add("one thing")
    return folder


def set_to(repo: Path, text: str) -> None:
    (repo / "luminaguard.toml").write_text(text)
    git(repo, "commit", "-q", "-a", "-m", "settings")


def diagnosed(repo: Path, *, backlog: Path | None = None, levels: Levels = NO_LEVELS) -> Diagnosis:
    return anyio.run(lambda: diagnose(repo, backlog=backlog, levels=levels))


def by_name(found: Diagnosis) -> dict[tuple[str, str], Check]:
    return {(check.group, check.name): check for check in found.checks}


def looked(repo: Path, group: str, name: str) -> Check:
    return by_name(diagnosed(repo))[group, name]


def test_a_good_repository_is_ready(repo: Path) -> None:
    set_to(repo, SETTINGS + '[run]\nisolation = "none"\n')
    found = diagnosed(repo)
    assert [check for check in found.checks if check.ok is Ok.NO] == []
    assert found.is_ready


def test_every_no_says_the_way_out(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "luminaguard.toml").write_text("[landing]\ntarget = 'gone'\n")
    found = diagnosed(tmp_path)
    wrong = [check for check in found.checks if check.ok is Ok.NO]
    assert {(check.group, check.name) for check in wrong} >= {
        ("git", "commit"),
        ("git", "target"),
        ("agents", "at work"),
    }
    assert all(check.way_out for check in wrong)


def test_a_folder_without_a_repository_is_told_and_the_walls_are_tried_all_the_same(tmp_path: Path) -> None:
    found = anyio.run(lambda: diagnose(tmp_path))
    told = by_name(found)
    assert told["git", "repository"].ok is Ok.NO
    assert str(tmp_path) in told["git", "repository"].said
    assert ("isolation", "namespace") in told
    assert not found.is_ready


def test_a_repository_without_a_commit_is_told(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    assert looked(tmp_path, "git", "commit").ok is Ok.NO


def test_a_target_that_is_not_there_is_told(repo: Path) -> None:
    set_to(repo, SETTINGS + '[landing]\ntarget = "release"\n')
    assert "no branch 'release'" in looked(repo, "git", "target").said


def test_broken_settings_are_told_with_their_line_and_hide_nothing_else(repo: Path) -> None:
    set_to(repo, "[run]\nslots = 0\n")
    found = diagnosed(repo)
    told = by_name(found)
    assert told["settings", "file"].ok is Ok.NO
    assert "luminaguard.toml:2" in told["settings", "file"].said
    assert told["backlog", "issues"].ok is Ok.NOTE
    assert told["checks", "commands"].ok is Ok.YES
    assert told["git", "target"].ok is Ok.YES
    assert found.must_act >= {Who.USER}


def test_without_settings_there_is_no_agent_and_init_is_the_way_out(repo: Path) -> None:
    git(repo, "rm", "-q", "luminaguard.toml")
    git(repo, "commit", "-q", "-m", "none")
    told = by_name(diagnosed(repo))
    assert told["settings", "file"].ok is Ok.NOTE
    assert told["agents", "at work"].ok is Ok.NO
    assert "luminaguard init" in told["agents", "at work"].way_out


def test_an_agent_at_work_that_is_missing_is_for_the_machine_to_mend(repo: Path) -> None:
    set_to(repo, '[agents.mine]\nprotocol = "command"\nargv = ["no-such-agent-program"]\n[run]\nisolation = "none"\n')
    found = diagnosed(repo)
    assert "no-such-agent-program" in by_name(found)["agents", "mine"].said
    assert found.must_act == {Who.MACHINE}


def test_an_agent_that_is_not_at_work_may_be_missing(repo: Path) -> None:
    spare = '[agents.spare]\nprotocol = "command"\nargv = ["no-such-agent-program"]\n'
    set_to(repo, SETTINGS + spare + '[run]\nagent = "mine"\nisolation = "none"\n')
    found = diagnosed(repo)
    assert by_name(found)["agents", "spare"].ok is Ok.NOTE
    assert found.is_ready


def test_a_reviewer_that_is_missing_is_told(repo: Path) -> None:
    reviewer = '[agents.reader]\nprotocol = "replay"\nscript = "gone.json"\n[review]\nagent = "reader"\n'
    set_to(repo, SETTINGS + reviewer + '[run]\nagent = "mine"\n')
    assert looked(repo, "review", "agent").ok is Ok.NO


def test_an_agent_program_that_the_walls_hide_is_told(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "my-agent").write_text("#!/bin/sh\n")
    (hidden / "my-agent").chmod(0o755)
    monkeypatch.setenv("PATH", str(hidden), prepend=":")
    set_to(repo, '[agents.mine]\nprotocol = "command"\nargv = ["my-agent"]\n')
    walls = Namespace(repo / ".git/luminaguard", toolchain=Toolchain(shown=(), path=(), env={}))
    if why := walls.missing():
        pytest.skip(f"no namespace here: {why}")
    told = by_name(diagnosed(repo, levels={Isolation.NAMESPACE: walls}))
    assert told["agents", "mine"].ok is Ok.YES
    assert told["agents", "inside"].ok is Ok.NO


def test_without_a_level_that_works_the_machine_must_act(repo: Path) -> None:
    found = diagnosed(repo)
    taken = by_name(found)["isolation", "taken"]
    assert (taken.ok, taken.who) == (Ok.NO, Who.MACHINE)
    assert "isolation = 'none'" in taken.way_out
    assert found.must_act == {Who.MACHINE}


def test_the_level_that_auto_takes_is_told_with_its_reason(repo: Path) -> None:
    walls = Namespace(repo / ".git/luminaguard")
    if why := walls.missing():
        pytest.skip(f"no namespace here: {why}")
    told = by_name(diagnosed(repo, levels={Isolation.NAMESPACE: walls}))
    assert "'namespace' works here" in told["isolation", "taken"].said
    assert told["isolation", "vm"].ok is Ok.NOTE


def test_files_that_differ_are_named(repo: Path) -> None:
    (repo / "Makefile").write_text("test:\n\t@false\n")
    (repo / "new.txt").write_text("new")
    tree = looked(repo, "working tree", "clean")
    assert tree.ok is Ok.NOTE
    assert "Makefile" in tree.said
    assert "new.txt" in tree.said


def test_landings_that_wait_beside_the_branch_are_counted(repo: Path) -> None:
    git(repo, "commit", "-q", "--allow-empty", "-m", "landed")
    git(repo, "update-ref", "refs/luminaguard/target", "HEAD")
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    assert looked(repo, "working tree", "pending").said.startswith("1 landed beside 'main'")


def test_the_users_hooks_are_named(repo: Path) -> None:
    hooks = repo / ".git/hooks"
    hooks.mkdir()
    (hooks / "pre-commit").write_text("#!/bin/sh\n")
    (hooks / "pre-push.sample").write_text("#!/bin/sh\n")
    found = looked(repo, "hooks", "hooks")
    assert found.ok is Ok.NOTE
    assert "pre-commit" in found.said
    assert "sample" not in found.said


def test_hooks_are_looked_for_where_git_is_told_to(repo: Path) -> None:
    (repo / ".githooks").mkdir()
    (repo / ".githooks/commit-msg").write_text("#!/bin/sh\n")
    git(repo, "config", "core.hooksPath", ".githooks")
    assert "commit-msg" in looked(repo, "hooks", "hooks").said


def test_the_open_issues_are_counted(repo: Path) -> None:
    found = looked(repo, "backlog", "issues")
    assert found.ok is Ok.YES
    assert found.said.startswith("1 open of 1 issue ")


def test_needs_that_go_round_in_a_circle_are_told(repo: Path) -> None:
    store = TrackerStore(repo / ".git/luminaguard/tracker.db")
    store.add("hen", id="hen", needs=(IssueId("egg"),))
    store.add("egg", id="egg", needs=(IssueId("hen"),))
    found = looked(repo, "backlog", "issues")
    assert found.ok is Ok.NO
    assert "hen" in found.said


def test_a_backlog_that_is_not_there_hides_nothing_else(repo: Path) -> None:
    set_to(repo, SETTINGS + '[backlog]\nsource = "file"\npath = "gone"\n')
    told = by_name(diagnosed(repo))
    assert told["backlog", "issues"].ok is Ok.NO
    assert told["checks", "commands"].ok is Ok.YES
    assert told["agents", "mine"].ok is Ok.YES


def test_a_backlog_that_is_named_is_read_instead(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "11.md").write_text("# One\n")
    (tmp_path / "12.md").write_text("# Two\n")
    told = by_name(diagnosed(repo, backlog=tmp_path))
    assert "2 open" in told["backlog", "issues"].said


def test_no_checks_are_told(repo: Path) -> None:
    git(repo, "rm", "-q", "Makefile")
    git(repo, "commit", "-q", "-m", "no tests")
    assert looked(repo, "checks", "commands").ok is Ok.NOTE


def test_a_check_whose_program_is_missing_is_told(repo: Path) -> None:
    set_to(repo, SETTINGS + '[checks]\nrun = ["no-such-test-program --all"]\n')
    assert looked(repo, "checks", "no-such-test-program").ok is Ok.NOTE


def test_a_run_at_work_is_told_with_its_process(repo: Path) -> None:
    with only_one(find_repository(repo).state / "lock"):
        found = looked(repo, "run", "at work")
    assert found.ok is Ok.NOTE
    assert "process" in found.said


def test_what_an_interrupted_run_left_is_told(repo: Path) -> None:
    state, run = find_repository(repo).state, RunId("20260101-000000-0001")
    with SqliteJournal(state / "journal.db") as journal:
        journal.add_now(run, "1", "planned", {})
    place = state / "attempts" / run / "1" / "1.1"
    command = Command(argv=("/bin/sleep", "600"), env={}, cwd=repo, limits=Limits(), die_with_parent=True)
    (repo / ".git/HEAD.lock").touch()
    start(place, command, timeout_s=600)
    try:
        told = by_name(diagnosed(repo))
    finally:
        ask_to_stop(place)
        ended = anyio.run(wait, place)
    assert ended.cause == "cancelled"
    assert str(run) in told["run", "unfinished"].said
    assert "#1" in told["run", "agents"].said
    assert "HEAD.lock" in told["run", "locks"].said


def test_the_command_line_tells_programs_what_is_ready_and_who_must_act(repo: Path) -> None:
    argv = [sys.executable, "-m", "luminaguard", "doctor", "--json", "--repo", str(repo)]
    set_to(repo, SETTINGS + '[run]\nisolation = "vm"\nvm_image = "/no/such/image"\n')
    shown = subprocess.run(argv, text=True, capture_output=True, check=False)
    told = json.loads(shown.stdout)
    assert (shown.returncode, told["schema"], told["ready"]) == (3, "luminaguard/doctor@1", False)
    assert {check["ok"] for check in told["checks"]} == {"yes", "no", "note"}
    set_to(repo, "slots = 1\n" + SETTINGS)
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 2
    set_to(repo, SETTINGS + '[run]\nisolation = "none"\n')
    shown = subprocess.run(argv, text=True, capture_output=True, check=False)
    assert (shown.returncode, json.loads(shown.stdout)["ready"]) == (0, True)
