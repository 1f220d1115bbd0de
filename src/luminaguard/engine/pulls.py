"""An issue's pull request: published as a draft, ready when our checks have passed, closed with what landed."""

from luminaguard.engine.assignment import Assignment, assignment_of
from luminaguard.engine.base import Drivers, Policy
from luminaguard.engine.book import Book
from luminaguard.engine.record import files_of, text
from luminaguard.forges.base import Pull, PullDraft
from luminaguard.model.faults import HostFault
from luminaguard.model.ids import IssueId, Json, Oid
from luminaguard.model.issue import IssueState
from luminaguard.model.work import Change


class Pulls:
    """The pull requests of a run. Every step of them is idempotent, and remembered in the book."""

    def __init__(self, drivers: Drivers, policy: Policy, book: Book) -> None:
        self._drivers = drivers
        self._policy = policy
        self._book = book

    def of(self, issue: str) -> str:
        """Name the issue's pull request; "" where none was opened yet."""
        published = self._book.last(issue, "published")
        return text(published.data, "pull_request") if published else ""

    async def publish(self, change: Change) -> None:
        """Push the branch and open its pull request."""

        async def publish() -> dict[str, Json]:
            branch = assignment_of(self._book, change.issue).branch
            note = await self._drivers.trunk.publish(branch, change.commit)
            pull = await self._open(change, change.commit, is_draft=self._policy.drafts)
            return {"branch": branch, "commit": change.commit, "pull_request": pull.id, "note": note}

        await self._book.step(change.issue, f"published:{change.attempt}", publish)

    async def passed(self, change: Change) -> None:
        """Say of a draft that our checks have passed: it is ready."""
        if not self._policy.drafts:
            return

        async def ready() -> dict[str, Json]:
            pull = await self._open(change, change.commit, is_draft=False)
            return {"pull_request": pull.id}

        await self._book.step(change.issue, f"passed:{change.attempt}", ready)

    async def of_others(self, change: Change) -> Oid | None:
        """Give the tip of the branch where others have put commits that the change has not."""
        made = (fact.data["commit"] for fact in self._book.all(change.issue, "agent") if fact.data["commit"])
        branch = assignment_of(self._book, change.issue).branch
        return await self._drivers.trunk.of_others(branch, change.commit, ours=frozenset(Oid(str(it)) for it in made))

    async def bring_up(self, change: Change, head: Oid) -> Pull:
        """Push `head`, which holds the change and the target, to the branch, for the forge to merge.

        Raises:
            HostFault: others were faster.
        """
        branch = assignment_of(self._book, change.issue).branch
        if (others := await self.of_others(change)) is not None:
            raise HostFault(f"'{branch}' has got commits of others: {others[:12]}", hint="see whether you want them")
        await self._drivers.trunk.publish(branch, head)
        return await self._open(change, head, is_draft=False)

    async def _open(self, change: Change, head: Oid, *, is_draft: bool) -> Pull:
        asked = assignment_of(self._book, change.issue)
        return await self._drivers.forge.open_pull(
            PullDraft(
                branch=asked.branch,
                head=head,
                target=self._policy.target,
                issue=asked.id,
                title=self.message(asked, closes=False).splitlines()[0],
                body=self._body(asked, change.attempt),
                labels=self._policy.labels,
                is_draft=is_draft,
            )
        )

    def message(self, asked: Assignment, *, closes: bool) -> str:
        """Write the message of a commit."""
        write = self._drivers.messages.landing_message
        return write(kind=asked.kind, issue=asked.id, title=asked.issue.title, body="", closes=closes)

    def _body(self, asked: Assignment, attempt: int) -> str:
        made = self._book.get(asked.id, f"agent:{attempt}")
        judged = [fact for fact in self._book.all(asked.id, "checks") if fact.number == attempt]
        return self._drivers.messages.pull_body(
            issue=asked.id,
            text=asked.issue.title,
            files=files_of(made.data["files"]) if made else (),
            checks=self._policy.checks,
            verdict=text(judged[-1].data, "why") if judged and judged[-1].data["ok"] else "",
            needs=asked.needs,
        )

    async def close(self, issue: IssueId) -> None:
        """Close pull request and issue with what landed, and read the issue again."""
        pull = self.of(issue)
        await self._book.add(issue, "closing", {"pull_request": pull})

        async def close() -> dict[str, Json]:
            forge, landed = self._drivers.forge, self._book.get(issue, "landed")
            assert landed is not None
            commit = Oid(text(landed.data, "commit"))
            if pull:
                await forge.mark_merged(pull, commit=commit)
            await forge.close(issue, comment=f"Landed on {self._policy.target} as {commit}.")
            state = (await forge.issue(issue)).state
            note = await self._remove_branch(issue) if state is IssueState.CLOSED else ""
            return {"state": state, "closed": state is IssueState.CLOSED, "note": note}

        await self._book.step(issue, "closed", close)

    async def _remove_branch(self, issue: IssueId) -> str:
        published = self._book.last(issue, "published")
        if not self._policy.remove_branch or published is None:
            return ""
        branch, commit = text(published.data, "branch"), Oid(text(published.data, "commit"))
        return await self._drivers.trunk.remove_branch(branch, commit=commit)
