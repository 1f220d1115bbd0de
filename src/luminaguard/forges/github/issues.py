"""Issues of a repository with their native relations: read with few requests, closed once."""

from collections.abc import Mapping

from luminaguard.forges.answers import at, list_at, number_at, text_at
from luminaguard.forges.base import Filters
from luminaguard.forges.gathering import each
from luminaguard.forges.github.comments import Comments
from luminaguard.forges.github.reading import issue_of, parent_of, reference
from luminaguard.forges.github.wire import Wire
from luminaguard.forges.issue_numbers import number_of
from luminaguard.forges.items import is_closed, is_issue
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json
from luminaguard.model.issue import Backlog, Issue, Notice

CLOSED_AT_MOST = 1000
"""Closed issues that are read, the last changed ones: they only tell that something waited for is done."""

KEYWORD_PAUSES_S = (1.0, 2.0, 4.0)
"""GitHub closes issues by keyword some seconds after the merge."""


class Issues:
    """Reads and closes issues."""

    def __init__(self, wire: Wire, comments: Comments, *, filters: Filters | None = None) -> None:
        self._wire = wire
        self._comments = comments
        self._filters = filters or Filters()
        self._has_dependencies: bool | None = None

    async def backlog(self) -> Backlog:
        """Read the issues that the filters let through, by number."""
        items, notices = await self._items()
        by_number = {number_at(item, "number"): item for item in items}
        known = {IssueId(str(number)): item for number, item in sorted(by_number.items())}
        needs, children = await self._needs(known), await self._children(known)
        issues = [
            issue_of(
                item,
                needs=needs.get(issue, ()),
                parent=parent_of(item, self._wire.repository) or children.get(issue),
            )
            for issue, item in known.items()
        ]
        return Backlog(issues=tuple(issues), notices=notices)

    async def item(self, issue: str) -> Json:
        """Read one issue in GitHub's form.

        Raises:
            UserFault: there is none, or it is a pull request.
        """
        number = number_of(issue)
        answer = await self._wire.get(f"issues/{number}", ok=(200, 404, 410))
        if answer.status != 200 or number_at(answer.body, "number") != number:
            raise UserFault(
                f"there is no issue {issue} in {self._wire.repository.full}, or our token may not see it",
                hint="check its number; it may have been deleted or moved",
            )
        if not is_issue(answer.body):
            raise UserFault(f"{issue} is a pull request of {self._wire.repository.full}", hint="name an issue")
        return answer.body

    async def issue(self, issue: IssueId) -> Issue:
        """Read one issue with its relations."""
        item = await self.item(issue)
        needs = await self._needs({issue: item}, keep_closed=True)
        parent = parent_of(item, self._wire.repository)
        if parent is None and "parent_issue_url" not in (item if isinstance(item, dict) else {}):
            answer = await self._wire.get(f"issues/{number_of(issue)}/parent", ok=(200, 404, 410))
            parent = reference(answer.body, self._wire.repository) if answer.status == 200 else None
        return issue_of(item, needs=needs.get(issue, ()), parent=parent)

    async def close(self, issue: IssueId, *, comment: str) -> None:
        """Close as completed with one comment; where a keyword closed it, nothing is left to do."""
        number = number_of(issue)
        if await self._is_closed_soon(issue):
            return
        await self._comments.say(number, "closed", comment)
        body: Json = {"state": "closed", "state_reason": "completed"}
        await self._wire.again("PATCH", f"issues/{number}", body)

    async def _is_closed_soon(self, issue: str) -> bool:
        for pause_s in (*KEYWORD_PAUSES_S, None):
            item = await self.item(issue)
            if is_closed(item):
                return True
            if pause_s is None or not await self._may_close_by_keyword(item):
                return False
            await self._wire.sleep(pause_s)
        return False

    async def _may_close_by_keyword(self, item: Json) -> bool:
        """Wait only where GitHub knows a merged pull request that names the issue; a local landing closes nothing."""
        number = number_at(item, "number")
        events = await self._wire.get(f"issues/{number}/timeline", {"per_page": 100}, ok=(200, 404, 410))
        sources = [at(event, "source", "issue") for event in list_at({"": events.body}, "")]
        return any(text_at(source, "pull_request", "merged_at") for source in sources)

    async def _items(self) -> tuple[list[Json], tuple[Notice, ...]]:
        if self._filters.numbers:
            return await each(self._filters.numbers, lambda number: self.item(str(number))), ()
        params = await self._params()
        opened = await self._wire.all("issues", {"state": "open", "sort": "created", "direction": "asc", **params})
        closed: list[Json] = []
        notices: tuple[Notice, ...] = ()
        async for item in self._wire.pages(
            "issues", {"state": "closed", "sort": "updated", "direction": "desc", **params}
        ):
            if len(closed) >= CLOSED_AT_MOST:
                said = f"of the closed issues only the {CLOSED_AT_MOST} that changed last were read"
                notices = (Notice(text=said),)
                break
            closed += [item] if is_issue(item) else []
        # What was closed between the two lists is in both: closed is what it is now.
        return [item for item in (*opened, *closed) if is_issue(item)], notices

    async def _params(self) -> dict[str, str | int]:
        params: dict[str, str | int] = {}
        if self._filters.labels:
            params["labels"] = ",".join(self._filters.labels)
        if self._filters.assignee:
            params["assignee"] = self._filters.assignee
        if self._filters.milestone:
            params["milestone"] = await self._milestone(self._filters.milestone)
        return params

    async def _milestone(self, name: str) -> str:
        if name.isdecimal() or name in ("*", "none"):
            return name
        titles: dict[str, int] = {}
        async for item in self._wire.pages("milestones", {"state": "all"}):
            titles[text_at(item, "title")] = number_at(item, "number")
        if name not in titles:
            known = ", ".join(sorted(titles)) or "none at all"
            raise UserFault(f"{self._wire.repository.full} has no milestone {name!r}", hint=f"there is: {known}")
        return str(titles[name])

    async def _needs(
        self, known: Mapping[IssueId, Json], *, keep_closed: bool = False
    ) -> dict[IssueId, tuple[IssueId, ...]]:
        """Read what open issues wait for; a closed one that is not in the list is done and left out."""
        asked = [issue for issue, item in known.items() if not is_closed(item) and await self._may_wait(item)]
        lists = await each(asked, lambda issue: self._wire.all(f"issues/{number_of(issue)}/dependencies/blocked_by"))
        return {
            issue: tuple(
                name
                for one in blockers
                if (name := reference(one, self._wire.repository)) is not None
                and (keep_closed or name in known or not is_closed(one))
            )
            for issue, blockers in zip(asked, lists, strict=True)
        }

    async def _may_wait(self, item: Json) -> bool:
        """Ask only where the issue says that it waits; servers that do not say so are tried once."""
        summary = at(item, "issue_dependencies_summary")
        if isinstance(summary, dict):
            return max(number_at(summary, "total_blocked_by"), number_at(summary, "blocked_by")) > 0
        if self._has_dependencies is None:
            path = f"issues/{number_at(item, 'number')}/dependencies/blocked_by"
            answer = await self._wire.get(path, {"per_page": 100}, ok=(200, 403, 404, 410))
            self._has_dependencies = answer.status == 200
        return self._has_dependencies

    async def _children(self, known: Mapping[IssueId, Json]) -> dict[IssueId, IssueId]:
        """Ask parents for their children where these do not name them."""
        named = {parent_of(item, self._wire.repository) for item in known.values()}
        asked = [
            issue
            for issue, item in known.items()
            if number_at(item, "sub_issues_summary", "total") > 0 and issue not in named
        ]
        lists = await each(asked, lambda issue: self._wire.all(f"issues/{number_of(issue)}/sub_issues"))
        return {
            child: parent
            for parent, subs in zip(asked, lists, strict=True)
            for sub in subs
            if (child := reference(sub, self._wire.repository)) is not None
        }
