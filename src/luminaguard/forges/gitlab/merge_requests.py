"""Merge requests: one a branch, looked up before it is made, brought up to the draft, merged with the expected head.

A merge request's id is "!12", as GitLab counts them apart from issues.
"""

import re
from typing import Literal

from luminaguard.forges.answers import at, list_at, names_in, number_at, text_at, true_at
from luminaguard.forges.base import Fate, Merged, NotMerged, Pull, PullDraft
from luminaguard.forges.fates import fate_of
from luminaguard.forges.gitlab.quick_actions import tamed
from luminaguard.forges.http_notes import Notes
from luminaguard.forges.http_rules import Answer, Http, told
from luminaguard.forges.issue_numbers import number_of
from luminaguard.forges.once import Lost, settled
from luminaguard.model.faults import HostFault, UserFault
from luminaguard.model.ids import IssueId, Json, Oid

Outcome = Merged | NotMerged

MERGE_PAUSES_S = (1.0, 3.0, 6.0)
"""GitLab sees some seconds after a push that a merge request's commits are on its target."""

_DRAFT = re.compile(r"^(?:\s*(?:\[draft\]|\(draft\)|draft:|draft\s-|\[wip\]|wip:)\s*)+", re.IGNORECASE)
_LATER = frozenset({
    "unchecked", "checking", "preparing", "approvals_syncing", "ci_still_running", "ci_must_pass", "not_approved",
    "discussions_not_resolved", "external_status_checks", "security_policy_pipeline_check",
})  # fmt: skip
"""`detailed_merge_status` that passes by itself, or with somebody else's doing."""

_ON_TRAIN = ("idle", "stale", "fresh", "merging")


