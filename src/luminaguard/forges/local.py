"""The tracker that needs no service: issues and pull requests in a SQLite file beside the repository's own data."""

from functools import partial
from typing import cast

from anyio import to_thread

from luminaguard.forges.base import Pull, PullDraft
from luminaguard.forges.store import Changes, TrackerStore
from luminaguard.model.faults import Fault
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import Backlog, Issue

SAID = ("body", "labels", "kind", "priority", "estimate_s", "touches", "author", "milestone")
"""What an issue that is added brings along, besides its title."""


class LocalTracker:
    """A `Forge` over the store, and `Writing`; its work is done in threads."""

    name = "local"

    def __init__(self, store: TrackerStore) -> None:
        self.store = store

    def missing(self) -> str | None:
        """Say why the tracker cannot be used here, or None; makes it where it is not there."""
        try:
            self.store.pulls()
        except Fault as fault:
            return f"{fault.message} ({fault.hint})"
        return None

    async def backlog(self) -> Backlog:
        """Read every issue in the order in which they were added."""
        return Backlog(issues=await to_thread.run_sync(self.store.issues))

    async def issue(self, issue: IssueId) -> Issue:
        """Read one issue afresh."""
        return await to_thread.run_sync(self.store.show, issue)

    async def close(self, issue: IssueId, *, comment: str) -> None:
        """Close the issue with a comment; closing a closed one changes nothing."""
        await to_thread.run_sync(partial(self.store.close, issue, comment=comment))

    async def open_pull(self, draft: PullDraft) -> Pull:
        """Return the branch's pull request, brought up to the draft."""
        return await to_thread.run_sync(self.store.open_pull, draft)

    async def mark_merged(self, pull: str, *, commit: Oid) -> None:
        """Record that the pull request landed as `commit`; a second time changes nothing."""
        await to_thread.run_sync(partial(self.store.mark_merged, pull, commit=commit))

    async def add(self, issue: Issue) -> IssueId:
        """Create an issue with what is said of it; under its own id where that is free, else the next number."""
        return await to_thread.run_sync(self._add, issue)

    async def add_need(self, issue: IssueId, need: IssueId) -> None:
        """Say that an issue waits for another; a second time changes nothing."""
        await to_thread.run_sync(self._add_need, issue, need)

    def _add(self, issue: Issue) -> IssueId:
        said = {name: getattr(issue, name) for name in SAID if getattr(issue, name)}
        taken = {it.id for it in self.store.issues()} | {pull.id for pull in self.store.pulls()}
        made = None if issue.id in taken else issue.id or None
        return self.store.add(issue.title, id=made, **cast("Changes", said)).id

    def _add_need(self, issue: IssueId, need: IssueId) -> None:
        found, wanted = self.store.show(issue), self.store.show(need).id
        if wanted not in found.needs:
            self.store.edit(found.id, needs=(*found.needs, wanted))
