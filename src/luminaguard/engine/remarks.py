"""What people say on pull requests: written down, sent back to the agent, or taken for an approval.

Only people whose issues would be worked on are heard: what others say there is for people to read.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import anyio

from luminaguard.engine.base import Policy
from luminaguard.engine.book import Book
from luminaguard.engine.record import number, text
from luminaguard.engine.words import answer_to, is_over, is_stopped
from luminaguard.forges.base import Remark, Reviewing
from luminaguard.model.facts import RUN, Fact
from luminaguard.model.faults import Fault
from luminaguard.model.ids import IssueId, Json, Oid

LOG = logging.getLogger(__name__)
LIFTED_BY_WISHES = ("work", "review")
"""The groups of holds that a wish for changes lifts: the others are not about the work."""


def unanswered(book: Book, issue: str) -> list[Fact]:
    """List what was said on the pull request and no attempt was told of."""
    told = max((int(number(it.data, "remarks_up_to")) for it in book.all(issue, "attempt")), default=0)
    return [fact for fact in book.all(issue, "remark") if fact.number > told and text(fact.data, "stand") != "approved"]


def wishes(book: Book, issue: str) -> list[Fact]:
    """List those of them that want something changed: a review that asks for it, or words on a line."""
    found = unanswered(book, issue)
    return [fact for fact in found if text(fact.data, "stand") == "changes" or text(fact.data, "path")]


def remarks_text(remarks: Sequence[Fact]) -> str:
    """Write remarks for an agent to read."""
    return "\n\n".join(map(_one, remarks))


def _one(remark: Fact) -> str:
    path, line = text(remark.data, "path"), int(number(remark.data, "line"))
    where = f" on {path}{f':{line}' if line else ''}" if path else ""
    return f"{text(remark.data, 'author')}{where}: {text(remark.data, 'text') or 'asks for changes'}"


async def take_approval(book: Book, issue: str) -> None:
    """Take an approval of the last commit on the pull request for the one that is waited for, if one is."""
    asked, published = book.last(issue, "approval_asked"), book.last(issue, "published")
    if asked is None or published is None or answer_to(book, asked) is not None:
        return
    said = [it for it in book.all(issue, "remark") if text(it.data, "stand") == "approved" and _is_of(it, published)]
    if said and not wishes(book, issue):
        await book.add_another(issue, "approved", {"by": text(said[-1].data, "author")})


def _is_of(remark: Fact, published: Fact) -> bool:
    """Tell whether a remark is about what was published last; by the clocks where the forge does not tell."""
    commit = text(remark.data, "commit")
    if commit:
        return commit == text(published.data, "commit")
    return number(remark.data, "time") >= published.time


class Landing(Protocol):
    """What the ear needs of the lander."""

    def withdraw(self, issue: IssueId) -> None:
        """Take an issue's change out of the queue."""

    async def found(self, issue: IssueId, commit: Oid) -> Fact | None:
        """Record what somebody merged for an issue."""


class Ear:
    """Hears what people say and do while an issue's pull request is open. `told` hears of facts that end its work."""

    def __init__(
        self, reviewing: Reviewing, policy: Policy, book: Book, lander: Landing, told: Callable[[Fact], None]
    ) -> None:
        self._reviewing = reviewing
        self._policy = policy
        self._book = book
        self._lander = lander
        self._told = told

    async def listen(self) -> None:
        """Hear for ever."""
        while True:
            await anyio.sleep(self._policy.poll_s)
            await self.take_in()

    async def take_in(self) -> None:
        """Write down what was said and done since the last look; what cannot be heard stops nothing."""
        for subject in self._book.subjects():
            published = self._book.last(subject, "published")
            if subject == RUN or published is None or is_over(self._book, subject):
                continue
            try:
                await self._look(IssueId(subject), published)
            except Fault as fault:
                LOG.warning("What is said of %s could not be heard: %s", subject, fault.message)

    async def _look(self, issue: IssueId, published: Fact) -> None:
        pull = text(published.data, "pull_request")
        fate = await self._reviewing.fate(pull)
        if fate.state == "merged" and fate.commit is not None:
            if (landed := await self._lander.found(issue, fate.commit)) is not None:
                self._told(landed)
            return
        if fate.state == "closed":
            await self._closed(issue, published)
            return
        fresh = [await self._heard(issue, remark) for remark in await self._reviewing.remarks(pull)]
        await take_approval(self._book, issue)
        if wishes(self._book, issue):
            await self._lifted(issue)
            if any(fresh):
                self._lander.withdraw(issue)

    async def _closed(self, issue: IssueId, published: Fact) -> None:
        """Take a pull request that somebody closed for a rejection, once: a retry opens it again."""
        said = self._book.last(issue, "rejected")
        if said is None or said.seq < published.seq:
            data: dict[str, Json] = {"by": "somebody at the forge", "why": "the pull request was closed"}
            self._told(await self._book.add_another(issue, "rejected", data))

    async def _heard(self, issue: IssueId, remark: Remark) -> bool:
        """Write a remark down; False where it is known, or from somebody who is not heard."""
        known = [it for it in self._book.all(issue, "remark") if text(it.data, "id") == remark.id]
        # One that was a wish and was settled is no news; one whose words were changed is.
        is_known = any(text(it.data, "text") == remark.text for it in known) and (
            remark.stand == "said" or any(text(it.data, "stand") == remark.stand for it in known)
        )
        if is_known or not self._policy.trusted(remark.author, remark.association or "none"):
            return False
        data: dict[str, Json] = {
            "id": remark.id,
            "author": remark.author,
            "text": remark.text,
            "stand": remark.stand,
            "path": remark.path,
            "line": remark.line,
            "time": remark.time,
            "commit": remark.commit,
        }
        await self._book.add_another(issue, "remark", data)
        return True

    async def _lifted(self, issue: IssueId) -> None:
        """Take a wish for changes of work that is held for its quality for a `luminaguard retry` with these words."""
        stop = self._book.last(issue, "held", "failed", "rejected")
        if stop is None or not is_stopped(self._book, issue) or text(stop.data, "group") not in LIFTED_BY_WISHES:
            return
        last = wishes(self._book, issue)[-1]
        if last.seq > stop.seq:
            await self._book.add_another(
                issue, "retry", {"by": text(last.data, "author"), "text": text(last.data, "text")}
            )