class MergeRequests:
    """Opens, marks and merges."""

    def __init__(self, http: Http, notes: Notes, *, path: str) -> None:
        self._http = http
        self._notes = notes
        self._path = path

    async def open_pull(self, draft: PullDraft) -> Pull:
        """Return the branch's merge request, brought up to the draft."""
        item = await self._http.made_once(lambda: self._of_branch(draft), lambda: self._created(draft))
        landed = await self._landed(item)
        if landed is None:
            item = await self._brought_up(item, draft)
        return _pull(item, draft.issue, landed)

    async def item(self, pull: str) -> Json:
        """Read one merge request in GitLab's form.

        Raises:
            UserFault: there is none.
        """
        number = number_of(pull, what="merge request", sign="!")
        answer = await self._http.get(f"merge_requests/{number}", ok=(200, 404))
        if answer.status != 200 or number_at(answer.body, "iid") != number:
            raise UserFault(f"there is no merge request {pull} in {self._path}", hint="check its number")
        return answer.body

    async def fate(self, pull: str) -> Fate:
        """Tell what became of a merge request: merged by GitLab, landed by a push of ours, closed, or none of these."""
        item = await self.item(pull)
        return fate_of(await self._landed(item), is_closed=text_at(item, "state") == "closed")

    async def mark_merged(self, pull: str, *, commit: Oid) -> None:
        """Where GitLab does not see the merge by itself, close with a comment that names the commit."""
        item = await self._seen_merged(await self.item(pull))
        if await self._landed(item) is not None:
            return
        number = number_at(item, "iid")
        # The commit first: a later look finds it in the comment alone.
        target = text_at(item, "target_branch")
        await self._notes.say_landed(f"merge_requests/{number}/notes", target=target, commit=commit)
        await self._http.again("PUT", f"merge_requests/{number}", {"state_event": "close"})

    async def merge(self, pull: str, *, head: Oid, style: Literal["squash", "merge"], message: str) -> Outcome:
        """Merge if the head is still `head`; by the merge train where there is one."""
        item = await self.item(pull)
        outcome = _seen(item, head)
        if outcome is not None:
            return outcome
        project = await self._http.get("")
        if true_at(project.body, "merge_trains_enabled"):
            return await self._by_train(item, head, style)
        return await self._by_api(item, head, style, message)

    async def leave(self, pull: str) -> None:
        """Take it off the merge train and switch auto-merge off; GitLab has one call for both.

        Raises:
            HostFault: GitLab keeps it.
        """
        item = await self.item(pull)
        number = number_at(item, "iid")
        if not await self._is_handed_over(item):
            return
        path = f"merge_requests/{number}/cancel_merge_when_pipeline_succeeds"
        answer = await self._http.again("POST", path, ok=(200, 201, 405, 406))
        # A no comes as a 201 too, with the status in the body (AutoMergeService#cancel): so it is looked at.
        if await self._is_handed_over(await self.item(pull)):
            raise HostFault(f"GitLab goes on merging !{number}: {told(answer)}", hint="cancel its auto-merge there")

    async def _is_handed_over(self, item: Json) -> bool:
        """Tell whether GitLab is to merge it: `merge_when_pipeline_succeeds` is true on a train too."""
        if text_at(item, "state") not in ("opened", "locked"):
            return False
        return true_at(item, "merge_when_pipeline_succeeds") or bool(await self._place_on_train(number_at(item, "iid")))

    async def _place_on_train(self, number: int) -> str:
        """Give how far it is on a merge train; "" where it is on none."""
        answer = await self._http.get(f"merge_trains/merge_requests/{number}", ok=(200, 403, 404))
        status = text_at(answer.body, "status") if answer.status == 200 else ""
        return status if status in _ON_TRAIN else ""

    async def _by_api(self, item: Json, head: Oid, style: str, message: str) -> Outcome:
        number = number_at(item, "iid")
        body: dict[str, Json] = {"sha": head, "squash": style == "squash"}
        body["squash_commit_message" if style == "squash" else "merge_commit_message"] = message
        answer = await self._tried(number, head, body)
        if not isinstance(answer, Answer):
            return answer
        now = await self.item(str(number))
        outcome = _seen(now, head)
        if outcome is not None:
            return outcome
        status = text_at(now, "detailed_merge_status")
        why = f"GitLab: {status or told(answer) or answer.status}"
        if answer.status == 409 or status not in _LATER:
            return NotMerged(why=why)
        # Older servers know only the second name.
        later = await self._tried(number, head, {**body, "auto_merge": True, "merge_when_pipeline_succeeds": True})
        return later if isinstance(later, Merged) else NotMerged(why=why, is_waiting=True)

    async def _tried(self, number: int, head: Oid, body: dict[str, Json]) -> Answer | Outcome:
        """Ask for the merge once; never again unseen after a lost answer."""

        async def look() -> Outcome | None:
            return _seen(await self.item(str(number)), head)

        try:
            answer = await self._http.once("PUT", f"merge_requests/{number}/merge", body, ok=(200, 405, 406, 409, 422))
        except Lost as lost:
            waiting = NotMerged(why=f"{lost.message}, and it is not merged yet", is_waiting=True)
            return await settled(look, sleep=self._http.sleep) or waiting
        if answer.status == 200 and text_at(answer.body, "state") == "merged":
            return Merged(commit=_commit(answer.body))
        return answer

    async def _by_train(self, item: Json, head: Oid, style: str) -> Outcome:
        number = number_at(item, "iid")
        if status := await self._place_on_train(number):
            return NotMerged(why=f"it is on GitLab's merge train ({status})", is_waiting=True)
        path = f"merge_trains/merge_requests/{number}"
        said: Json = {"sha": head, "squash": style == "squash", "auto_merge": True, "when_pipeline_succeeds": True}
        try:
            answer = await self._http.once("POST", path, said, ok=(200, 201, 202, 400, 409))
        except Lost as lost:
            return NotMerged(why=lost.message, is_waiting=True)
        if answer.status >= 400:
            return NotMerged(why=f"GitLab's merge train takes it not: {told(answer)}")
        return NotMerged(why="GitLab's merge train has it and merges it when it can", is_waiting=True)

    async def _of_branch(self, draft: PullDraft) -> Json:
        """Find the branch's newest merge request that counts: open, or done and the branch has not moved on."""
        asked: dict[str, str | int] = {"source_branch": draft.branch, "state": "all", "order_by": "created_at"}
        closed: list[Json] = []
        async for item in self._http.pages("merge_requests", sort="desc", **asked):
            is_fork = at(item, "source_project_id") != at(item, "target_project_id")
            if text_at(item, "source_branch") != draft.branch or is_fork:
                continue
            if text_at(item, "state") in ("opened", "locked"):
                return item
            closed.append(item)
        newest = max(closed, key=lambda item: number_at(item, "iid"), default=None)
        if newest is None or text_at(newest, "sha") != draft.head:
            return None
        return newest if await self._landed(newest) is not None else await self._reopened(newest)

    async def _reopened(self, item: Json) -> Json:
        path = f"merge_requests/{number_at(item, 'iid')}"
        answer = await self._http.again("PUT", path, {"state_event": "reopen"}, ok=(200, 400, 409, 422))
        return answer.body if text_at(answer.body, "state") == "opened" else None

    async def _created(self, draft: PullDraft) -> Json:
        body: Json = {
            "source_branch": draft.branch,
            "target_branch": draft.target,
            "title": _title(draft),
            "description": tamed(draft.body),
            "labels": ",".join(draft.labels),
        }
        answer = await self._http.once("POST", "merge_requests", body, ok=(200, 201, 400, 409, 422))
        there = answer.body if answer.status < 300 else await self._of_branch(draft)
        if there is None:
            raise UserFault(
                f"GitLab makes no merge request of {draft.branch} into {draft.target}: {told(answer)}",
                hint="is the branch pushed, with a commit that the target lacks?",
            )
        return there

    async def _brought_up(self, item: Json, draft: PullDraft) -> Json:
        wanted = {"title": _title(draft), "description": tamed(draft.body), "target_branch": draft.target}
        changed: dict[str, Json] = {
            key: value for key, value in wanted.items() if text_at(item, key).replace("\r\n", "\n") != value
        }
        lacking = [name for name in draft.labels if name not in names_in(list_at(item, "labels"), "name")]
        if lacking:
            changed["add_labels"] = ",".join(lacking)
        if not changed:
            return item
        return (await self._http.again("PUT", f"merge_requests/{number_at(item, 'iid')}", changed)).body

    async def _landed(self, item: Json) -> Oid | None:
        if text_at(item, "state") == "merged":
            return _commit(item)
        if text_at(item, "state") != "closed":
            return None
        return await self._notes.landed(f"merge_requests/{number_at(item, 'iid')}/notes")

    async def _seen_merged(self, item: Json) -> Json:
        """Wait a little where the head is on the target: GitLab marks it merged by itself then."""
        for pause_s in MERGE_PAUSES_S:
            if text_at(item, "state") != "opened" or not await self._is_on_target(item):
                break
            await self._http.sleep(pause_s)
            item = await self.item(str(number_at(item, "iid")))
        return item

    async def _is_on_target(self, item: Json) -> bool:
        path = f"repository/commits/{text_at(item, 'sha')}/refs"
        refs = await self._http.get(path, ok=(200, 403, 404), type="branch", per_page=100)
        return text_at(item, "target_branch") in names_in(list_at({"": refs.body}, ""), "name")


