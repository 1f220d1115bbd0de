"""Pull requests: one a branch, looked up before it is made, brought up to what it should say."""

from luminaguard.forges.answers import at, list_at, names_in, number_at, text_at, true_at
from luminaguard.forges.base import Fate, Pull, PullDraft
from luminaguard.forges.fates import fate_of
from luminaguard.forges.github.comments import Comments
from luminaguard.forges.github.line import Answer
from luminaguard.forges.github.refusals import told
from luminaguard.forges.github.wire import Wire
from luminaguard.forges.issue_numbers import number_of
from luminaguard.forges.items import is_closed
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json, Oid

LANDED = "landed"
MERGE_PAUSES_S = (1.0, 3.0, 6.0)
"""GitHub sees some seconds after a push that a pull request's commits are on its base."""

_READY = """mutation($id: ID!) {
  markPullRequestReadyForReview(input: {pullRequestId: $id}) { pullRequest { isDraft } }
}"""
_DRAFT = """mutation($id: ID!) {
  convertPullRequestToDraft(input: {pullRequestId: $id}) { pullRequest { isDraft } }
}"""


class Pulls:
    """Opens pull requests, and records what they landed as."""

    def __init__(self, wire: Wire, comments: Comments) -> None:
        self._wire = wire
        self._comments = comments

    async def open_pull(self, draft: PullDraft) -> Pull:
        """Return the branch's pull request, brought up to the draft."""
        item = await self._wire.made_once(lambda: self._of_branch(draft), lambda: self._create(draft))
        landed = await self._landed(item)
        if landed is None:
            item = await self._brought_up(item, draft)
        return _pull(item, draft.issue, landed)

    async def item(self, pull: str) -> Json:
        """Read one pull request in GitHub's form.

        Raises:
            UserFault: there is none.
        """
        number = number_of(pull, what="pull request")
        answer = await self._wire.get(f"pulls/{number}", ok=(200, 404))
        if answer.status != 200:
            where = self._wire.repository.full
            raise UserFault(f"there is no pull request {pull} in {where}", hint="check its number")
        return answer.body

    async def fate(self, pull: str) -> Fate:
        """Tell what became of a pull request: merged by GitHub, landed by a push of ours, closed, or none of these."""
        item = await self.item(pull)
        return fate_of(await self._landed(item), is_closed=is_closed(item))

    async def mark_merged(self, pull: str, *, commit: Oid) -> None:
        """Where GitHub does not see the merge by itself, close with a comment that names the commit."""
        item = await self._seen_merged(await self.item(pull), commit)
        number = number_at(item, "number")
        if _is_merged(item) or (text_at(item, "state") == "closed" and await self._landed(item) is not None):
            return
        # The commit first: a later look finds it in the comment alone.
        await self._comments.say(number, LANDED, f"Landed on `{text_at(item, 'base', 'ref')}` as {commit}.")
        await self._wire.again("PATCH", f"pulls/{number}", {"state": "closed"})

    async def _of_branch(self, draft: PullDraft) -> Json:
        """Find the branch's newest pull request that counts: open, or done and the branch has not moved on."""
        repository = self._wire.repository
        head = f"{repository.owner}:{draft.branch}"
        params = {"state": "all", "head": head, "sort": "created", "direction": "desc"}
        closed: list[Json] = []
        async for item in self._wire.pages("pulls", params):
            if not _is_of(item, draft.branch, repository.owner):
                continue
            if text_at(item, "state") == "open":
                return item
            closed.append(item)
        newest = closed[0] if closed else None
        if newest is None or text_at(newest, "head", "sha") != draft.head:
            return None
        is_done = _is_merged(newest) or await self._landed(newest) is not None
        return newest if is_done else await self._reopened(newest)

    async def _reopened(self, item: Json) -> Json:
        """Open again what somebody closed; GitHub refuses where its branch was removed meanwhile."""
        answer = await self._wire.again("PATCH", f"pulls/{number_at(item, 'number')}", {"state": "open"}, ok=(200, 422))
        return answer.body if answer.status == 200 else None

    async def _create(self, draft: PullDraft) -> Json:
        answer = await self._posted(draft, is_draft=draft.is_draft)
        if answer.status == 422 and draft.is_draft:
            # Private repositories of some plans have no drafts.
            answer = await self._posted(draft, is_draft=False)
        if answer.status != 422:
            return answer.body
        there = await self._of_branch(draft)
        if there is None:
            raise UserFault(
                f"GitHub makes no pull request of {draft.branch} into {draft.target}: {told(answer)}",
                hint="is the branch pushed, with a commit that the target lacks?",
            )
        return there

    async def _posted(self, draft: PullDraft, *, is_draft: bool) -> Answer:
        body: Json = {
            "title": draft.title,
            "body": draft.body,
            "head": draft.branch,
            "base": draft.target,
            "draft": is_draft,
        }
        return await self._wire.once("POST", "pulls", body, ok=(201, 422))

    async def _brought_up(self, item: Json, draft: PullDraft) -> Json:
        number = number_at(item, "number")
        wanted = {"title": draft.title, "body": draft.body, "base": draft.target}
        has = {
            "title": text_at(item, "title"),
            "body": text_at(item, "body").replace("\r\n", "\n"),
            "base": text_at(item, "base", "ref"),
        }
        changed: dict[str, Json] = {key: value for key, value in wanted.items() if has[key] != value}
        if changed:
            item = (await self._wire.again("PATCH", f"pulls/{number}", changed)).body
        missing = [name for name in draft.labels if name not in names_in(list_at(item, "labels"), "name")]
        if missing:
            await self._wire.again("POST", f"issues/{number}/labels", {"labels": list(missing)})
        if true_at(item, "draft") != draft.is_draft:
            return await self._turned(item, is_draft=draft.is_draft)
        return item

    async def _turned(self, item: Json, *, is_draft: bool) -> Json:
        """Say by GraphQL that it is ready, or a draft; REST cannot. Either says a state, and may be said again.

        One that stays open for merging does no harm; one that stays a draft would never land.
        """
        node = text_at(item, "node_id")
        answer = await (self._wire.ask(_DRAFT, id=node) if is_draft else self._wire.query(_READY, id=node))
        name = "convertPullRequestToDraft" if is_draft else "markPullRequestReadyForReview"
        turned = at(answer, name, "pullRequest", "isDraft")
        return {**item, "draft": turned} if isinstance(item, dict) and turned is not None else item

    async def _seen_merged(self, item: Json, commit: Oid) -> Json:
        """Give GitHub time to see the merge where the pull request's head is in the history of what landed."""
        head = text_at(item, "head", "sha")
        if text_at(item, "state") != "open" or not head or not await self._holds(commit, head):
            return item
        for pause_s in MERGE_PAUSES_S:
            await self._wire.sleep(pause_s)
            item = await self.item(str(number_at(item, "number")))
            if _is_merged(item):
                break
        return item

    async def _holds(self, commit: Oid, head: str) -> bool:
        answer = await self._wire.get(f"compare/{commit}...{head}", {"per_page": 1}, ok=(200, 404, 422))
        return answer.status == 200 and text_at(answer.body, "status") in ("identical", "behind")

    async def _landed(self, item: Json) -> Oid | None:
        """Give the commit that it landed as: GitHub's merge, or what our comment says."""
        if _is_merged(item):
            return Oid(text_at(item, "merge_commit_sha") or text_at(item, "head", "sha"))
        if text_at(item, "state") != "closed":
            return None
        said = await self._comments.ours(number_at(item, "number"), LANDED)
        words = text_at(said[0], "body").partition("\n")[0].rstrip(".").split() if said else []
        return Oid(words[-1]) if words else None


def _is_merged(item: Json) -> bool:
    """Tell by what both the list and the single answer have."""
    return bool(text_at(item, "merged_at")) or true_at(item, "merged")


def _is_of(item: Json, branch: str, owner: str) -> bool:
    """Look again: some servers overlook the parameter `head`, and forks have branches of the same name."""
    of = text_at(item, "head", "repo", "owner", "login") or text_at(item, "head", "label").partition(":")[0] or owner
    return text_at(item, "head", "ref") == branch and of.lower() == owner.lower()


def _pull(item: Json, issue: IssueId, landed: Oid | None) -> Pull:
    return Pull(
        id=str(number_at(item, "number")),
        branch=text_at(item, "head", "ref"),
        issue=issue,
        title=text_at(item, "title"),
        body=text_at(item, "body"),
        url=text_at(item, "html_url") or None,
        merged=landed,
        head=Oid(text_at(item, "head", "sha")) if text_at(item, "head", "sha") else None,
        is_draft=true_at(item, "draft"),
    )
