"""Tells a forge how things stand, behind the work: statuses on commits, reviews on pull requests, one comment an issue.

Everything is keyed by the forge (commit and name, commit, issue), so telling it again changes nothing: a session begins
behind what one that came to its end says was told. What cannot be told is logged, and stops nothing.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from luminaguard.engine.base import Drivers
from luminaguard.engine.book import Book
from luminaguard.engine.foreign import CHECK
from luminaguard.engine.record import findings_of, number, text
from luminaguard.forges.base import CheckState, ReviewNote
from luminaguard.model.facts import RUN, Fact
from luminaguard.model.faults import Fault, Transient
from luminaguard.model.ids import IssueId, Oid

LOG = logging.getLogger(__name__)
TOLD = frozenset(
    {"attempt", "published", "review", "checks", "approval_asked", "held", "failed", "landed", "cancelled", "waiting"}
)


class Herald:
    """One for a session."""

    def __init__(self, drivers: Drivers, book: Book) -> None:
        self._drivers = drivers
        self._book = book
        self._at_it = anyio.Lock()
        self.told_up_to = max((int(number(it.data, "told")) for it in book.all(RUN, "session_ended")), default=0)

    async def serve(self) -> None:
        """Tell what happens, for ever."""
        while True:
            await self._book.anything()
            await self.catch_up()

    async def catch_up(self) -> None:
        """Tell all that has not been told."""
        # Whoever comes while another is at it waits, so that all is told when this comes back.
        async with self._at_it:
            fresh = [fact for fact in self._book.since(self.told_up_to) if fact.subject != RUN and fact.name in TOLD]
            subjects = dict.fromkeys(IssueId(fact.subject) for fact in fresh)
            is_told = [await self._tried(fact.subject, partial(self._tell, fact)) for fact in fresh]
            is_told += [await self._tried(subject, partial(self._comment, subject)) for subject in subjects]
            # What may be told by another try is, and all with it: told twice, nothing changes.
            if fresh and all(is_told):
                self.told_up_to = fresh[-1].seq

    async def _tried(self, subject: str, tell: Callable[[], Awaitable[None]]) -> bool:
        """Tell something; False where another try may do it. What the forge refuses is logged, and not asked again."""
        try:
            await tell()
        except Transient as fault:
            LOG.info("The forge is told later how %s stands: %s", subject, fault.message)
            return False
        except Fault as fault:
            LOG.warning("The forge could not be told how %s stands: %s", subject, fault.message)
        return True

    async def _tell(self, fact: Fact) -> None:
        checking, reviewing = self._drivers.checking, self._drivers.reviewing
        published = self._published(fact)
        if published is None:
            return
        commit, pull = Oid(text(published.data, "commit")), text(published.data, "pull_request")
        if fact.name == "published" and checking is not None:
            await checking.report_check(commit, name=CHECK, state="pending", text="waits for its checks")
        elif fact.name == "checks" and checking is not None:
            state: CheckState = "passed" if fact.data["ok"] else "failed"
            await checking.report_check(commit, name=CHECK, state=state, text=text(fact.data, "why"))
        elif fact.name == "review" and reviewing is not None and pull:
            note = ReviewNote(
                commit=commit,
                ok=fact.data["ok"] is True,
                text=text(fact.data, "why"),
                findings=findings_of(fact.data["findings"]),
            )
            await reviewing.post_review(pull, note)

    def _published(self, fact: Fact) -> Fact | None:
        return fact if fact.name == "published" else self._book.get(fact.subject, f"published:{fact.number}")

    async def _comment(self, issue: IssueId) -> None:
        if self._drivers.commenting is None:
            return
        last = self._book.last(issue, *TOLD)
        assert last is not None
        await self._drivers.commenting.tell(issue, said_of(last))


def said_of(fact: Fact) -> str:
    """Say in a few plain lines how an issue stands after a fact."""
    why = text(fact.data, "why") if "why" in fact.data else ""
    match fact.name:
        case "attempt":
            return f"An agent works on it (attempt {fact.number})."
        case "published":
            return f"Work is on the branch `{text(fact.data, 'branch')}`; it is judged now."
        case "review":
            return f"Reviewed: {why}."
        case "checks":
            return f"Checked: {why}."
        case "approval_asked":
            return "It waits for approval."
        case "waiting":
            return f"It {why}."
        case "landed":
            return f"It landed as {text(fact.data, 'commit')}."
        case "cancelled":
            return "Work on it was cancelled."
        case _:
            return f"It is {fact.name}: {why}."


async def last_words(herald: Herald, *, within_s: float) -> None:
    """Tell what is left at the end of a session, as far as there is time."""
    with anyio.move_on_after(within_s, shield=True):
        await herald.catch_up()
