"""The tracker that needs no service: issues and pull requests in a SQLite file beside the repository's own data."""

from collections.abc import Callable
from functools import partial

from anyio import to_thread

from luminaguard.forges.base import Pull, PullDraft, ReportPlace
from luminaguard.forges.local_talk import LocalTalk
from luminaguard.forges.marks import import_key
from luminaguard.forges.store import TrackerStore
from luminaguard.forges.talk import US
from luminaguard.model.faults import Fault
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import Backlog, Issue


class LocalTracker:
    """A `Forge` over the store, and `Writing`; its work is done in threads. `talk` has the other abilities."""

    name = "local"

    def __init__(self, store: TrackerStore, *, report: ReportPlace | None = None) -> None:
        self.store = store
        self._report = report or ReportPlace()

    @property
    def talk(self) -> LocalTalk:
        """What is shown and said beside the issues."""
        return LocalTalk(self.store, report=self._report)

    def talk_after(self, ready: Callable[[], None]) -> LocalTalk:
        """Give the talk of a backlog that must be read in by `ready` before its issues are there."""
        return LocalTalk(self.store, report=self._report, ready=ready)

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
        await to_thread.run_sync(partial(self.store.close, issue, comment=comment, who=US))

    async def open_pull(self, draft: PullDraft) -> Pull:
        """Return the branch's pull request, brought up to the draft."""
        return await to_thread.run_sync(partial(self.store.open_pull, draft, who=US))

    async def mark_merged(self, pull: str, *, commit: Oid) -> None:
        """Record that the pull request landed as `commit`; a second time changes nothing."""
        await to_thread.run_sync(partial(self.store.mark_merged, pull, commit=commit, who=US))

    async def add(self, issue: Issue) -> IssueId:
        """Create an issue with what is said of it, under its own id where that is free; one added before is found."""
        return await to_thread.run_sync(partial(self.store.bring, issue, key=import_key(issue)))

    async def add_need(self, issue: IssueId, need: IssueId) -> None:
        """Say that an issue waits for another; a second time changes nothing."""
        await to_thread.run_sync(self.store.add_need, issue, need)
