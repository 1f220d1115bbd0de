"""Merging by GitHub, where pushing is not allowed: by API with the expected head, merge queue, or auto-merge."""

from collections.abc import Callable
from typing import Literal

from luminaguard.forges.answers import at, list_at, number_at, text_at, true_at
from luminaguard.forges.base import Merged, NotMerged
from luminaguard.forges.github.comments import Comments
from luminaguard.forges.github.pulls import Pulls
from luminaguard.forges.github.refusals import told
from luminaguard.forges.github.rules import rules_of
from luminaguard.forges.github.wire import Wire
from luminaguard.forges.items import is_closed
from luminaguard.forges.once import Lost, settled
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import Json, Oid

Style = Literal["squash", "merge"]
Outcome = Merged | NotMerged

_STATE = """query($owner: String!, $name: String!, $number: Int!) {
  repository(owner: $owner, name: $name) {
    autoMergeAllowed
    pullRequest(number: $number) {
      isInMergeQueue
      mergeQueueEntry { position state }
      autoMergeRequest { mergeMethod }
      timelineItems(last: 1, itemTypes: [ADDED_TO_MERGE_QUEUE_EVENT, REMOVED_FROM_MERGE_QUEUE_EVENT]) {
        nodes { __typename ... on RemovedFromMergeQueueEvent { reason } }
      }
    }
  }
}"""
_ENQUEUE = """mutation($id: ID!, $head: GitObjectID!) {
  enqueuePullRequest(input: {pullRequestId: $id, expectedHeadOid: $head}) { mergeQueueEntry { position } }
}"""
_AUTO = """mutation($id: ID!, $head: GitObjectID!, $method: PullRequestMergeMethod!, $title: String!, $body: String!) {
  enablePullRequestAutoMerge(input: {
    pullRequestId: $id, expectedHeadOid: $head, mergeMethod: $method, commitHeadline: $title, commitBody: $body
  }) { pullRequest { number } }
}"""
_DEQUEUE = """mutation($id: ID!) {
  dequeuePullRequest(input: {id: $id}) { mergeQueueEntry { position } }
}"""
_NO_AUTO = """mutation($id: ID!) {
  disablePullRequestAutoMerge(input: {pullRequestId: $id}) { pullRequest { number } }
}"""


