"""What the face stands before: one repository, its target and its tracker."""

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from anyio import from_thread

from luminaguard.forges.face.answers import RefusalError
from luminaguard.forges.face.names import Urls
from luminaguard.forges.face.tokens import Holder
from luminaguard.forges.records import Snapshot, Snapshots
from luminaguard.forges.store import Comment, TrackerStore
from luminaguard.forges.talk import Talk
from luminaguard.forges.verdicts import Verdicts
from luminaguard.host.git import Git, Places
from luminaguard.host.locks import only_one
from luminaguard.host.trunk import Trunk
from luminaguard.model.ids import Oid

LONGEST_COMMENT, LONGEST_BOUNDED = 65_536, 16_000
"""Characters: of anybody's comment, and of one whose author is bounded."""

SPEAKING = "speaking"
"""The event of a bounded author about to say something: what was begun counts, whatever became of it."""

_OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Beyond(Protocol):
    """A forge elsewhere, which the tracker here only mirrors. Its methods block, in a thread of the event loop's."""

    def look(self) -> None:
        """Bring the issues up to what it says, if the last look is long ago."""

    def listen(self, subject: str) -> None:
        """Bring an issue's comments up to what it says, if the last look is long ago."""

    def say(self, subject: str, text: str, *, holder: Holder) -> Comment:
        """Comment there; the same words of the same holder are said once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One repository with its tracker, under the name that programs know it by. Its methods block.

    `beyond` is set where the tracker mirrors a forge elsewhere: then nobody changes anything here.
    """

    places: Places
    git: Git
    target: str
    identity: tuple[str, str]
    store: TrackerStore
    owner: str
    name: str
    snapshots: Snapshots
    talk: Talk
    verdicts: Verdicts
    beyond: Beyond | None = None

    def now(self) -> Snapshot:
        """Read the tracker as it is."""
        if self.beyond is not None:
            self.beyond.look()
        return self.snapshots.now()

    def comments(self, subject: str) -> tuple[Comment, ...]:
        """Read the comments of an issue or a pull request, oldest first."""
        if self.beyond is not None:
            self.beyond.listen(subject)
        return self.talk.comments(subject)

    def say(self, subject: str, text: str, *, holder: Holder) -> Comment:
        """Comment in somebody's name."""
        self._admit(subject, text, holder)
        if self.beyond is not None:
            return self.beyond.say(subject, text, holder=holder)
        return self.talk.say(subject, text, author=holder.login)

    def reword(self, comment: Comment, text: str, *, holder: Holder) -> Comment:
        """Change a comment's text."""
        self._admit(comment.subject, text, holder)
        self._must_be_here()
        return self.talk.reword(comment, text, who=holder.login)

    def unsay(self, comment: Comment, *, holder: Holder) -> None:
        """Take a comment away."""
        self._must_be_here()
        self.talk.unsay(comment, who=holder.login)

    def said(self, subject: str, login: str) -> int:
        """Count what a bounded author has said, or begun to say."""
        with self.store.database.reading() as connection:
            return _said(connection, subject, login)

    def _admit(self, subject: str, text: str, holder: Holder) -> None:
        longest = LONGEST_COMMENT if holder.most is None else LONGEST_BOUNDED
        if len(text) > longest:
            raise RefusalError(422, f"Body is too long (maximum is {longest} characters)")
        if holder.most is None:
            return
        with self.store.database.writing() as connection:
            if _said(connection, subject, holder.login) >= holder.most:
                raise RefusalError(403, "This token has been used for as many comments as it may make")
            self.store.log(connection, SPEAKING, subject, {}, who=holder.login)

    def _must_be_here(self) -> None:
        if self.beyond is not None:
            raise RefusalError(403, "Comments stay as they are: this forge shows another, and only adds to it")

    def heads(self) -> Mapping[str, Oid]:
        """Read the tips of all branches."""
        ran = self.git.run_blocking("for-each-ref", "--format=%(objectname) %(refname:strip=2)", "refs/heads")
        lines = (line.split(" ", 1) for line in ran.out.decode(errors="replace").splitlines())
        return {name: Oid(oid) for oid, name in lines} | {self.target: self.tip()}

    def tip(self) -> Oid:
        """Read the target's tip: the branch, or what landed beside it."""
        return from_thread.run(self._trunk(self.git).tip)

    def commit(self, name: str) -> Oid | None:
        """Resolve what a caller typed, a branch or a full object id, to a commit; None where there is none.

        Nothing else is resolved: what git takes besides (a path behind a colon, a date) is not for callers.
        """
        if _OID.fullmatch(name):
            found = self._resolved(name)
            return found if found == name else None
        return self.tip() if name == self.target else self._resolved(f"refs/heads/{name.removeprefix('refs/heads/')}")

    def _resolved(self, name: str) -> Oid | None:
        if any(char in "^~:?*[\\ " or not char.isprintable() for char in name) or ".." in name or "@{" in name:
            return None
        wanted = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        ran = self.git.run_blocking(*wanted, ok=(0, 1, 128))
        return Oid(ran.out.decode().strip()) if ran.exit_code == 0 else None

    @contextlib.contextmanager
    def landing(self) -> Iterator[Trunk]:
        """Hold the orchestrator's lock: only its holder may move the target.

        Raises:
            UserFault: a run is at work.
        """
        with only_one(self.places.state / "lock") as fd:
            yield self._trunk(Git(self.git.root, inherit=(fd,)))

    def _trunk(self, git: Git) -> Trunk:
        return Trunk(git, self.places, target=self.target, identity=self.identity)


def _said(connection: sqlite3.Connection, subject: str, login: str) -> int:
    query = "SELECT count(*) FROM event WHERE subject = ? AND who = ? AND what = ?"
    return int(connection.execute(query, (subject, login, SPEAKING)).fetchone()[0])


def site_of(
    places: Places,
    *,
    target: str,
    identity: tuple[str, str],
    store: TrackerStore,
    owner: str,
    name: str,
    beyond: Beyond | None = None,
) -> Site:
    """Put a repository and its tracker together."""
    return Site(
        places=places,
        git=Git(places.root),
        target=target,
        identity=identity,
        store=store,
        owner=_slug(owner) or "local",
        name=_slug(name) or "repository",
        snapshots=Snapshots(store),
        talk=Talk(store),
        verdicts=Verdicts(store),
        beyond=beyond,
    )


def login_of(name: str) -> str:
    """Spell a person's name as a login."""
    return _slug(name).lower() or "owner"


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", os.fsencode(text).decode("ascii", "replace")).strip("-.")[:60]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A site at one moment, as one caller sees it."""

    site: Site
    urls: Urls
    snapshot: Snapshot
