"""The lander: one deed at a time, nothing lands untested or unwanted, and a fault holds one change, not the session."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import anyio
import anyio.lowlevel
import pytest

from luminaguard.engine.base import Drivers, EditsOf, Messages, Placement, Policy, Style
from luminaguard.engine.book import Book
from luminaguard.engine.lander import Blamed, Gone, Lander, Result, Ticket
from luminaguard.forges.base import Forge
from luminaguard.gates.base import Subject
from luminaguard.journal.sqlite import SqliteJournal
from luminaguard.model.facts import RUN, Fact
from luminaguard.model.faults import HostFault, UserFault
from luminaguard.model.ids import IssueId, Json, Oid, RunId
from luminaguard.model.issue import Issue
from luminaguard.model.work import Candidate, Change, Conflict, FileChange, Verdict

RUN_ID = RunId("r1")
GREEN, RED = Verdict(ok=True, why="all checks passed"), Verdict(ok=False, why="`make test` failed", log="assert")


class LineTrunk:
    """A target as a line of names: each commit is told by what is on it."""

    def __init__(self) -> None:
        self.history = [Oid("base")]
        self.clashing: set[str] = set()
        self.moves: list[Oid] = []
        self.fault: HostFault | UserFault | None = None

    async def tip(self) -> Oid:
        await anyio.lowlevel.checkpoint()
        if self.fault is not None:
            raise self.fault
        return self.history[-1]

    async def compose(
        self, change: Oid, *, onto: Oid, style: Style, message: str, when: float, edits: EditsOf | None = None
    ) -> Candidate | Conflict:
        await anyio.lowlevel.checkpoint()
        if change in self.clashing:
            return Conflict(base=onto, paths=("a.txt",), hunks="<<<<<<<")
        return Candidate(commit=Oid(f"{onto}+{change}"), tree=Oid(f"tree of {onto}+{change}"), base=onto)

    async def land(self, candidate: Candidate) -> tuple[str, ...] | None:
        await anyio.lowlevel.checkpoint()
        if self.moves:
            self.history.append(self.moves.pop())
        if self.history[-1] != candidate.base:
            return None
        self.history.append(candidate.commit)
        return ()

    async def holds(self, commit: Oid) -> bool:
        await anyio.lowlevel.checkpoint()
        return commit in self.history

    async def files(self, older: Oid, newer: Oid) -> tuple[FileChange, ...]:
        return (FileChange(path="a.txt", added=1, removed=0),)

    async def tree(self, commit: Oid) -> Oid:
        return Oid(f"tree of {commit}")

    async def catch_up(self) -> tuple[str, ...]:
        return ()

    async def first_parents(self, older: Oid) -> tuple[tuple[Oid, Oid], ...]:
        return ()

    async def is_in(self, older: Oid, newer: Oid) -> bool:
        return older in self.history

    async def is_related(self, one: Oid, other: Oid) -> bool:
        return True

    async def fork(self, one: Oid, other: Oid) -> Oid:
        return other

    async def branch(self, name: str) -> Oid | None:
        return None

    async def publish(self, branch: str, commit: Oid) -> str:
        return ""


@dataclass
class SaidChecks:
    """Answers as it was told, change by change; held where a test says so."""

    name: str = "checks"
    answers: dict[str, list[Verdict | HostFault]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    held: dict[str, anyio.Event] = field(default_factory=dict)
    begun: dict[str, anyio.Event] = field(default_factory=dict)

    def missing(self) -> str | None:
        return None

    async def judge(self, subject: Subject) -> Verdict:
        what = str(subject.commit.rpartition("+")[2])
        self.asked.append(what)
        self.begun.setdefault(what, anyio.Event()).set()
        if what in self.held:
            await self.held[what].wait()
        await anyio.lowlevel.checkpoint()
        answers = self.answers.get(what, [])
        answer = answers.pop(0) if answers else GREEN
        if isinstance(answer, HostFault):
            raise answer
        return answer


@dataclass
class Scene:
    journal: SqliteJournal
    trunk: LineTrunk = field(default_factory=LineTrunk)
    checks: SaidChecks = field(default_factory=SaidChecks)
    commands: tuple[str, ...] = ("make test",)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        """Begin, or begin again after a kill: only the journal and the trunk are as they were."""
        drivers = Drivers(
            journal=self.journal,
            forge=cast("Forge", None),
            trunk=self.trunk,
            placement=cast("Placement", None),
            checks=self.checks,
            checks_fingerprint="same",
            review=None,
            messages=cast("Messages", None),
        )
        policy = Policy(
            target="main",
            slots=4,
            agent="a",
            attempts=3,
            minutes_per_issue=60,
            style="squash",
            human=False,
            checks=self.commands,
            trusted=lambda _author, _association: True,
        )
        self.book = Book(self.journal, RUN_ID)
        self.lander = Lander(drivers, policy, self.book)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(self.lander.serve)
                yield
                group.cancel_scope.cancel()

    async def submit(self, issue: str, *, rank: float = 1.0, attempt: int = 1) -> Result:
        change = Change(issue=IssueId(issue), attempt=attempt, commit=Oid(f"c{issue}"), title=issue)
        ticket = Ticket(change=change, issue=Issue(id=IssueId(issue), title=issue), message=issue, when=1e9, rank=rank)
        return await self.lander.submit(ticket)

    async def submitted(self, *issues: str, ranks: Sequence[float] = ()) -> dict[str, Result]:
        results: dict[str, Result] = {}

        async def one(issue: str, rank: float) -> None:
            results[issue] = await self.submit(issue, rank=rank)

        async with anyio.create_task_group() as group:
            for issue, rank in zip(issues, ranks or [1.0] * len(issues), strict=True):
                group.start_soon(one, issue, rank)
        return results

    async def say(self, issue: str, kind: str) -> None:
        await self.book.add(issue, kind, {"by": "me"})
        if kind.partition(":")[0] in ("cancelled", "rejected"):
            self.lander.withdraw(IssueId(issue))

    def kinds(self, issue: str) -> list[str]:
        return [fact.kind for fact in self.book.all(issue)]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with SqliteJournal(tmp_path / "journal.db") as journal:
        yield Scene(journal)


def test_green_change_lands_and_its_steps_are_facts(scene: Scene) -> None:
    async def main() -> Result:
        async with scene.serving():
            return await scene.submit("1")

    landed = anyio.run(main)
    assert isinstance(landed, Fact)
    assert landed.data["commit"] == scene.trunk.history[-1] == "base+c1"
    assert scene.kinds("1") == ["candidate:1.1", "checks:1.1", "landing:1.1", "landed"]


def test_every_change_is_judged_on_the_tip_that_it_lands_on(scene: Scene) -> None:
    async def main() -> dict[str, Result]:
        async with scene.serving():
            return await scene.submitted(*"12345")

    results = anyio.run(main)
    assert all(isinstance(result, Fact) for result in results.values())
    assert len(scene.trunk.history) == 6
    assert len(scene.checks.asked) == 5


def test_higher_rank_that_arrives_during_a_test_is_next(scene: Scene) -> None:
    async def main() -> None:
        async with scene.serving(), anyio.create_task_group() as group:
            scene.checks.held["c1"] = anyio.Event()
            group.start_soon(scene.submit, "1")
            await scene.checks.begun.setdefault("c1", anyio.Event()).wait()
            for issue, rank in (("low", 1.0), ("high", 9.0)):

                async def later(issue: str = issue, rank: float = rank) -> None:
                    await scene.submit(issue, rank=rank)

                group.start_soon(later)
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            scene.checks.held["c1"].set()

    anyio.run(main)
    assert scene.checks.asked == ["c1", "chigh", "clow"]


def test_conflict_and_red_go_back_and_the_others_land(scene: Scene) -> None:
    scene.trunk.clashing.add("c1")
    scene.checks.answers["c2"] = [RED, RED]

    async def main() -> dict[str, Result]:
        async with scene.serving():
            return await scene.submitted("1", "2", "3")

    results = anyio.run(main)
    assert isinstance(results["1"], Conflict)
    assert results["2"] == RED
    assert isinstance(results["3"], Fact)
    assert "landed" not in scene.kinds("2")


def test_red_base_is_blamed(scene: Scene) -> None:
    scene.checks.answers = {"c1": [RED, RED], "base": [RED]}

    async def main() -> Result:
        async with scene.serving():
            return await scene.submit("1")

    assert anyio.run(main) == Blamed(verdict=RED, base_verdict=RED)
    assert [fact.data["ok"] for fact in scene.book.all(RUN, "base_checks")] == [False]


def test_moved_target_has_the_change_judged_on_the_new_tip(scene: Scene) -> None:
    scene.trunk.moves = [Oid("somebody")]

    async def main() -> Result:
        async with scene.serving():
            return await scene.submit("1")

    anyio.run(main)
    assert scene.trunk.history == ["base", "somebody", "somebody+c1"]
    assert scene.checks.asked == ["c1", "c1"]


@pytest.mark.parametrize("word", ["cancelled", "rejected:1"])
def test_change_that_is_withdrawn_while_it_is_judged_does_not_land(scene: Scene, word: str) -> None:
    async def main() -> Result:
        results: list[Result] = []

        async def one() -> None:
            results.append(await scene.submit("1"))

        async with scene.serving(), anyio.create_task_group() as group:
            scene.checks.held["c1"] = anyio.Event()
            group.start_soon(one)
            await scene.checks.begun.setdefault("c1", anyio.Event()).wait()
            await scene.say("1", word)
            scene.checks.held["c1"].set()
        return results[0]

    assert anyio.run(main) == Gone()
    assert scene.trunk.history == ["base"]


@pytest.mark.parametrize("word", ["cancelled", "rejected:1"])
def test_change_that_was_withdrawn_before_it_was_queued_does_not_land(scene: Scene, word: str) -> None:
    async def main() -> Result:
        async with scene.serving():
            await scene.say("1", word)
            return await scene.submit("1")

    assert anyio.run(main) == Gone()
    assert scene.checks.asked == []


def test_withdrawal_right_behind_the_submission_is_not_lost(scene: Scene) -> None:
    """Both wait in the same queue: the change must not be taken up after its withdrawal was answered."""

    async def main() -> Result:
        results: list[Result] = []

        async def one() -> None:
            results.append(await scene.submit("1"))

        async with anyio.create_task_group() as group:
            group.start_soon(one)
            await anyio.lowlevel.checkpoint()
            await scene.say("1", "cancelled")
            async with scene.serving():
                while not results:
                    await anyio.lowlevel.checkpoint()
        return results[0]

    assert anyio.run(main) == Gone()
    assert scene.trunk.history == ["base"]


def test_change_that_a_person_takes_up_again_lands(scene: Scene) -> None:
    async def main() -> Result:
        async with scene.serving():
            await scene.say("1", "rejected:1")
            await scene.say("1", "retry:1")
            return await scene.submit("1")

    assert isinstance(anyio.run(main), Fact)


def test_fault_of_the_machine_is_told_to_the_change_and_the_next_one_goes_on(scene: Scene) -> None:
    scene.checks.answers["c1"] = [HostFault("the disk is full", hint="make room")]

    async def main() -> Result:
        async with scene.serving():
            with pytest.raises(HostFault, match="the disk is full"):
                await scene.submit("1")
            assert isinstance(await scene.submit("2"), Fact)
            return await scene.submit("1")

    assert isinstance(anyio.run(main), Fact), "and it may be submitted again"


def test_fault_of_the_trunk_is_told_to_every_change_and_lands_none(scene: Scene) -> None:
    scene.trunk.fault = UserFault("they have gone different ways", hint="merge it")
    told: list[str] = []

    async def main() -> None:
        async def one(issue: str) -> None:
            try:
                await scene.submit(issue)
            except UserFault as fault:
                told.append(fault.hint)

        async with scene.serving(), anyio.create_task_group() as group:
            for issue in "123":
                group.start_soon(one, issue)

    anyio.run(main)
    assert told == ["merge it"] * 3
    assert scene.trunk.history == ["base"]


def test_landing_that_a_kill_kept_from_being_written_down_is_found(scene: Scene) -> None:
    intent: dict[str, Json] = {"candidate": "base+c1", "tree": "t", "base": "base"}
    scene.journal.add_now(RUN_ID, "1", "landing:2.1", intent)
    scene.trunk.history.append(Oid("base+c1"))
    scene.open()

    async def main() -> Result:
        await scene.lander.recover()
        async with scene.serving():
            return await scene.submit("1")

    landed = anyio.run(main)
    assert isinstance(landed, Fact)
    assert (landed.data["commit"], landed.data["attempt"]) == ("base+c1", 2)
    assert scene.trunk.history == ["base", "base+c1"], "never twice"


def test_intent_without_its_deed_is_no_landing(scene: Scene) -> None:
    intent: dict[str, Json] = {"candidate": "base+old", "tree": "t", "base": "base"}
    scene.journal.add_now(RUN_ID, "1", "landing:1.1", intent)
    scene.open()

    async def main() -> Result:
        await scene.lander.recover()
        assert scene.book.get("1", "landed") is None
        async with scene.serving():
            return await scene.submit("1")

    assert isinstance(anyio.run(main), Fact)


def test_tree_that_is_known_to_be_green_is_not_tested_again_after_a_restart(scene: Scene) -> None:
    scene.trunk.moves = [Oid("somebody")]

    async def main() -> None:
        async with scene.serving():
            await scene.submit("1")
        del scene.trunk.history[1:]
        scene.open()
        scene.checks.asked.clear()
        async with scene.serving():
            await scene.submit("1", attempt=2)

    anyio.run(main)
    assert scene.checks.asked == []


def test_without_checks_what_lands_is_said_to_be_unchecked(scene: Scene) -> None:
    scene.commands = ()
    scene.open()

    async def main() -> Result:
        async with scene.serving():
            return await scene.submit("1")

    assert isinstance(anyio.run(main), Fact)
    checked = scene.book.last("1", "checks")
    assert checked is not None
    assert checked.data["why"] == "no checks are configured"
    assert scene.checks.asked == []
