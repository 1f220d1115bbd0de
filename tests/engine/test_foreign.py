"""What the forge demands: checks of others awaited on what would land, and merging by it where it takes no push."""

from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest
from lander_scene import SaidForge, Scene

from luminaguard.engine.foreign import STAGE
from luminaguard.engine.lander import Gone, Result
from luminaguard.forges.base import ForeignCheck, Merged, NotMerged, Rules
from luminaguard.journal.sqlite import SqliteJournal
from luminaguard.model.facts import Fact
from luminaguard.model.faults import HostFault, Transient
from luminaguard.model.ids import Json, Oid
from luminaguard.model.work import Verdict

CI = Rules(required=("ci", "luminaguard"))
LOCKED = Rules(pushable=False, needs_pull=True, why="changes must be made through a pull request")
PENDING, PASSED = ForeignCheck(name="ci", state="pending"), ForeignCheck(name="ci", state="passed")
FAILED = ForeignCheck(name="ci", state="failed", url="https://ci.test/7")
OTHER = ForeignCheck(name="lint", state="failed")
WAITING = NotMerged(why="its checks are not there yet", is_waiting=True)
PLANNED: dict[str, Json] = {
    "title": "First",
    "kind": "implementation",
    "branch": "feature/issue-1",
    "needs": [],
    "issue": {
        **dict.fromkeys(("kind", "author", "association", "url")),
        "id": "1",
        "title": "First",
        "body": "",
        "labels": [],
    },
}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with SqliteJournal(tmp_path / "journal.db") as journal:
        scene = Scene(journal)
        scene.said = SaidForge(scene.trunk)
        scene.open()
        yield scene


def landed(scene: Scene, *, meanwhile: Callable[[], object] | None = None) -> Result:
    """Publish a change and submit it; `meanwhile` is done when the forge was looked at once."""

    async def main() -> Result:
        await published(scene)
        results: list[Result] = []

        async def submit() -> None:
            results.append(await scene.submit("1"))

        async with scene.serving(), anyio.create_task_group() as group:
            group.start_soon(submit)
            if meanwhile is not None:
                await forge_of(scene).waits.wait()
                meanwhile()
        return results[0]

    return anyio.run(main)


async def published(scene: Scene) -> None:
    await scene.book.add("1", "planned", PLANNED)
    await scene.book.add("1", "published:1", {"branch": "feature/issue-1", "commit": "c1", "pull_request": "7"})


def forge_of(scene: Scene) -> SaidForge:
    assert scene.said is not None
    return scene.said


def test_required_check_is_awaited_on_the_commit_that_would_land(scene: Scene) -> None:
    forge = forge_of(scene)
    forge.demands, forge.looks = CI, [(), (PENDING, OTHER), (PASSED, OTHER)]
    assert isinstance(landed(scene), Fact)
    assert forge.asked == ["base+c1"] * 3
    assert (STAGE, "base+c1") in scene.trunk.shown
    assert forge.reported == [("base+c1", "luminaguard", "passed")]
    assert scene.trunk.history[-1] == "base+c1"
    said = scene.kinds("1")
    assert said.index("waiting:1.1") < said.index("foreign:1.1") < said.index("landing:1.1")
    assert "waiting:1.2" not in said


def test_required_check_that_fails_sends_the_change_back_and_asks_ours_once(scene: Scene) -> None:
    forge = forge_of(scene)
    forge.demands, forge.looks = CI, [(FAILED,)]
    result = landed(scene)
    assert isinstance(result, Verdict)
    assert "ci" in result.why
    assert "https://ci.test/7" in result.log
    assert scene.trunk.history == ["base"]
    assert scene.checks.asked == ["c1", "base"]


def test_required_check_that_never_answers_holds_the_change(scene: Scene) -> None:
    forge = forge_of(scene)
    forge.demands, forge.looks, scene.wait_minutes = CI, [()], 0.0005
    scene.open()
    with pytest.raises(HostFault, match="ci"):
        with_one_fault(scene)
    assert scene.trunk.history == ["base"]


def with_one_fault(scene: Scene) -> None:
    try:
        landed(scene)
    except BaseExceptionGroup as group:
        raise only(group) from None


def only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    (one,) = group.exceptions
    return only(one) if isinstance(one, BaseExceptionGroup) else one


def test_draft_is_ready_when_our_checks_passed(scene: Scene) -> None:
    landed(scene)
    (draft,) = forge_of(scene).drafts
    assert (draft.is_draft, draft.branch, draft.head) == (False, "feature/issue-1", "c1")
    assert "Closes #1" in draft.body
    assert scene.kinds("1").index("passed:1") < scene.kinds("1").index("landing:1.1")


def test_change_that_is_cancelled_while_a_check_is_awaited_does_not_land(scene: Scene) -> None:
    forge = forge_of(scene)
    forge.demands, forge.looks = CI, [(PENDING,)]

    def cancel() -> None:
        scene.journal.add_now(scene.book.run, "1", "cancelled:1", {"by": "me"})

    assert landed(scene, meanwhile=cancel) == Gone()
    assert scene.trunk.history == ["base"]


def test_change_that_is_rejected_while_the_forge_has_it_is_taken_back(scene: Scene) -> None:
    forge = forge_of(scene)
    forge.demands, forge.outcomes = LOCKED, [WAITING]

    def reject() -> None:
        scene.journal.add_now(scene.book.run, "1", "rejected:1", {"by": "me"})

    assert landed(scene, meanwhile=reject) == Gone()
    assert forge.left == ["7"]


