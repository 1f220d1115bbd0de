"""People who put commits on the branch of a pull request: what lands holds them, or a person is asked."""

import json
from pathlib import Path

import pytest
from face_ground import Running, git
from run_ground import facts, luminaguard, opened, set_up, told

pytestmark = pytest.mark.timeout(900)  # each is several runs of the command

BRANCH = "feature/issue-1"


def waiting(clone: Path, running: Running, *, by: str = "push") -> None:
    """Run one issue until it waits for an approval."""
    set_up(clone, running, more=f'[landing]\napprove = "human"\nby = "{by}"\n')
    opened(running, "Add the file")
    assert luminaguard(clone, running, "run").returncode == 1


def person(clone: Path, running: Running) -> Path:
    """Give another person's clone, at the branch."""
    made = clone.parent / "person"
    header = f"http.extraHeader=Authorization: Bearer {running.token}"
    git(clone.parent, "-c", header, "clone", "-q", f"{running.url}/ann/demo.git", str(made))
    for name, value in (("user.name", "Bob"), ("user.email", "bob@example.org"), ("http.extraHeader", header[17:])):
        git(made, "config", name, value)
    git(made, "checkout", "-q", BRANCH)
    return made


def committed(folder: Path, name: str, *, force: bool = False) -> None:
    (folder / name).write_text("by a person\n")
    git(folder, "add", name)
    git(folder, "commit", "-q", "-m", f"Add {name}")
    git(folder, "push", "-q", *(["--force"] if force else []), "origin", f"HEAD:{BRANCH}")


def files_on_main(running: Running) -> set[str]:
    return set(git(running.folder, "ls-tree", "--name-only", "main").stdout.split())


@pytest.mark.parametrize("by", ["push", "forge"])
def test_commits_of_a_person_on_the_branch_are_judged_approved_and_land_with_the_work(
    running: Running, clone: Path, by: str
) -> None:
    waiting(clone, running, by=by)
    committed(person(clone, running), "mine.txt")
    assert luminaguard(clone, running, "approve", "1").returncode == 0
    assert luminaguard(clone, running, "run").returncode == 1  # what was approved is not what is there now
    assert {"agent:2", "published:2", "approval_asked:2"} <= set(facts(clone, "1"))
    assert "placed:2.1" not in facts(clone, "1")
    assert luminaguard(clone, running, "approve", "1").returncode == 0
    ran = luminaguard(clone, running, "run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert {"made_1.txt", "mine.txt"} <= files_on_main(running)
    report = json.loads(luminaguard(clone, running, "report", "--json").stdout)
    assert set(report["verified"].values()) == {True}
    assert {file["path"] for file in report["issues"][0]["files"]} == {"made_1.txt", "mine.txt"}
    assert json.loads(told(running, "issue", "view", "1", "--json", "state")) == {"state": "CLOSED"}


def test_a_branch_that_a_person_rewrote_waits_for_that_person_and_goes_on_when_it_holds_both(
    running: Running, clone: Path
) -> None:
    waiting(clone, running)
    theirs = person(clone, running)
    ours = git(theirs, "rev-parse", "HEAD").stdout.strip()
    git(theirs, "reset", "-q", "--hard", "origin/main")
    committed(theirs, "mine.txt", force=True)
    assert luminaguard(clone, running, "approve", "1").returncode == 0
    assert luminaguard(clone, running, "run").returncode == 1
    assert "has commits of others" in luminaguard(clone, running, "problems").stdout
    assert "made_1.txt" not in files_on_main(running)
    git(theirs, "merge", "-q", "-m", "Both", ours)
    git(theirs, "push", "-q", "origin", f"HEAD:{BRANCH}")
    assert luminaguard(clone, running, "retry", "1").returncode == 0
    assert luminaguard(clone, running, "run").returncode == 1
    assert luminaguard(clone, running, "approve", "1").returncode == 0
    ran = luminaguard(clone, running, "run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert {"made_1.txt", "mine.txt"} <= files_on_main(running)
