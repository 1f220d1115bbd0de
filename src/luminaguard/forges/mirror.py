"""A tracker of our own that shows what a forge elsewhere says, so that a face can stand before it.

Nobody changes anything in it but the forge; only comments go out. The forge is asked when somebody asks us, and never
often: issues each 30 s at most, an issue's comments each 10 s, a few a minute in all. What is there meanwhile is shown
as it was. All of it blocks, in threads of the event loop's; the forge is asked on the loop itself.
"""

import hashlib
import logging
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import anyio
from anyio import from_thread

from luminaguard.forges.base import Comment as Remote
from luminaguard.forges.base import Discussing, Forge
from luminaguard.forges.face.tokens import Holder
from luminaguard.forges.marks import comment_key, mark
from luminaguard.forges.store import Comment, TrackerStore
from luminaguard.forges.talk import Talk
from luminaguard.model.faults import Fault, Transient
from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Backlog, Issue

LOG = logging.getLogger(__name__)
LOOK_EVERY_S, LISTEN_EVERY_S = 30.0, 10.0
SHARE = 20
"""A look that took a second is not repeated for so many: some forges want a request for each issue."""
LISTENS_AT_ONCE, LISTEN_AGAIN_S = 10, 6.0
"""So many issues' comments may be asked for one after the other, then one each six seconds."""
LONGEST_S = 60.0
Found = TypeVar("Found")


class Mirror:
    """The mirror of `forge` in `store`. `dressed` writes what goes out, `source` names the forge."""

    def __init__(
        self,
        store: TrackerStore,
        *,
        forge: Forge,
        talk: Discussing,
        source: str,
        dressed: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self._forge = forge
        self._remote = talk
        self._source = source
        self._dressed = dressed
        self._clock = clock
        self._talk = Talk(store)
        self._named: set[IssueId] = set()
        self._looks, self._listens = _Turns(), _Turns()
        self._heard: dict[str, float] = {}
        self._left, self._left_at = float(LISTENS_AT_ONCE), clock()
        self._next_look: float | None = None

    def name(self, issue: IssueId) -> None:
        """Show this issue too, where the backlog does not have it."""
        if issue not in self._named:
            self._named.add(issue)
            self._next_look = None

    def look(self) -> None:
        """Bring the issues up to what the forge says, if the last look is long ago.

        Raises:
            Fault: it cannot be asked, and there is nothing to show meanwhile.
        """
        with self._looks.one(waits=self._next_look is None) as is_ours:
            if not is_ours or (self._next_look is not None and self._clock() < self._next_look):
                return
            began = self._clock()
            try:
                self._take(_asked(self._read))
            except Fault as fault:
                if not self.store.issues(source=self._source):
                    raise
                LOG.warning("The forge does not tell its issues, older ones are shown: %s", fault.message)
            now = self._clock()
            self._next_look = now + max(LOOK_EVERY_S, SHARE * (now - began))

    def listen(self, subject: str) -> None:
        """Bring an issue's comments up to what the forge says, if the last look is long ago.

        Raises:
            Fault: it cannot be asked, and never was.
        """
        with self._listens.one(waits=True):
            last = self._heard.get(subject)
            if subject.startswith("pull:") or (last is not None and self._clock() < last + LISTEN_EVERY_S):
                return
            if not self._may_listen():
                if last is None:
                    raise Transient("comments are asked for too often", hint="ask again in a while")
                return
            self._hear(subject, is_needed=last is None)

    def say(self, subject: str, text: str, *, holder: Holder) -> Comment:
        """Comment on the forge; the same words of the same holder are said once."""
        said = self._dressed(text)
        words = hashlib.sha256(said.encode(errors="replace")).hexdigest()
        key = f"{holder.login} {holder.most} {words}"
        _asked(lambda: self._remote.comment(IssueId(subject), said, key=key))
        with self._listens.one(waits=True):
            self._hear(subject, is_needed=False)
        found = (it for it in self._talk.comments(subject) if mark(comment_key(key)) in it.text)
        otherwise = Comment(seq=0, subject=subject, author=holder.login, text=said, time=self.store.now())
        return next(found, otherwise)

    async def _read(self) -> Backlog:
        backlog = await self._forge.backlog()
        there = {issue.id for issue in backlog.issues}
        more = [await self._forge.issue(issue) for issue in sorted(self._named - there)]
        return Backlog(issues=(*backlog.issues, *more))

    def _take(self, backlog: Backlog) -> None:
        self.store.absorb(backlog, source=self._source)
        _forget_others(self.store, backlog.issues)

    def _may_listen(self) -> bool:
        now = self._clock()
        self._left = min(float(LISTENS_AT_ONCE), self._left + (now - self._left_at) / LISTEN_AGAIN_S)
        self._left_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def _hear(self, subject: str, *, is_needed: bool) -> None:
        try:
            found = _asked(lambda: self._remote.comments(IssueId(subject)))
        except Fault as fault:
            if is_needed:
                raise
            LOG.warning("The forge does not tell the comments on %s: %s", subject, fault.message)
        else:
            _write_down(self.store, subject, found)
        self._heard[subject] = self._clock()


class _Turns:
    """Lets one thread through at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def one(self, *, waits: bool) -> Iterator[bool]:
        """Tell whether it is our turn; who waits has it in the end."""
        is_ours = self._lock.acquire(blocking=waits)
        try:
            yield is_ours
        finally:
            if is_ours:
                self._lock.release()


def _asked(call: Callable[[], Awaitable[Found]]) -> Found:
    async def in_time() -> Found:
        try:
            with anyio.fail_after(LONGEST_S):
                return await call()
        except TimeoutError:
            raise Transient(f"the forge did not answer in {LONGEST_S:.0f} s", hint="ask again in a while") from None

    return from_thread.run(in_time)


def _forget_others(store: TrackerStore, issues: Sequence[Issue]) -> None:
    """Take out what the forge does not show any more."""
    there = {str(issue.id) for issue in issues}
    with store.database.writing() as connection:
        gone = [row["id"] for row in connection.execute("SELECT id FROM issue") if row["id"] not in there]
        for issue in gone:
            connection.execute("DELETE FROM issue WHERE id = ?", (issue,))
            store.log(connection, "gone", issue, {})


def _write_down(store: TrackerStore, subject: str, found: Sequence[Remote]) -> None:
    wanted = {_seq(comment): comment for comment in found}
    with store.database.writing() as connection:
        rows = connection.execute("SELECT seq, text FROM comment WHERE subject = ?", (subject,))
        known = {row["seq"]: row["text"] for row in rows}
        for seq in known.keys() - wanted.keys():
            connection.execute("DELETE FROM comment WHERE seq = ?", (seq,))
            store.log(connection, "comment deleted", subject, {"comment": seq})
        for seq, comment in wanted.items():
            if known.get(seq) != comment.text:
                _write_comment(store, connection, subject, seq, comment)


def _write_comment(
    store: TrackerStore, connection: sqlite3.Connection, subject: str, seq: int, comment: Remote
) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO comment (seq, subject, time, author, text) VALUES (?, ?, ?, ?, ?)",
        (seq, subject, comment.time, comment.author, comment.text),
    )
    store.log(connection, "commented", subject, {"comment": seq}, who=comment.author)


def _seq(comment: Remote) -> int:
    """Give a comment's number: the forge's own, where it counts them."""
    if comment.id.isascii() and comment.id.isdigit() and len(comment.id) <= 15:
        return int(comment.id)
    return int(hashlib.sha256(comment.id.encode()).hexdigest()[:12], 16)
