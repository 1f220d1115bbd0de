"""The lander: one deed at a time, nothing lands untested or unwanted, and a fault holds one change, not the session."""

from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from lander_scene import RED, RUN_ID, Scene

from luminaguard.engine.lander import Blamed, Gone, Result
from luminaguard.journal.sqlite import SqliteJournal
from luminaguard.model.facts import RUN, Fact
from luminaguard.model.faults import HostFault, UserFault
from luminaguard.model.ids import Json, Oid
from luminaguard.model.work import Conflict


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
