"""Issues of a project on GitLab: read with their links, closed once, added once."""

from collections.abc import Mapping
from urllib.parse import quote

from luminaguard.forges.answers import at, list_at, names_in, number_at, text_at
from luminaguard.forges.base import Filters
from luminaguard.forges.fields import one_line
from luminaguard.forges.gathering import each
from luminaguard.forges.gitlab.quick_actions import tamed
from luminaguard.forges.http_notes import Notes
from luminaguard.forges.http_rules import Http
from luminaguard.forges.issue_numbers import number_of
from luminaguard.forges.items import is_closed, priority_in
from luminaguard.forges.marks import import_in, import_key, mark, marked
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json
from luminaguard.model.issue import Backlog, Issue, IssueState

KEYWORD_PAUSES_S = (1.0, 2.0, 4.0)
"""GitLab closes issues by keyword some seconds after the merge."""

OWNER, DEVELOPER = 50, 30


class Issues:
    """Reads, closes and adds issues."""

    def __init__(self, http: Http, notes: Notes, *, path: str, filters: Filters | None = None) -> None:
        self._http = http
        self._notes = notes
        self._path = path
        self._filters = filters or Filters()
        self._levels: Mapping[str, int] | None = None
        self._imported: dict[str, IssueId] | None = None

    async def backlog(self) -> Backlog:
        """Read the issues that the filters let through, by number."""
        items = sorted(await self._items(), key=lambda item: number_at(item, "iid"))
        known = {IssueId(str(number_at(item, "iid"))): item for item in items}
        asked = [issue for issue, item in known.items() if not is_closed(item)]
        blockers = dict(zip(asked, await each(asked, self._blockers), strict=True))
        levels = await self.levels()
        issues = [
            _issue(item, needs=self._needs(item, blockers.get(issue, []), known), levels=levels)
            for issue, item in known.items()
        ]
        return Backlog(issues=tuple(issues))

    async def item(self, issue: str) -> Json:
        """Read one issue in GitLab's form.

        Raises:
            UserFault: there is none.
        """
        number = number_of(issue)
        answer = await self._http.get(f"issues/{number}", ok=(200, 404))
        if answer.status != 200 or number_at(answer.body, "iid") != number:
            raise UserFault(
                f"there is no issue {issue} in {self._path}, or our token may not see it", hint="check its number"
            )
        return answer.body

    async def issue(self, issue: IssueId) -> Issue:
        """Read one issue with what it waits for."""
        item = await self.item(issue)
        blockers = await self._blockers(issue)
        return _issue(item, needs=self._needs(item, blockers, None), levels=await self.levels())

    async def close(self, issue: IssueId, *, comment: str) -> None:
        """Close with one comment; where a keyword closed it, nothing is left to do."""
        number = number_of(issue)
        if await self._is_closed_soon(issue):
            await self._notes.only(f"issues/{number}/notes", "closed")
            return
        await self._notes.say(f"issues/{number}/notes", "closed", comment)
        await self._http.again("PUT", f"issues/{number}", {"state_event": "close"})

    async def add(self, issue: Issue) -> IssueId:
        """Create an issue with title, text and labels; one that was added before is found again."""
        key = import_key(issue)
        known = await self._known()

        async def look() -> IssueId | None:
            answer = await self._http.get("issues", state="all", order_by="created_at", sort="desc", per_page=30)
            return _marked_in(list_at({"": answer.body}, ""), key)

        async def make() -> IssueId:
            body: Json = {
                "title": issue.title,
                "description": marked(tamed(issue.body), key),
                "labels": ",".join(issue.labels),
            }
            return IssueId(str(number_at((await self._http.once("POST", "issues", body)).body, "iid")))

        if key not in known:
            known[key] = await self._http.made_once(look, make)
        return known[key]

    async def add_need(self, issue: IssueId, need: IssueId) -> None:
        """Say that an issue waits for another: by a link where the licence has such, else in the text."""
        number, blocker = number_of(issue), number_of(need)

        async def look() -> Json:
            item = await self.item(issue)
            named = self._needs(item, await self._blockers(issue), None)
            is_said = str(blocker) in named or _blocked_by(blocker) in text_at(item, "description")
            return item if is_said else None

        async def make() -> Json:
            body: Json = {"target_project_id": self._path, "target_issue_iid": blocker, "link_type": "is_blocked_by"}
            answer = await self._http.once("POST", f"issues/{number}/links", body, ok=(200, 201, 403, 409))
            # 403: the licence has no such links; 409: they are linked already, as merely related.
            return answer.body if answer.status < 300 else await self._written(issue, blocker)

        await self._http.made_once(look, make)

    async def _written(self, issue: IssueId, blocker: int) -> Json:
        item = await self.item(issue)
        text = f"{text_at(item, 'description')}\n\n{_blocked_by(blocker)}".lstrip()
        return (await self._http.again("PUT", f"issues/{number_at(item, 'iid')}", {"description": text})).body

    async def _is_closed_soon(self, issue: str) -> bool:
        for pause_s in (*KEYWORD_PAUSES_S, None):
            item = await self.item(issue)
            if is_closed(item):
                return True
            if pause_s is None or not await self._may_close_by_keyword(item):
                return False
            await self._http.sleep(pause_s)
        return False

    async def _may_close_by_keyword(self, item: Json) -> bool:
        closers = await self._http.get(f"issues/{number_at(item, 'iid')}/closed_by", ok=(200, 403, 404))
        return any(text_at(one, "state") == "merged" for one in list_at({"": closers.body}, ""))

    async def _items(self) -> list[Json]:
        if self._filters.numbers:
            return await each(self._filters.numbers, lambda number: self.item(str(number)))
        params: dict[str, str | int] = {"scope": "all", "order_by": "created_at", "sort": "asc"}
        if self._filters.labels:
            params["labels"] = ",".join(self._filters.labels)
        if self._filters.milestone:
            params["milestone"] = self._filters.milestone
        if self._filters.assignee:
            params["assignee_username"] = self._filters.assignee
        return [item for item in await self._http.all("issues", **params) if number_at(item, "iid") > 0]

    async def _blockers(self, issue: str) -> list[Json]:
        answer = await self._http.get(f"issues/{number_of(issue, what='issue')}/links", ok=(200, 403, 404))
        links = list_at({"": answer.body}, "") if answer.status == 200 else []
        return [link for link in links if text_at(link, "link_type") == "is_blocked_by"]

    def _needs(self, item: Json, blockers: list[Json], known: Mapping[IssueId, Json] | None) -> tuple[IssueId, ...]:
        """Name what blocks an issue; a closed one that is not in the backlog is done and left out."""
        names = {_reference(link, item): link for link in blockers}
        return tuple(
            IssueId(name) for name, link in names.items() if known is None or name in known or not is_closed(link)
        )

    async def levels(self) -> Mapping[str, int] | None:
        """Read once who has which role; None where our token may not see it."""
        if self._levels is None:
            answer = await self._http.get("members/all", ok=(200, 403, 404), per_page=1)
            if answer.status != 200:
                return None
            members = await self._http.all("members/all")
            self._levels = {text_at(one, "username"): number_at(one, "access_level") for one in members}
        return self._levels

    async def association(self, name: str) -> str:
        """Give somebody's standing as the model spells it."""
        return _standing(name, await self.levels())

    async def _known(self) -> dict[str, IssueId]:
        if self._imported is None:
            items = await self._http.all("issues", scope="all", order_by="created_at", sort="asc")
            marks = {key: item for item in items if (key := import_in(text_at(item, "description")))}
            self._imported = {key: IssueId(str(number_at(item, "iid"))) for key, item in marks.items()}
        return self._imported