def test_what_nobody_wants_any_more_is_taken_back_after_a_kill(scene: Scene) -> None:
    forge = forge_of(scene)

    async def main() -> None:
        await published(scene)
        said: dict[str, Json] = {"candidate": "base+c1", "tree": "t", "base": "base", "by": "forge"}
        await scene.book.add("1", "landing:1.1", said)
        await scene.book.add("1", "cancelled:1", {"by": "me"})
        await scene.lander.recover()

    anyio.run(main)
    assert forge.left == ["7"]


def test_look_that_gets_no_answer_is_made_again(scene: Scene) -> None:
    forge = forge_of(scene)

    class Down(list[tuple[ForeignCheck, ...]]):
        def __len__(self) -> int:
            forge.looks = [(PASSED,)]
            raise Transient("503")

    forge.demands, forge.looks = CI, Down()
    assert isinstance(landed(scene), Fact)


def test_required_pattern_stands_for_all_that_it_names(scene: Scene) -> None:
    forge = forge_of(scene)
    forge.demands = Rules(required=("ci/*",))
    both = (ForeignCheck(name="ci/build", state="passed"), ForeignCheck(name="ci/test", state="pending"))
    forge.looks = [(), both, (both[0], ForeignCheck(name="ci/test", state="failed"))]
    result = landed(scene)
    assert isinstance(result, Verdict)
    assert "ci/test" in result.why


def test_two_checks_of_one_name_must_both_pass(scene: Scene) -> None:
    forge = forge_of(scene)
    forge.demands, forge.looks = CI, [(FAILED, PASSED)]
    assert isinstance(landed(scene), Verdict)


def test_where_no_push_is_taken_the_forge_merges_and_is_waited_for(scene: Scene) -> None:
    forge = forge_of(scene)
    forge.demands, forge.outcomes = LOCKED, [WAITING, WAITING, Merged(commit=Oid("base+c1"))]
    result = landed(scene)
    assert isinstance(result, Fact)
    assert (result.data["commit"], result.data["by"], result.data["base"]) == ("base+c1", "forge", "base")
    assert forge.asked == ["c1"] * 3
    assert scene.checks.asked == ["c1"]
    assert [fact.data["why"] for fact in scene.book.all("1", "waiting")] == [
        "waits for saidforge: its checks are not there yet"
    ]


def test_tree_that_the_forge_made_and_nobody_tested_is_tested_then(scene: Scene) -> None:
    forge = forge_of(scene)
    forge.demands, forge.outcomes = LOCKED, [Merged(commit=Oid("base+theirs+c1"))]
    result = landed(scene)
    assert isinstance(result, Fact)
    assert result.data["tree"] == "tree of base+theirs+c1"
    last = scene.book.all("1", "checks")[-1]
    assert (last.data["tree"], last.data["ok"], last.data["merged"]) == ("tree of base+theirs+c1", True, True)


def test_refusal_by_the_forge_holds_the_change_and_says_why(scene: Scene) -> None:
    forge = forge_of(scene)
    forge.demands, forge.outcomes = LOCKED, [NotMerged(why="an approval is missing")]
    with pytest.raises(HostFault, match="an approval is missing"):
        with_one_fault(scene)


def test_refusal_because_the_target_moved_is_tried_again_on_the_new_tip(scene: Scene) -> None:
    forge = forge_of(scene)
    forge.demands = LOCKED

    class Moves(list[Merged | NotMerged]):
        def pop(self, _at: object = 0) -> Merged | NotMerged:
            scene.trunk.history.append(Oid("theirs"))
            forge.outcomes = [Merged(commit=Oid("theirs+c1"))]
            return NotMerged(why="not up to date")

    forge.outcomes = Moves([WAITING, WAITING])
    result = landed(scene)
    assert isinstance(result, Fact)
    assert (result.data["commit"], result.data["base"]) == ("theirs+c1", "theirs")
    # The second head holds the new target, so that the forge can only make the tree that was tested.
    assert forge.asked[0] == "c1"
    assert forge.asked[1] == "theirs+c1"


def test_merge_that_a_kill_kept_from_being_written_down_is_found(scene: Scene) -> None:
    forge = forge_of(scene)
    forge.demands = LOCKED

    async def main() -> None:
        await published(scene)
        said: dict[str, Json] = {"candidate": "base+c1", "tree": "tree of base+c1", "base": "base", "by": "forge"}
        await scene.book.add("1", "landing:1.1", said)
        forge.did(Oid("base+x"))
        scene.open()
        await scene.lander.recover()

    anyio.run(main)
    fact = scene.book.get("1", "landed")
    assert fact is not None
    assert fact.data["commit"] == "base+x"


def test_pull_request_that_a_person_merged_has_landed(scene: Scene) -> None:
    forge_of(scene).did(Oid("by hand"))
    result = landed(scene)
    assert isinstance(result, Fact)
    assert (result.data["commit"], result.data["by"]) == ("by hand", "forge")
    assert len(scene.trunk.history) == 2


def test_where_the_forge_must_merge_and_cannot_it_is_said(scene: Scene) -> None:
    forge_of(scene).demands = LOCKED
    scene.can_merge = False
    scene.open()
    with pytest.raises(HostFault, match="takes no push"):
        with_one_fault(scene)
