"""Pull requests on Gitea or Forgejo: one a branch, looked up before it is made, merged with the expected head."""

import re
from typing import Literal

from luminaguard.forges.answers import at, list_at, names_in, number_at, text_at, true_at
from luminaguard.forges.base import Fate, Merged, NotMerged, Pull, PullDraft
from luminaguard.forges.fates import fate_of
from luminaguard.forges.gitea.issues import Labels
from luminaguard.forges.http_notes import Notes
from luminaguard.forges.http_rules import Answer, Http, told
from luminaguard.forges.issue_numbers import number_of
from luminaguard.forges.items import is_closed
from luminaguard.forges.once import Lost, settled
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json, Oid

Outcome = Merged | NotMerged

_DRAFT = re.compile(r"^(?:\s*(?:\[wip\]|wip:|draft:|\[draft\])\s*)+", re.IGNORECASE)
"""Gitea's own prefixes are "WIP:" and "[WIP]"; servers may add others."""


class Pulls:
    """Opens, marks and merges."""

    def __init__(self, http: Http, notes: Notes, labels: Labels, *, path: str) -> None:
        self._http = http
        self._notes = notes
        self._labels = labels
        self._path = path

    async def open_pull(self, draft: PullDraft) -> Pull:
        """Return the branch's pull request, brought up to the draft."""
        item = await self._http.made_once(lambda: self._of_branch(draft), lambda: self._created(draft))
        landed = await self._landed(item)
        if landed is None:
            item = await self._brought_up(item, draft)
        return _pull(item, draft, landed)

    async def item(self, pull: str) -> Json:
        """Read one pull request in Gitea's form.

        Raises:
            UserFault: there is none.
        """
        number = number_of(pull, what="pull request")
        answer = await self._http.get(f"pulls/{number}", ok=(200, 404))
        if answer.status != 200 or number_at(answer.body, "number") != number:
            raise UserFault(f"there is no pull request {pull} in {self._path}", hint="check its number")
        return answer.body

    async def fate(self, pull: str) -> Fate:
        """Tell what became of a pull request: merged by Gitea, landed by a push of ours, closed, or none of these."""
        item = await self.item(pull)
        return fate_of(await self._landed(item), is_closed=is_closed(item))

    async def mark_merged(self, pull: str, *, commit: Oid) -> None:
        """Mark as merged by hand where the repository allows that, else close with a comment that names the commit."""
        item = await self.item(pull)
        if await self._landed(item) is not None:
            return
        number = number_at(item, "number")
        if text_at(item, "state") == "open" and await self._marked_by_hand(number, commit):
            return
        # The commit first: a later look finds it in the comment alone.
        target = text_at(item, "base", "ref")
        await self._notes.say_landed(f"issues/{number}/comments", target=target, commit=commit)
        await self._http.again("PATCH", f"pulls/{number}", {"state": "closed"})

    async def merge(self, pull: str, *, head: Oid, style: Literal["squash", "merge"], message: str) -> Outcome:
        """Merge if the head is still `head`; where only checks or reviews are missing, Gitea is left to it."""
        item = await self.item(pull)
        outcome = _seen(item, head)
        if outcome is not None:
            return outcome
        number = number_at(item, "number")
        title, _, text = message.partition("\n")
        # These spellings every version takes; newer ones take small letters too.
        body: dict[str, Json] = {
            "Do": style,
            "MergeTitleField": title,
            "MergeMessageField": text.strip("\n"),
            "head_commit_id": head,
        }
        answer = await self._tried(number, head, body)
        if not isinstance(answer, Answer):
            return answer
        now = await self.item(pull)
        outcome = _seen(now, head)
        if outcome is not None:
            return outcome
        if answer.status == 200:
            return NotMerged(why="Gitea is merging it", is_waiting=True)
        why = told(answer) or f"Gitea answers {answer.status}"
        if answer.status != 405 or at(now, "mergeable") is False or not await self._may_merge(now):
            return NotMerged(why=why)
        later = await self._tried(number, head, {**body, "merge_when_checks_succeed": True})
        return later if isinstance(later, Merged) else NotMerged(why=why, is_waiting=True)

    async def leave(self, pull: str) -> None:
        """Cancel a merge that waits for checks. Gitea tells nowhere whether there is one: 404 where there is none."""
        item = await self.item(pull)
        if not is_closed(item):
            await self._http.again("DELETE", f"pulls/{number_at(item, 'number')}/merge", ok=(200, 204, 404, 405))

    async def _tried(self, number: int, head: Oid, body: dict[str, Json]) -> Answer | Outcome:
        """Ask for the merge once; never again unseen after a lost answer."""

        async def look() -> Outcome | None:
            return _seen(await self.item(str(number)), head)

        try:
            return await self._http.once("POST", f"pulls/{number}/merge", body, ok=(200, 201, 405, 409, 422))
        except Lost as lost:
            waiting = NotMerged(why=f"{lost.message}, and it is not merged yet", is_waiting=True)
            return await settled(look, sleep=self._http.sleep) or waiting

    async def _may_merge(self, item: Json) -> bool:
        branch = await self._http.get(f"branches/{text_at(item, 'base', 'ref')}", ok=(200, 404))
        return at(branch.body, "user_can_merge") is not False

    async def _marked_by_hand(self, number: int, commit: Oid) -> bool:
        repository = await self._http.get("")
        if at(repository.body, "allow_manual_merge") is False:  # a Forgejo does not tell, and may allow it
            return False

        async def look() -> bool | None:
            return true_at(await self.item(str(number)), "merged") or None

        async def make() -> bool:
            body: Json = {"Do": "manually-merged", "MergeCommitID": commit}
            answer = await self._http.once("POST", f"pulls/{number}/merge", body, ok=(200, 405, 409, 422))
            return answer.status == 200

        return await self._http.made_once(look, make)

    async def _of_branch(self, draft: PullDraft) -> Json:
        """Find the branch's newest pull request that counts: open, or done and the branch has not moved on.

        Gitea lists no pull requests by branch, so all are read: the open ones, then the closed ones.
        """
        async for item in self._http.pages("pulls", state="open"):
            if _is_of(item, draft.branch):
                return item
        closed = [item async for item in self._http.pages("pulls", state="closed") if _is_of(item, draft.branch)]
        newest = max(closed, key=lambda item: number_at(item, "number"), default=None)
        if newest is None or text_at(newest, "head", "sha") != draft.head:
            return None
        return newest if await self._landed(newest) is not None else await self._reopened(newest)

    async def _reopened(self, item: Json) -> Json:
        path = f"pulls/{number_at(item, 'number')}"
        answer = await self._http.again("PATCH", path, {"state": "open"}, ok=(200, 201, 409, 412, 422))
        return answer.body if text_at(answer.body, "state") == "open" else None

    async def _created(self, draft: PullDraft) -> Json:
        body: Json = {
            "head": draft.branch,
            "base": draft.target,
            "title": _title(draft),
            "body": draft.body,
            "labels": await self._labels.numbers(draft.labels),
        }
        answer = await self._http.once("POST", "pulls", body, ok=(200, 201, 404, 409, 422))
        there = answer.body if answer.status < 300 else await self._of_branch(draft)
        if there is None:
            raise UserFault(
                f"Gitea makes no pull request of {draft.branch} into {draft.target}: {told(answer)}",
                hint="is the branch pushed, with a commit that the target lacks?",
            )
        return there

    async def _brought_up(self, item: Json, draft: PullDraft) -> Json:
        number = number_at(item, "number")
        lacking = tuple(name for name in draft.labels if name not in names_in(list_at(item, "labels"), "name"))
        if lacking:
            # A label that is there already stays as it is: this may be repeated.
            labels: Json = {"labels": await self._labels.numbers(lacking)}
            await self._http.again("POST", f"issues/{number}/labels", labels)
        wanted = {"title": _title(draft), "body": draft.body, "base": draft.target}
        has = {"title": text_at(item, "title"), "body": text_at(item, "body"), "base": text_at(item, "base", "ref")}
        changed: dict[str, Json] = {
            key: value for key, value in wanted.items() if has[key].replace("\r\n", "\n") != value
        }
        return (await self._http.again("PATCH", f"pulls/{number}", changed)).body if changed else item

    async def _landed(self, item: Json) -> Oid | None:
        if true_at(item, "merged"):
            return Oid(text_at(item, "merge_commit_sha"))
        if text_at(item, "state") != "closed":
            return None
        return await self._notes.landed(f"issues/{number_at(item, 'number')}/comments")


