"""What a session begins with: the tracker's word on what is closed, and on what was opened again."""

from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from lander_scene import Scene, issue_planned

from luminaguard.engine.assignment import assignment_of
from luminaguard.engine.opening import write_closed, write_plan
from luminaguard.engine.orders import Orders
from luminaguard.journal.sqlite import SqliteJournal
from luminaguard.model.ids import IssueId, Json

ONE = frozenset({IssueId("1")})


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with SqliteJournal(tmp_path / "journal.db") as journal:
        yield Scene(journal)


def test_what_is_closed_is_cancelled_once_and_told(scene: Scene) -> None:
    async def main() -> list[str]:
        await write_plan(scene.book, issue_planned("1"))
        return [fact.kind for _ in range(2) for fact in await write_closed(scene.book, ONE)]

    assert anyio.run(main) == ["cancelled:1"]


def test_what_has_landed_is_not_cancelled(scene: Scene) -> None:
    async def main() -> None:
        await write_plan(scene.book, issue_planned("1"))
        await scene.book.add("1", "landed", {"commit": "c"})
        assert await write_closed(scene.book, ONE) == ()

    anyio.run(main)


def test_what_the_tracker_closed_goes_on_when_it_is_open_again_and_what_a_person_cancelled_does_not(
    scene: Scene,
) -> None:
    async def main() -> None:
        await write_plan(scene.book, issue_planned("1", "2"))
        await write_closed(scene.book, ONE)
        await scene.book.add("2", "cancelled:1", {"by": "me"})
        await write_plan(scene.book, issue_planned("1", "2"))

    anyio.run(main)
    assert scene.book.last("1", "cancelled", "retry") == scene.book.get("1", "retry:1")
    assert scene.book.get("2", "retry:1") is None


def test_words_that_come_while_the_work_waits_to_be_sent_back_are_told_with_it(scene: Scene) -> None:
    async def main() -> str:
        await write_plan(scene.book, issue_planned("1"))
        orders = Orders(scene.session, assignment_of(scene.book, "1"))
        said: dict[str, Json] = {"id": "1", "author": "ann", "text": "Mend it", "stand": "changes"}
        await scene.book.add("1", "attempt:1", {"words_up_to": 0, "remarks_up_to": 0})
        await scene.book.add("1", "remark:1", said)
        await scene.book.add("1", "again:1", {"why": "remarks", "what": "x", "feedback": "ann: Mend it"})
        await scene.book.add("1", "remark:2", {**said, "id": "2", "text": "And rename it"})
        await orders.open(2)
        return orders.order(2).brief.prompt

    prompt = anyio.run(main)
    assert "Mend it" in prompt
    assert "And rename it" in prompt
    assert scene.book.all("1", "attempt")[-1].data["remarks_up_to"] == 2
