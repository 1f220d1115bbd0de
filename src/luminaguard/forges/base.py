"""The seams of forges: a tracker that is asked and told, and a file format that is read.

Every call may raise `Transient` (worth another try), `HostFault` (the service is down or refuses us) or `UserFault`
(the user named something that is not there, or a file is broken: the message names file, line, value and way out).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import Backlog, Issue


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """A pull request as the forge knows it. `id` is what a person types; `merged` is the commit it landed as."""

    id: str
    branch: str
    issue: IssueId
    title: str
    body: str
    url: str | None = None
    merged: Oid | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PullDraft:
    """What a pull request should say. `head` is the commit that the branch points at."""

    branch: str
    head: Oid
    target: str
    issue: IssueId
    title: str
    body: str


class Forge(Protocol):
    """One tracker. Everything that changes something is idempotent by its natural key, so a step may be repeated."""

    name: str

    def missing(self) -> str | None:
        """Say why this forge cannot be used here, or None."""

    async def backlog(self) -> Backlog:
        """Read every issue, open and closed, in the order of the source."""

    async def issue(self, issue: IssueId) -> Issue:
        """Read one issue afresh; never from a cache."""

    async def close(self, issue: IssueId, *, comment: str) -> None:
        """Close the issue with a comment; closing a closed one changes nothing and adds no second comment."""

    async def open_pull(self, draft: PullDraft) -> Pull:
        """Return the branch's pull request, brought up to the draft; create it only where the branch has none."""

    async def mark_merged(self, pull: str, *, commit: Oid) -> None:
        """Record that the pull request landed as `commit`; a second time changes nothing."""


class BacklogFormat(Protocol):
    """A file format that holds issues. Pure reading: nothing is written, no cache is kept."""

    name: str

    def recognises(self, path: Path) -> bool:
        """Tell by names and by the first bytes whether `path` (a file or a folder) is of this format."""

    def files(self, path: Path) -> tuple[Path, ...]:
        """Name the files that `path` consists of, settings first, then in the order in which they are read."""

    def read(self, path: Path) -> Backlog:
        """Read all issues. Raises UserFault naming file, line and way out where the file is broken."""

    def close(self, files: Sequence["SourceFile"], issue: IssueId) -> tuple["SourceFile", ...]:
        """Return the files that change when `issue` is closed, all else in them byte for byte as it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file of a backlog: its path relative to the repository's root, and its bytes."""

    path: str
    content: bytes