def _seen(item: Json, head: Oid) -> Outcome | None:
    """Tell what the pull request itself says; None where a merge may be tried."""
    now = text_at(item, "head", "sha")
    if true_at(item, "merged"):
        return Merged(commit=Oid(text_at(item, "merge_commit_sha")))
    if text_at(item, "state") == "closed":
        return NotMerged(why="somebody closed it")
    if now != head:
        return NotMerged(why=f"its head has moved to {now[:12]}; {head[:12]} was tested")
    return NotMerged(why="it is still a draft") if _is_draft(item) else None


def _is_of(item: Json, branch: str) -> bool:
    """Know the branch by either name: `ref` becomes "refs/pull/…" once the branch is gone."""
    is_fork = at(item, "head", "repo_id") != at(item, "base", "repo_id")
    return branch in (text_at(item, "head", "ref"), text_at(item, "head", "label")) and not is_fork


def _is_draft(item: Json) -> bool:
    return true_at(item, "draft") or _DRAFT.match(text_at(item, "title")) is not None


def _title(draft: PullDraft) -> str:
    bare = _DRAFT.sub("", draft.title)
    return f"WIP: {bare}" if draft.is_draft else bare


def _pull(item: Json, draft: PullDraft, landed: Oid | None) -> Pull:
    return Pull(
        id=str(number_at(item, "number")),
        branch=draft.branch,
        issue=IssueId(draft.issue),
        title=_DRAFT.sub("", text_at(item, "title")),
        body=text_at(item, "body"),
        url=text_at(item, "html_url") or None,
        merged=landed,
        head=Oid(text_at(item, "head", "sha")) if text_at(item, "head", "sha") else None,
        is_draft=_is_draft(item),
    )
