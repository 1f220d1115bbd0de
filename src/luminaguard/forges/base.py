"""The seams of forges: a tracker that is asked and told, and a file format that is read.

Every call may raise `Transient` (worth another try), `HostFault` (the service is down or refuses us) or `UserFault`
(the user named something that is not there, or a file is broken: the message names file, line, value and way out).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import Backlog, Issue
from luminaguard.model.work import Finding


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
    head: Oid | None = None
    is_draft: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PullDraft:
    """What a pull request should say. `head` is the commit that the branch points at.

    `is_draft`: not to be merged yet; where a forge has no drafts, it is left out.
    """

    branch: str
    head: Oid
    target: str
    issue: IssueId
    title: str
    body: str
    labels: tuple[str, ...] = ()
    is_draft: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which issues a backlog consists of; what is not said lets all through. An issue must have all of `labels`.

    `milestone` is a title, and on GitHub and Gitea a number too; `assignee` a user's name. `numbers` names issues one
    by one: then only these count, whatever else is said.
    """

    labels: tuple[str, ...] = ()
    milestone: str | None = None
    assignee: str | None = None
    numbers: tuple[int, ...] = ()


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


# What only some forges can do: a small protocol each. The engine asks for what is there.


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewNote:
    """A review of ours to show on a pull request: its verdict in words, and findings on lines of `commit`."""

    commit: Oid
    ok: bool
    text: str
    findings: tuple[Finding, ...] = ()


Stand = Literal["said", "changes", "approved"]
"""How a remark is meant: just said, a wish for changes before it lands, or an approval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What a person says on a pull request. `id` is the forge's.

    `path` and `line` tell where, None and 0 where it is said of the whole. `time` is seconds since the epoch, `commit`
    the head that the person looked at, None where the forge does not tell.
    """

    id: str
    author: str
    association: str | None
    text: str
    stand: Stand
    time: float
    commit: Oid | None = None
    path: str | None = None
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of a pull request; `commit` is what it was merged as."""

    state: Literal["open", "merged", "closed"]
    commit: Oid | None = None


class Reviewing(Protocol):
    """A forge where reviews are shown and people answer."""

    async def post_review(self, pull: str, note: ReviewNote) -> None:
        """Show a review; the same commit's a second time changes nothing. Never approves in a person's name."""

    async def fate(self, pull: str) -> Fate:
        """Tell what became of a pull request, by whomever; a landing that we recorded is a merge."""

    async def remarks(self, pull: str) -> tuple[Remark, ...]:
        """List what people have said, oldest first; nothing of ours, nothing of bots."""


CheckState = Literal["pending", "passed", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a target branch demands. `required` names checks; `pushable`: we may push a tested commit to it."""

    required: tuple[str, ...] = ()
    pushable: bool = True
    needs_pull: bool = False
    approvals: int = 0
    has_queue: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignCheck:
    """A check that somebody else runs on a commit."""

    name: str
    state: CheckState
    url: str | None = None


class Checking(Protocol):
    """A forge that keeps verdicts on commits and has rules for branches."""

    async def rules(self, target: str) -> Rules:
        """Read branch protection and rulesets, as far as our token may see them."""

    async def report_check(self, commit: Oid, *, name: str, state: CheckState, text: str) -> None:
        """Show a verdict of ours; keyed by commit and name, the last one stands."""

    async def checks(self, commit: Oid) -> tuple[ForeignCheck, ...]:
        """List the newest verdict of each check on a commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A pull request that the forge merged: the commit on the target."""

    commit: Oid


@dataclass(frozen=True, slots=True, kw_only=True)
class NotMerged:
    """It did not: the head has moved, something is missing, or the forge still works on it (`is_waiting`)."""

    why: str
    is_waiting: bool = False


class Merging(Protocol):
    """A forge that merges by itself, where pushing to the target is not allowed."""

    async def merge(
        self, pull: str, *, head: Oid, style: Literal["squash", "merge"], message: str
    ) -> Merged | NotMerged:
        """Merge if the head is still `head`, by the native queue where one is required; asked again, it looks first."""

    async def leave(self, pull: str) -> None:
        """Take back what `merge` has handed over: a place in a queue, auto-merge; where there is none, nothing."""


class Commenting(Protocol):
    """A forge where something can be told beside an issue."""

    async def tell(self, issue: IssueId, text: str) -> None:
        """Show our one status comment of the issue: made once, then edited in place."""

    async def post_report(self, text: str, *, title: str) -> str:
        """Post a report where the settings say; return its address. The same title again is edited, not repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPlace:
    """Where reports go: comments on an issue, or discussions of a category (its name or slug). One of the two."""

    issue: str | None = None
    category: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """A comment on an issue. `time` is seconds since the epoch."""

    id: str
    author: str
    association: str | None
    text: str
    time: float


class Discussing(Protocol):
    """A forge where issues are talked about."""

    async def comments(self, issue: IssueId) -> tuple[Comment, ...]:
        """List all comments on an issue, oldest first."""

    async def comment(self, issue: IssueId, text: str, *, key: str) -> None:
        """Add a comment; the same key a second time adds none and changes nothing."""


Level = Literal["read", "write"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """One permission as the forge calls it, what it is for, and whether work is impossible without it."""

    name: str
    level: Level
    why: str
    is_needed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """What was found: `permissions` that are lacking, and `unsure` where the forge tells nobody what a token may do."""

    permissions: tuple[Permission, ...] = ()
    unsure: str = ""


class Permitting(Protocol):
    """A forge where a token may do some things and others not."""

    async def who(self) -> str:
        """Name the account that we are there; "" where that is told to nobody."""

    async def lacking(self) -> Lacking:
        """Compare what we are allowed with what a run needs; raises `Fault` where the project cannot be read at all."""


class Writing(Protocol):
    """A forge that issues can be written to, for import and export."""

    async def add(self, issue: Issue) -> IssueId:
        """Create an issue with title, body and labels; return the id that it got."""

    async def add_need(self, issue: IssueId, need: IssueId) -> None:
        """Say that an issue waits for another; a second time changes nothing."""


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
