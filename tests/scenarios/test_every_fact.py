"""The orchestrator is stopped before and after every fact that it writes; the next session goes on from there."""

import itertools
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
import pytest
from stage import Stage, new_stage

from luminaguard.app.project import open_project
from luminaguard.app.working import Wanted, Worked, work
from luminaguard.journal.sqlite import SqliteJournal
from luminaguard.model.facts import Fact
from luminaguard.model.ids import Json, RunId

# 1 and 2 write the same line; 3 is red at first; 4 needs 1.
AGENT = """
cat > /dev/null
echo "start $LUMINAGUARD_ISSUE.$LUMINAGUARD_ATTEMPT"
case $LUMINAGUARD_ISSUE.$LUMINAGUARD_ATTEMPT in
1.1 | 2.1) echo "value $LUMINAGUARD_ISSUE" > shared.txt ;;
[12].*) printf 'value 1\\nvalue 2\\n' > shared.txt ;;
3.1) echo FAULT > three.txt ;;
3.*) echo good > three.txt ;;
4.*) cat shared.txt > four.txt ;;
esac
git add -A
git commit -q -m "work on $LUMINAGUARD_ISSUE" && echo "made $(git rev-parse HEAD)"
"""
ISSUES = ("1", "2", "3", "4")


class StopError(BaseException):
    """Ends the orchestrator like a kill: nobody catches it."""


class StoppingJournal(SqliteJournal):
    """Stops everything at the `stop_at`-th fact, before it is written or after; nothing is written from then on."""

    def __init__(self, path: Path, *, stop_at: int, is_after: bool) -> None:
        super().__init__(path)
        self._stop_at = stop_at
        self._is_after = is_after
        self.count = 0

    async def add(self, run: RunId, subject: str, kind: str, data: Mapping[str, Json]) -> Fact:
        self.count += 1
        if self.count > self._stop_at or (self.count == self._stop_at and not self._is_after):
            raise StopError
        fact = await super().add(run, subject, kind, data)
        if self.count >= self._stop_at:
            raise StopError
        return fact


def session(stage: Stage, open_journal: Callable[[Path], SqliteJournal] = SqliteJournal) -> Worked:
    async def one() -> Worked:
        return await work(open_project(stage.root), Wanted(), open_journal=open_journal)

    return anyio.run(one)


def is_stopped(stage: Stage, point: int, *, is_after: bool) -> bool:
    """Run a session that is stopped at a fact; False where it ended before that."""
    try:
        session(stage, lambda path: StoppingJournal(path, stop_at=point, is_after=is_after))
    except BaseException as error:
        if not is_only_stop(error):
            raise
        return True
    return False


def is_only_stop(error: BaseException) -> bool:
    return (
        all(map(is_only_stop, error.exceptions))
        if isinstance(error, BaseExceptionGroup)
        else isinstance(error, StopError)
    )


@pytest.fixture
def as_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")


def prepared(folder: Path, isolation: str) -> Stage:
    stage = new_stage(folder / "template", isolation=isolation)
    stage.commit("A line that two want", {"shared.txt": "value\n"})
    stage.set_up(agent=AGENT, checks=("! grep -rqs FAULT *.txt",))
    for issue in ("1", "2", "3"):
        stage.issue(issue, f"Change {issue}")
    stage.issue("4", "Change 4", "Depends on #1")
    return stage


def copied(template: Stage, name: str) -> Stage:
    root = template.root.with_name(name)
    shutil.copytree(template.root, root, symlinks=True)
    return Stage(root=root, isolation=template.isolation, env=template.env)


def must_go_on_from(template: Stage, point: int, *, is_after: bool) -> bool:
    """Stop a session at a point, run the next to its end, and look; False where there is no such point any more."""
    stage = copied(template, f"at-{point}-{'after' if is_after else 'before'}")
    try:
        if not is_stopped(stage, point, is_after=is_after):
            return False
        assert session(stage).is_done, [(fact.subject, fact.kind) for fact in stage.facts()]
        stage.must_be_whole(landed=ISSUES)
        for issue in ISSUES:
            assert stage.starts(issue) == len(stage.facts(issue, "attempt")), (issue, stage.logs(issue))
        assert stage.show("shared.txt").splitlines() == ["value 1", "value 2"]
        assert (stage.show("three.txt"), "value 1" in stage.show("four.txt")) == ("good", True)
        assert [fact.data["outcome"] for fact in stage.facts("run", "session_ended")][-1] == "done"
        assert session(stage).run is None, "nothing may be left to do"
    finally:
        stage.end_everything()
        shutil.rmtree(stage.root, ignore_errors=True)
    return True


@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("as_a_user")
def test_a_session_stopped_at_some_facts_goes_on(folder: Path) -> None:
    template = prepared(folder, "none")
    tried = 0
    for point, is_after in zip(range(2, 1000, 9), itertools.cycle((False, True))):
        if not must_go_on_from(template, point, is_after=is_after):
            break
        tried += 1
    assert tried >= 5


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_a_session_stopped_at_every_fact_goes_on(folder: Path, walls: str, *, is_after: bool) -> None:
    template = prepared(folder, walls)
    points = list(itertools.takewhile(lambda it: must_go_on_from(template, it, is_after=is_after), itertools.count(1)))
    assert len(points) >= 50
