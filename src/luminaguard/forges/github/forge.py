"""GitHub as a forge, with all that the seams ask: issues, pull requests, reviews, checks, merges, comments, writing."""

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal

import anyio

from luminaguard.forges.base import (
    CheckState,
    Comment,
    Fate,
    Filters,
    ForeignCheck,
    Lacking,
    Merged,
    NotMerged,
    Pull,
    PullDraft,
    Remark,
    ReportPlace,
    ReviewNote,
    Rules,
)
from luminaguard.forges.github.auth import Credentials, Token, missing_credentials
from luminaguard.forges.github.checks import Checks
from luminaguard.forges.github.comments import Comments
from luminaguard.forges.github.git_access import GitAccess
from luminaguard.forges.github.issues import Issues
from luminaguard.forges.github.line import Line
from luminaguard.forges.github.merging import Merges
from luminaguard.forges.github.permissions import lacking
from luminaguard.forges.github.pulls import Pulls
from luminaguard.forges.github.repository import Repository
from luminaguard.forges.github.reviews import Reviews
from luminaguard.forges.github.rules import rules_of
from luminaguard.forges.github.telling import Telling
from luminaguard.forges.github.wire import Counts, Wire
from luminaguard.forges.github.writing import Writing
from luminaguard.forges.issue_numbers import number_of
from luminaguard.forges.marks import comment_key
from luminaguard.forges.once import Sleep
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import Backlog, Issue

NOT_A_REPOSITORY = "no repository on GitHub is named (set its name, or add a remote: git remote add origin …)"


class GitHub:
    """One repository on GitHub. Inside `open()` connections are kept; outside each call makes its own."""

    name = "github"

    def __init__(
        self,
        repository: Repository | None,
        credentials: Credentials | None,
        *,
        filters: Filters | None = None,
        report: ReportPlace | None = None,
        transport: object | None = None,
        sleep: Sleep = anyio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take what was found, which may be nothing: `missing` says so.

        `transport` (httpx's), `sleep` and `clock` are for tests.
        """
        self._repository = repository
        self._credentials = credentials
        where = repository or Repository(owner="", name="")
        line = Line(where, credentials or _NOBODY, transport=transport, clock=clock)
        self._wire = Wire(line, sleep=sleep, clock=clock)
        self._comments = Comments(self._wire)
        self._issues = Issues(self._wire, self._comments, filters=filters)
        self._pulls = Pulls(self._wire, self._comments)
        self._reviews = Reviews(self._wire, self._comments)
        self._checks = Checks(self._wire)
        self._merges = Merges(self._wire, self._pulls, self._comments)
        self._telling = Telling(self._wire, self._comments, report=report)
        self._writing = Writing(self._wire, self._issues)
        self._git = GitAccess(self._wire)

    @property
    def counts(self) -> Counts:
        """How many requests were made, and how many of them GitHub answered with "unchanged"."""
        return self._wire.counts

    def open(self) -> AbstractAsyncContextManager[None]:
        """Keep connections for the tasks that are started inside."""
        return self._wire.open()

    def missing(self) -> str | None:
        """Say what is absent and what to do, or None; asks no server."""
        if self._repository is None:
            return NOT_A_REPOSITORY
        return missing_credentials(self._credentials, host=self._repository.server)

    async def who(self) -> str:
        """Name our account; "" where that is not told."""
        return await self._comments.login()

    async def lacking(self) -> Lacking:
        """Tell which permissions we lack, for `doctor`."""
        return await lacking(self._wire)

    async def git_token(self) -> str:
        """Give what git shows as password of `x-access-token`: ours, or a fresh one of the App's installation."""
        return await self._git.token()

    async def backlog(self) -> Backlog:
        """Read the issues that the filters let through, by number."""
        return await self._issues.backlog()

    async def issue(self, issue: IssueId) -> Issue:
        """Read one issue afresh."""
        return await self._issues.issue(issue)

    async def close(self, issue: IssueId, *, comment: str) -> None:
        """Close as completed with one comment; where it is closed already, nothing changes."""
        await self._issues.close(issue, comment=comment)

    async def open_pull(self, draft: PullDraft) -> Pull:
        """Return the branch's pull request, brought up to the draft."""
        return await self._pulls.open_pull(draft)

    async def mark_merged(self, pull: str, *, commit: Oid) -> None:
        """Record what the pull request landed as; a second time changes nothing."""
        await self._pulls.mark_merged(pull, commit=commit)

    async def post_review(self, pull: str, note: ReviewNote) -> None:
        """Show a review; the same commit's a second time changes nothing."""
        await self._reviews.post_review(pull, note)

    async def fate(self, pull: str) -> Fate:
        """Tell what became of a pull request, by whomever."""
        return await self._pulls.fate(pull)

    async def remarks(self, pull: str) -> tuple[Remark, ...]:
        """List what people have said, oldest first."""
        return await self._reviews.remarks(pull)

    async def rules(self, target: str) -> Rules:
        """Read branch protection, rulesets and a merge queue."""
        return await rules_of(self._wire, self._comments, target)

    async def report_check(self, commit: Oid, *, name: str, state: CheckState, text: str) -> None:
        """Show a verdict of ours."""
        await self._checks.report_check(commit, name=name, state=state, text=text)

    async def checks(self, commit: Oid) -> tuple[ForeignCheck, ...]:
        """List the newest verdict of each check on a commit."""
        return await self._checks.checks(commit)

    async def merge(
        self, pull: str, *, head: Oid, style: Literal["squash", "merge"], message: str
    ) -> Merged | NotMerged:
        """Merge if the head is still `head`."""
        return await self._merges.merge(pull, head=head, style=style, message=message)

    async def leave(self, pull: str) -> None:
        """Take back what `merge` has handed over; where there is nothing, nothing changes."""
        await self._merges.leave(pull)

    async def tell(self, issue: IssueId, text: str) -> None:
        """Show our one status comment of the issue."""
        await self._telling.tell(issue, text)

    async def comments(self, issue: IssueId) -> tuple[Comment, ...]:
        """List all comments on an issue, ours too, oldest first; ours end with their hidden mark."""
        return await self._comments.listed(number_of(issue))

    async def comment(self, issue: IssueId, text: str, *, key: str) -> None:
        """Add a comment; the same key a second time adds none."""
        await self._comments.say(number_of(issue), comment_key(key), text)

    async def post_report(self, text: str, *, title: str) -> str:
        """Post a report where the settings say; returns its address."""
        return await self._telling.post_report(text, title=title)

    async def add(self, issue: Issue) -> IssueId:
        """Create an issue; returns the id that it got."""
        return await self._writing.add(issue)

    async def add_need(self, issue: IssueId, need: IssueId) -> None:
        """Say that an issue waits for another."""
        await self._writing.add_need(issue, need)


_NOBODY = Token(text="-", source="nowhere")
