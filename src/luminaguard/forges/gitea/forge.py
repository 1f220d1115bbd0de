"""Gitea or Forgejo as a forge, with all that the seams ask: issues, pull requests, reviews, checks, merges, writing."""

import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Literal

import anyio
import httpx

from luminaguard.forges.answers import number_at, text_at
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
    ReviewNote,
    Rules,
)
from luminaguard.forges.gitea.checks import Checks
from luminaguard.forges.gitea.issues import Issues, Labels
from luminaguard.forges.gitea.permissions import lacking
from luminaguard.forges.gitea.pulls import Pulls
from luminaguard.forges.gitea.reviews import Reviews
from luminaguard.forges.http_notes import Notes
from luminaguard.forges.http_project import ApiToken, Project, token_in
from luminaguard.forges.http_rules import Http, Server
from luminaguard.forges.issue_numbers import number_of
from luminaguard.forges.marks import comment_key, report_key
from luminaguard.forges.once import Sleep
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import Backlog, Issue

TOKENS = ("GITEA_TOKEN", "FORGEJO_TOKEN")
PERMISSIONS = (
    "the token needs write:repository and write:issue, and read:user (read:issue and read:repository to plan only)"
)


def find_token(env: Mapping[str, str] | None = None) -> ApiToken | None:
    """Take the token of the environment."""
    return token_in(os.environ if env is None else env, TOKENS)


class Gitea:
    """One repository on Gitea or Forgejo. Inside `open()` connections are kept; outside each call makes its own."""

    name = "gitea"

    def __init__(
        self,
        project: Project | None,
        token: ApiToken | None,
        *,
        filters: Filters | None = None,
        report_issue: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = anyio.sleep,
    ) -> None:
        """Take what was found, which may be nothing: `missing` says so. `transport` and `sleep` are for tests."""
        self._project = project
        self._token = token
        self._report_issue = report_issue
        path = project.path if project else ""
        self._http = Http(_server(project, token), transport=transport, sleep=sleep)
        self._notes = Notes(self._http, place=lambda _, note: f"issues/comments/{note}", edit="PATCH", name="login")
        labels = Labels(self._http, owner=path.partition("/")[0])
        self._issues = Issues(self._http, self._notes, labels, path=path, filters=filters)
        self._pulls = Pulls(self._http, self._notes, labels, path=path)
        self._reviews = Reviews(self._http, self._notes, self._pulls, self._issues)
        self._checks = Checks(self._http, path=path)

    @property
    def requests(self) -> int:
        """How many requests were made."""
        return self._http.requests

    def open(self) -> AbstractAsyncContextManager[None]:
        """Keep connections for the tasks that are started inside."""
        return self._http.open()

    def missing(self) -> str | None:
        """Say what is absent and what to do, or None; asks no server."""
        if self._project is None:
            return "no repository on Gitea or Forgejo is named (set its name and base URL, or add a remote `origin`)"
        if self._token is None:
            return f"there is no token for {self._project.web} (set GITEA_TOKEN or FORGEJO_TOKEN; {PERMISSIONS})"
        return None

    async def who(self) -> str:
        """Name our account; "" where that is not told."""
        return await self._notes.me()

    async def lacking(self) -> Lacking:
        """Tell which permissions we lack, for `doctor`."""
        return await lacking(self._http, self._notes)

    async def git_token(self) -> str:
        """Give what git shows as password."""
        return self._token.text if self._token else ""

    async def backlog(self) -> Backlog:
        """Read the issues that the filters let through, by number."""
        return await self._issues.backlog()

    async def issue(self, issue: IssueId) -> Issue:
        """Read one issue afresh."""
        return await self._issues.issue(issue)

    async def close(self, issue: IssueId, *, comment: str) -> None:
        """Close with one comment; where it is closed already, nothing changes."""
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
        """Read branch protection, approvals."""
        return await self._checks.rules(target)

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
        return await self._pulls.merge(pull, head=head, style=style, message=message)

    async def leave(self, pull: str) -> None:
        """Take back what `merge` has handed over; where there is nothing, nothing changes."""
        await self._pulls.leave(pull)

    async def tell(self, issue: IssueId, text: str) -> None:
        """Show our one status comment of the issue."""
        await self._notes.show(f"issues/{number_of(issue, what='issue')}/comments", "status", text)

    async def comments(self, issue: IssueId) -> tuple[Comment, ...]:
        """List all comments on an issue, ours too, oldest first; ours end with their hidden mark."""
        return await self._notes.listed(f"issues/{number_of(issue)}/comments", self._issues.association)

    async def comment(self, issue: IssueId, text: str, *, key: str) -> None:
        """Add a comment; the same key a second time adds none."""
        await self._notes.say(f"issues/{number_of(issue)}/comments", comment_key(key), text)

    async def post_report(self, text: str, *, title: str) -> str:
        """Post a report as a comment on the issue that the settings name; returns its address."""
        if self._report_issue is None:
            raise UserFault("there is no place for a report on Gitea", hint="name an issue for reports")
        item = await self._issues.item(self._report_issue)
        thread = f"issues/{number_at(item, 'number')}/comments"
        note = await self._notes.show(thread, report_key(title), f"## {title}\n\n{text}")
        return text_at(note, "html_url")

    async def add(self, issue: Issue) -> IssueId:
        """Create an issue; returns the id that it got."""
        return await self._issues.add(issue)

    async def add_need(self, issue: IssueId, need: IssueId) -> None:
        """Say that an issue waits for another."""
        await self._issues.add_need(issue, need)


def _server(project: Project | None, token: ApiToken | None) -> Server:
    return Server(
        name="Gitea",
        api=f"{project.web if project else 'https://gitea.invalid'}/api/v1",
        project=f"repos/{project.path if project else ''}",
        page_size="limit",
        headers={"Authorization": f"token {token.text}"} if token else {},
        permissions=PERMISSIONS,
    )