def _seen(item: Json, head: Oid) -> Outcome | None:
    """Tell what the merge request itself says; None where a merge may be tried."""
    state, now = text_at(item, "state"), text_at(item, "sha")
    if state == "merged":
        return Merged(commit=_commit(item))
    if state == "closed":
        return NotMerged(why="somebody closed it")
    if state == "locked":
        return NotMerged(why="GitLab is merging it", is_waiting=True)
    if now != head:
        return NotMerged(why=f"its head has moved to {now[:12]}; {head[:12]} was tested")
    return NotMerged(why="it is still a draft") if _is_draft(item) else None


def _commit(item: Json) -> Oid:
    """Name the commit on the target: a merge, else the squashed one, else the head by fast-forward."""
    return Oid(text_at(item, "merge_commit_sha") or text_at(item, "squash_commit_sha") or text_at(item, "sha"))


def _is_draft(item: Json) -> bool:
    return true_at(item, "draft") or true_at(item, "work_in_progress")


def _title(draft: PullDraft) -> str:
    bare = _DRAFT.sub("", draft.title)
    return f"Draft: {bare}" if draft.is_draft else bare


def _pull(item: Json, issue: IssueId, landed: Oid | None) -> Pull:
    return Pull(
        id=f"!{number_at(item, 'iid')}",
        branch=text_at(item, "source_branch"),
        issue=issue,
        title=_DRAFT.sub("", text_at(item, "title")),
        body=text_at(item, "description"),
        url=text_at(item, "web_url") or None,
        merged=landed,
        head=Oid(text_at(item, "sha")) if text_at(item, "sha") else None,
        is_draft=_is_draft(item),
    )
