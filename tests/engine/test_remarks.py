"""What people say on a pull request: heard once, from those who are trusted, and sent where it belongs."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import pytest
from lander_scene import Scene

from luminaguard.engine.remarks import Ear, remarks_text, unanswered, wishes
from luminaguard.forges.base import Fate, Remark, ReviewNote
from luminaguard.journal.sqlite import SqliteJournal
from luminaguard.model.facts import Fact
from luminaguard.model.faults import Transient
from luminaguard.model.ids import IssueId, Json, Oid

SAID = Remark(id="c1", author="ann", association="owner", text="I will look", stand="said", time=2e9)
WISH = Remark(id="r1", author="ann", association="owner", text="Mend it", stand="changes", time=2e9)
LINE = Remark(id="l1", author="bob", association="member", text="Why?", stand="said", time=2e9, path="a.py", line=3)
YES = Remark(id="r2", author="ann", association="owner", text="", stand="approved", time=2e9)
STRANGER = replace(WISH, id="r3", author="eve", association="none")
NOBODY = replace(WISH, id="r4", author="eve", association=None)


@dataclass
class SaidReviews:
    """A forge where people have said what a test says."""

    said: list[Remark] = field(default_factory=list)
    is_down: bool = False
    became: Fate = field(default_factory=lambda: Fate(state="open"))

    async def post_review(self, pull: str, note: ReviewNote) -> None:
        raise AssertionError(note)

    async def fate(self, pull: str) -> Fate:
        if self.is_down:
            raise Transient("the forge is down")
        return self.became

    async def remarks(self, pull: str) -> tuple[Remark, ...]:
        assert pull == "7"
        return tuple(self.said)


@dataclass
class Hearing:
    scene: Scene
    reviews: SaidReviews = field(default_factory=SaidReviews)
    withdrawn: list[IssueId] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def withdraw(self, issue: IssueId) -> None:
        self.withdrawn.append(issue)

    async def found(self, issue: IssueId, commit: Oid) -> Fact | None:
        return await self.scene.book.add(issue, "landed", {"commit": commit})

    def hear(self, *remarks: Remark) -> None:
        self.reviews.said += remarks
        policy = replace(self.scene.policy, trusted=lambda _, association: association in ("owner", "member"))
        ear = Ear(self.reviews, policy, self.scene.book, self, lambda fact: self.told.append(fact.kind))
        anyio.run(ear.take_in)

    def add(self, kind: str, **data: Json) -> None:
        async def add() -> None:
            await self.scene.book.add("1", kind, data)

        anyio.run(add)

    def kinds(self) -> list[str]:
        return self.scene.kinds("1")


@pytest.fixture
def hearing(tmp_path: Path) -> Iterator[Hearing]:
    """An issue whose first attempt is published."""
    with SqliteJournal(tmp_path / "journal.db") as journal:
        made = Hearing(Scene(journal))
        made.add("attempt:1", words_up_to=0, remarks_up_to=0)
        made.add("published:1", pull_request="7")
        yield made


def test_remark_is_heard_once_however_often_it_is_read(hearing: Hearing) -> None:
    hearing.hear(SAID)
    hearing.hear(WISH)
    hearing.hear()
    assert [kind for kind in hearing.kinds() if kind.startswith("remark")] == ["remark:1", "remark:2"]


def test_strangers_are_not_heard(hearing: Hearing) -> None:
    hearing.hear(STRANGER, NOBODY)
    assert "remark:1" not in hearing.kinds()
    assert hearing.withdrawn == []


def test_only_a_wish_for_changes_or_words_on_a_line_takes_a_change_back(hearing: Hearing) -> None:
    hearing.hear(SAID)
    assert (wishes(hearing.scene.book, "1"), hearing.withdrawn) == ([], [])
    hearing.hear(LINE)
    assert hearing.withdrawn == ["1"]
    assert remarks_text(unanswered(hearing.scene.book, "1")) == "ann: I will look\n\nbob on a.py:3: Why?"


def test_what_an_attempt_was_told_is_not_sent_back_again(hearing: Hearing) -> None:
    hearing.hear(WISH)
    hearing.add("attempt:2", words_up_to=0, remarks_up_to=1)
    assert wishes(hearing.scene.book, "1") == []
    hearing.hear(replace(WISH, id="r9"))
    assert len(wishes(hearing.scene.book, "1")) == 1


def test_approval_counts_where_one_is_waited_for_and_once(hearing: Hearing) -> None:
    hearing.hear(YES)
    assert "approved:1" not in hearing.kinds()
    hearing.add("approval_asked:1")
    hearing.hear(replace(YES, id="r6", author="bob"))
    hearing.hear()
    assert hearing.kinds().count("approved:1") == 1
    assert "approved:2" not in hearing.kinds()


def test_approval_is_of_the_commit_that_was_looked_at(hearing: Hearing) -> None:
    hearing.add("published:2", pull_request="7", commit="new")
    hearing.add("approval_asked:2")
    hearing.hear(replace(YES, commit=Oid("old")))
    assert "approved:1" not in hearing.kinds()
    hearing.hear(replace(YES, id="r7", commit=Oid("new")))
    assert "approved:1" in hearing.kinds()


def test_approval_that_a_kill_kept_from_counting_counts_at_the_next_look(hearing: Hearing) -> None:
    hearing.add("approval_asked:1")
    hearing.add("remark:1", id=YES.id, author="ann", text="", stand="approved", time=2e9)
    hearing.hear(YES)
    assert "approved:1" in hearing.kinds()


def test_approval_beside_an_open_wish_is_none(hearing: Hearing) -> None:
    hearing.add("approval_asked:1")
    hearing.hear(LINE, YES)
    assert "approved:1" not in hearing.kinds()


def test_wish_that_its_author_has_settled_is_no_new_one(hearing: Hearing) -> None:
    line = replace(LINE, stand="changes")
    hearing.hear(line)
    hearing.add("attempt:2", words_up_to=0, remarks_up_to=1)
    hearing.reviews.said.clear()
    hearing.hear(replace(line, stand="said"))
    assert wishes(hearing.scene.book, "1") == []


def test_words_that_were_changed_are_heard_again(hearing: Hearing) -> None:
    hearing.hear(WISH)
    hearing.reviews.said.clear()
    hearing.hear(replace(WISH, text="Mend it, and the docs too"))
    assert len(hearing.scene.book.all("1", "remark")) == 2


def test_rejection_is_not_lifted_by_a_wish(hearing: Hearing) -> None:
    hearing.add("held:1", group="work", why="tried 3 times")
    hearing.add("rejected:1", by="me", why="no")
    hearing.hear(LINE)
    assert "retry:1" not in hearing.kinds()


def test_pull_request_that_a_person_closed_is_rejected_once_and_may_be_taken_up_again(hearing: Hearing) -> None:
    hearing.reviews.became = Fate(state="closed")
    hearing.hear()
    hearing.hear()
    assert (hearing.told, hearing.kinds().count("rejected:1")) == (["rejected:1"], 1)
    hearing.add("retry:1", by="me", text="")
    hearing.hear()
    assert "rejected:2" not in hearing.kinds()


def test_pull_request_that_a_person_merged_has_landed(hearing: Hearing) -> None:
    hearing.reviews.became = Fate(state="merged", commit=Oid("theirs"))
    hearing.hear(WISH)
    assert hearing.told == ["landed"]
    assert "remark:1" not in hearing.kinds()


def test_approval_of_an_earlier_commit_approves_nothing_later(hearing: Hearing) -> None:
    hearing.add("approval_asked:1")
    hearing.hear(replace(YES, time=1.0))
    assert "approved:1" not in hearing.kinds()


def test_wish_for_changes_takes_up_work_that_is_held_for_its_quality(hearing: Hearing) -> None:
    hearing.add("held:1", group="work", why="tried 3 times")
    hearing.hear(WISH)
    assert hearing.scene.book.all("1", "retry")[0].data == {"by": "ann", "text": "Mend it"}


@pytest.mark.parametrize("group", ["budget", "trust", "landing"])
def test_wish_for_changes_lifts_no_other_hold(hearing: Hearing, group: str) -> None:
    hearing.add("held:1", group=group, why="so")
    hearing.hear(WISH)
    assert "retry:1" not in hearing.kinds()


def test_forge_that_is_down_stops_nothing_and_is_heard_later(hearing: Hearing) -> None:
    hearing.reviews.is_down = True
    hearing.hear(WISH)
    hearing.reviews.is_down = False
    hearing.hear()
    assert "remark:1" in hearing.kinds()


def test_nobody_is_heard_after_the_landing(hearing: Hearing) -> None:
    hearing.add("landed", commit="c")
    hearing.hear(WISH)
    assert "remark:1" not in hearing.kinds()
