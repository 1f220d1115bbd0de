"""GitLab as a forge, with all that the seams ask: issues, merge requests, reviews, checks, merges, writing."""

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
from luminaguard.forges.gitlab.checks import Checks
from luminaguard.forges.gitlab.issues import Issues, project_path
from luminaguard.forges.gitlab.merge_requests import MergeRequests
from luminaguard.forges.gitlab.permissions import lacking
from luminaguard.forges.gitlab.quick_actions import tamed
from luminaguard.forges.gitlab.reviews import Reviews
from luminaguard.forges.http_notes import Notes
from luminaguard.forges.http_project import ApiToken, Project, token_in
from luminaguard.forges.http_rules import Http, Server
from luminaguard.forges.issue_numbers import number_of
from luminaguard.forges.marks import comment_key, report_key
from luminaguard.forges.once import Sleep
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import Backlog, Issue

TOKENS = ("GITLAB_TOKEN",)
PERMISSIONS = "the token needs the scope `api` and the role Developer (`read_api` and Reporter to plan only)"


def find_token(env: Mapping[str, str] | None = None) -> ApiToken | None:
    """Take the token of the environment."""
    return token_in(os.environ if env is None else env, TOKENS)


class GitLab:
    """One project on GitLab. Inside `open()` connections are kept; outside each call makes its own."""

    name = "gitlab"

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
        self._notes = Notes(
            self._http, place=lambda thread, note: f"{thread}/{note}", edit="PUT", name="username", tamed=tamed
        )
        self._issues = Issues(self._http, self._notes, path=path, filters=filters)
        self._requests = MergeRequests(self._http, self._notes, path=path)
        self._reviews = Reviews(self._http, self._notes, self._requests, self._issues)
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
            return "no project on GitLab is named (set its name and base URL, or add a remote: git remote add origin …)"
        if self._token is None:
            return f"there is no token for {self._project.web} (set GITLAB_TOKEN; {PERMISSIONS})"
        return None

    async def who(self) -> str:
        """Name our account; "" where that is not told."""
        return await self._notes.me()

    async def lacking(self) -> Lacking:
        """Tell which permissions we lack, for `doctor`."""
        return await lacking(self._http, self._notes, self._issues)

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
        """Return the branch's merge request, brought up to the draft."""
        return await self._requests.open_pull(draft)

    async def mark_merged(self, pull: str, *, commit: Oid) -> None:
        """Record what the merge request landed as; a second time changes nothing."""
        await self._requests.mark_merged(pull, commit=commit)

    async def post_review(self, pull: str, note: ReviewNote) -> None:
        """Show a review; the same commit's a second time changes nothing."""
        await self._reviews.post_review(pull, note)

    async def fate(self, pull: str) -> Fate:
        """Tell what became of a merge request, by whomever."""
        return await self._requests.fate(pull)

    async def remarks(self, pull: str) -> tuple[Remark, ...]:
        """List what people have said, oldest first."""
        return await self._reviews.remarks(pull)

    async def rules(self, target: str) -> Rules:
        """Read branch protection, approval rules and the merge train."""
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
        return await self._requests.merge(pull, head=head, style=style, message=message)

    async def leave(self, pull: str) -> None:
        """Take back what `merge` has handed over; where there is nothing, nothing changes."""
        await self._requests.leave(pull)

    async def tell(self, issue: IssueId, text: str) -> None:
        """Show our one status comment of the issue."""
        await self._notes.show(f"issues/{number_of(issue, what='issue')}/notes", "status", text)

    async def comments(self, issue: IssueId) -> tuple[Comment, ...]:
        """List all comments on an issue, ours too, oldest first; ours end with their hidden mark."""
        return await self._notes.listed(f"issues/{number_of(issue)}/notes", self._issues.association)

    async def comment(self, issue: IssueId, text: str, *, key: str) -> None:
        """Add a comment; the same key a second time adds none."""
        await self._notes.say(f"issues/{number_of(issue)}/notes", comment_key(key), text)

    async def post_report(self, text: str, *, title: str) -> str:
        """Post a report as a comment on the issue that the settings name; returns its address."""
        if self._report_issue is None:
            raise UserFault("there is no place for a report on GitLab", hint="name an issue for reports")
        item = await self._issues.item(self._report_issue)
        thread = f"issues/{number_at(item, 'iid')}/notes"
        note = await self._notes.show(thread, report_key(title), f"## {title}\n\n{text}")
        return f"{text_at(item, 'web_url')}#note_{number_at(note, 'id')}"

    async def add(self, issue: Issue) -> IssueId:
        """Create an issue; returns the id that it got."""
        return await self._issues.add(issue)

    async def add_need(self, issue: IssueId, need: IssueId) -> None:
        """Say that an issue waits for another."""
        await self._issues.add_need(issue, need)


def _server(project: Project | None, token: ApiToken | None) -> Server:
    return Server(
        name="GitLab",
        api=f"{project.web if project else 'https://gitlab.invalid'}/api/v4",
        project=project_path(project.path if project else ""),
        page_size="per_page",
        headers={"Authorization": f"Bearer {token.text}"} if token else {},
        permissions=PERMISSIONS,
    )