class Merges:
    """Merges pull requests. Asked again it looks first, so a step may be repeated until it is `Merged`."""

    def __init__(self, wire: Wire, pulls: Pulls, comments: Comments) -> None:
        self._wire = wire
        self._pulls = pulls
        self._comments = comments
        self._queued: set[tuple[str, Oid]] = set()

    async def merge(self, pull: str, *, head: Oid, style: Style, message: str) -> Outcome:
        """Merge if the head is still `head`."""
        item = await self._pulls.item(pull)
        outcome = _seen(item, head)
        if outcome is not None:
            return outcome
        rules = await rules_of(self._wire, self._comments, text_at(item, "base", "ref"))
        if rules.has_queue:
            return await self._by_queue(item, head)
        return await self._by_api(item, head, style, message)

    async def leave(self, pull: str) -> None:
        """Take it out of the merge queue and switch auto-merge off, where GitHub has it.

        Raises:
            Fault: GitHub keeps it.
        """
        item = await self._pulls.item(pull)
        if is_closed(item):
            return
        # Auto-merge first: it would put the pull request back into the queue.
        await self._taken_back(_NO_AUTO, item, _is_auto)
        await self._taken_back(_DEQUEUE, item, _is_queued)
        number = str(number_at(item, "number"))
        self._queued = {key for key in self._queued if key[0] != number}  # that the queue dropped it is our doing

    async def _taken_back(self, mutation: str, item: Json, has_it: Callable[[Json], bool]) -> None:
        """Undo one of the two; where the answer is lost, or a no, what counts is whether GitHub still has it."""
        if not has_it(await self._state(item)):
            return
        try:
            await self._wire.mutate(mutation, id=text_at(item, "node_id"))
        except (Lost, UserFault):
            if has_it(await self._state(item)):
                raise

    async def _by_api(self, item: Json, head: Oid, style: Style, message: str) -> Outcome:
        number = number_at(item, "number")
        title, _, text = message.partition("\n")
        body: Json = {"sha": head, "merge_method": style, "commit_title": title, "commit_message": text.strip("\n")}
        try:
            answer = await self._wire.once("PUT", f"pulls/{number}/merge", body, ok=(200, 405, 409))
        except Lost as lost:
            return await self._after_lost(number, head, lost)
        if answer.status == 200:
            return Merged(commit=Oid(text_at(answer.body, "sha")))
        now = await self._pulls.item(str(number))
        outcome = _seen(now, head)
        if outcome is not None:
            return outcome
        if answer.status == 409:
            return NotMerged(why=told(answer) or "GitHub says that the head or the base has moved")
        return await self._by_auto_merge(now, head, style, message, why=told(answer))

    async def _after_lost(self, number: int, head: Oid, lost: Lost) -> Outcome:
        """Never merge again unseen: look, some times; then the next call looks first."""

        async def look() -> Outcome | None:
            return _seen(await self._pulls.item(str(number)), head)

        waiting = NotMerged(why=f"{lost.message}, and it is not merged yet", is_waiting=True)
        return await settled(look, sleep=self._wire.sleep) or waiting

    async def _by_auto_merge(self, item: Json, head: Oid, style: Style, message: str, *, why: str) -> Outcome:
        """Leave it to GitHub where something is only not there yet, and the repository allows it."""
        if at(item, "mergeable") is None:
            return NotMerged(why="GitHub still works out whether it can be merged", is_waiting=True)
        if at(item, "mergeable") is False or text_at(item, "mergeable_state") != "blocked":
            return NotMerged(why=why or "GitHub says that it cannot be merged")
        state = await self._state(item)
        if _is_auto(state):
            return NotMerged(why="GitHub merges it when its checks and reviews are there", is_waiting=True)
        if not true_at(state, "autoMergeAllowed"):
            return NotMerged(why=why or "its checks or reviews are not there yet", is_waiting=True)
        title, _, text = message.partition("\n")
        said: dict[str, Json] = {"method": style.upper(), "title": title, "body": text.strip("\n")}
        return await self._handed_over(_AUTO, item, head, **said)

    async def _by_queue(self, item: Json, head: Oid) -> Outcome:
        state = await self._state(item)
        if _is_queued(state):
            place = number_at(state, "pullRequest", "mergeQueueEntry", "position")
            return NotMerged(why=f"it is number {place} in GitHub's merge queue", is_waiting=True)
        key = (str(number_at(item, "number")), head)
        events = list_at(state, "pullRequest", "timelineItems", "nodes")
        is_dropped = any(text_at(one, "__typename") == "RemovedFromMergeQueueEvent" for one in events)
        if key in self._queued and is_dropped:
            self._queued.discard(key)  # asked for once more, it is queued once more
            reason = next((text_at(one, "reason") for one in events if text_at(one, "reason")), "")
            return NotMerged(why=f"GitHub's merge queue dropped it: {reason or 'no reason given'}")
        self._queued.add(key)
        return await self._handed_over(_ENQUEUE, item, head)

    async def _handed_over(self, mutation: str, item: Json, head: Oid, **said: Json) -> Outcome:
        """Hand over to GitHub; where the answer is lost the next call sees whether it has it."""
        try:
            await self._wire.mutate(mutation, id=text_at(item, "node_id"), head=head, **said)
        except Lost as lost:
            return NotMerged(why=lost.message, is_waiting=True)
        except UserFault as fault:
            return NotMerged(why=fault.message)
        return NotMerged(why="GitHub has it and merges it when it can", is_waiting=True)

    async def _state(self, item: Json) -> Json:
        repository, number = self._wire.repository, number_at(item, "number")
        asked = await self._wire.query(_STATE, owner=repository.owner, name=repository.name, number=number)
        return at(asked, "repository")


def _is_queued(state: Json) -> bool:
    pull = at(state, "pullRequest")
    return true_at(pull, "isInMergeQueue") or at(pull, "mergeQueueEntry") is not None


def _is_auto(state: Json) -> bool:
    return at(state, "pullRequest", "autoMergeRequest") is not None


def _seen(item: Json, head: Oid) -> Outcome | None:
    """Tell what the pull request itself says; None where a merge may be tried."""
    if true_at(item, "merged") or text_at(item, "merged_at"):
        return Merged(commit=Oid(text_at(item, "merge_commit_sha")))
    if text_at(item, "state") == "closed":
        return NotMerged(why="somebody closed it")
    now = text_at(item, "head", "sha")
    if now != head:
        return NotMerged(why=f"its head has moved to {now[:12]}; {head[:12]} was tested")
    return NotMerged(why="it is still a draft") if true_at(item, "draft") else None