def project_path(path: str) -> str:
    """Give the part of an address that stands for a project."""
    return f"projects/{quote(path, safe='')}"


def _issue(item: Json, *, needs: tuple[IssueId, ...], levels: Mapping[str, int] | None) -> Issue:
    labels = names_in(list_at(item, "labels"), "name")
    author = text_at(item, "author", "username")
    return Issue(
        id=IssueId(str(number_at(item, "iid"))),
        title=one_line(text_at(item, "title")) or "untitled",
        body=text_at(item, "description"),
        state=IssueState.CLOSED if is_closed(item) else IssueState.OPEN,
        labels=labels,
        needs=needs,
        priority=priority_in(labels),
        estimate_s=float(number_at(item, "time_stats", "time_estimate")) or None,
        author=author or None,
        association=_standing(author, levels),
        milestone=text_at(item, "milestone", "title") or None,
        url=text_at(item, "web_url") or None,
    )


def _standing(name: str, levels: Mapping[str, int] | None) -> str:
    """Trust who may push: Developer and above. Who cannot be looked up counts as nobody."""
    level = (levels or {}).get(name, 0)
    return "owner" if level >= OWNER else "member" if level >= DEVELOPER else "none"


def _reference(link: Json, item: Json) -> str:
    is_here = at(link, "project_id") in (None, at(item, "project_id"))
    full = text_at(link, "references", "full")
    return str(number_at(link, "iid")) if is_here or not full else full


def _blocked_by(number: int) -> str:
    return f"Blocked by #{number}."


def _marked_in(items: list[Json], key: str) -> IssueId | None:
    found = next((item for item in items if mark(key) in text_at(item, "description")), None)
    return None if found is None else IssueId(str(number_at(found, "iid")))
