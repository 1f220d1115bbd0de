"""What people say on pull requests: written down, sent back to the agent, or taken for an approval.

Only people whose issues would be worked on are heard: what others say there is for people to read.
"""

import logging
from collections.abc import Callable, Sequence

import anyio

from luminaguard.engine.base import Policy
from luminaguard.engine.book import Book
from luminaguard.engine.record import number, text
from luminaguard.forges.base import Remark, Reviewing
from luminaguard.model.facts import RUN, Fact
from luminaguard.model.faults import Fault
from luminaguard.model.ids import IssueId, Json

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


class Ear:
    """Hears what people say while an issue's pull request is open. `withdraw` takes a change out of the queue."""

    def __init__(self, reviewing: Reviewing, policy: Policy, book: Book, withdraw: Callable[[IssueId], None]) -> None:
        self._reviewing = reviewing
        self._policy = policy
        self._book = book
        self._withdraw = withdraw

    async def listen(self) -> None:
        """Hear for ever."""
        while True:
            await anyio.sleep(self._policy.poll_s)
            await self.take_in()

    async def take_in(self) -> None:
        """Write down what was said since the last look; what cannot be heard stops nothing."""
        for subject in self._book.subjects():
            if subject != RUN and (pull := self._open_pull(subject)):
                try:
                    remarks = await self._reviewing.remarks(pull)
                except Fault as fault:
                    LOG.warning("What is said of %s could not be heard: %s", subject, fault.message)
                    continue
                for remark in remarks:
                    await self._heard(subject, remark)

    def _open_pull(self, subject: str) -> str:
        published, word = (
            self._book.last(subject, "published"),
            self._book.last(subject, "landed", "cancelled", "retry"),
        )
        is_over = word is not None and word.name != "retry"
        return "" if published is None or is_over else text(published.data, "pull_request")

    async def _heard(self, subject: str, remark: Remark) -> None:
        known = {(text(it.data, "id"), text(it.data, "stand")) for it in self._book.all(subject, "remark")}
        is_known = (remark.id, remark.stand) in known
        if is_known or not self._policy.trusted(remark.author, remark.association or "none"):
            return
        data: dict[str, Json] = {
            "id": remark.id,
            "author": remark.author,
            "text": remark.text,
            "stand": remark.stand,
            "path": remark.path,
            "line": remark.line,
            "time": remark.time,
        }
        await self._add(subject, "remark", data)
        if remark.stand == "approved":
            await self._approved(subject, remark)
        elif wishes(self._book, subject):
            await self._lifted(subject, remark)
            self._withdraw(IssueId(subject))

    async def _approved(self, subject: str, remark: Remark) -> None:
        """Take an approval for that of `luminaguard approve`, where it is of what waits for one."""
        asked, published = self._book.last(subject, "approval_asked"), self._book.last(subject, "published")
        answer = self._book.last(subject, "approved", "rejected")
        is_answered = asked is None or (answer is not None and answer.seq > asked.seq)
        if not is_answered and published is not None and remark.time >= published.time:
            await self._add(subject, "approved", {"by": remark.author})

    async def _lifted(self, subject: str, remark: Remark) -> None:
        """Take a wish for changes of work that is held for a `luminaguard retry` with these words."""
        stop, lift = self._book.last(subject, "held", "failed"), self._book.last(subject, "retry", "released")
        is_stopped = stop is not None and (lift is None or lift.seq < stop.seq)
        if is_stopped and stop is not None and text(stop.data, "group") in LIFTED_BY_WISHES:
            await self._add(subject, "retry", {"by": remark.author, "text": remark.text})

    async def _add(self, subject: str, name: str, data: dict[str, Json]) -> None:
        await self._book.add(subject, f"{name}:{len(self._book.all(subject, name)) + 1}", data)
