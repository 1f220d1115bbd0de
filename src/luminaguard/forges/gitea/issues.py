"""Issues of a repository on Gitea or Forgejo: read with their dependencies, closed once, added once."""

from collections.abc import Mapping

from luminaguard.forges.answers import list_at, names_in, number_at, text_at
from luminaguard.forges.base import Filters
from luminaguard.forges.fields import one_line
from luminaguard.forges.gathering import each
from luminaguard.forges.http_notes import Notes
from luminaguard.forges.http_rules import Http
from luminaguard.forges.issue_numbers import number_of
from luminaguard.forges.items import is_closed, is_issue, priority_in
from luminaguard.forges.marks import import_in, import_key, mark, marked
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json
from luminaguard.model.issue import Backlog, Issue, IssueState

LABEL_COLOUR = "#ededed"
"""Of labels that are made because a draft or an import names them."""


class Labels:
    """Labels by name; Gitea takes them by number, and those of an organisation count too."""

    def __init__(self, http: Http, *, owner: str) -> None:
        self._http = http
        self._owner = owner

    async def numbers(self, names: tuple[str, ...]) -> list[Json]:
        """Give the labels' numbers; one that is not there is made."""
        if not names:
            return []
        known = await self._known()
        for name in names:
            if name not in known:
                known[name] = await self._made(name)
        return [known[name] for name in names]

    async def _known(self) -> dict[str, int]:
        shared = await self._http.get(f"/orgs/{self._owner}/labels", ok=(200, 403, 404), limit=self._http.page)
        listed = [*list_at({"": shared.body}, ""), *await self._http.all("labels")]
        return {text_at(one, "name"): number_at(one, "id") for one in listed}

    async def _made(self, name: str) -> int:
        async def look() -> int | None:
            return (await self._known()).get(name)

        async def make() -> int:
            body: Json = {"name": name, "color": LABEL_COLOUR}
            return number_at((await self._http.once("POST", "labels", body)).body, "id")

        return await self._http.made_once(look, make)


class Issues:
    """Reads, closes and adds issues."""

    def __init__(self, http: Http, notes: Notes, labels: Labels, *, path: str, filters: Filters | None = None) -> None:
        self._http = http
        self._notes = notes
        self._labels = labels
        self._path = path
        self._filters = filters or Filters()
        self._writers: frozenset[str] | None = None
        self._imported: dict[str, IssueId] | None = None

    async def backlog(self) -> Backlog:
        """Read the issues that the filters let through, by number."""
        items = sorted(await self._items(), key=lambda item: number_at(item, "number"))
        known = {IssueId(str(number_at(item, "number"))): item for item in items}
        asked = [issue for issue, item in known.items() if not is_closed(item)]
        blockers = dict(zip(asked, await each(asked, self._blockers), strict=True))
        issues = [
            await self._issue(item, needs=self._needs(blockers.get(issue, []), known)) for issue, item in known.items()
        ]
        return Backlog(issues=tuple(issues))

    async def item(self, issue: str) -> Json:
        """Read one issue in Gitea's form.

        Raises:
            UserFault: there is none, or it is a pull request.
        """
        number = number_of(issue)
        answer = await self._http.get(f"issues/{number}", ok=(200, 404))
        if answer.status != 200 or number_at(answer.body, "number") != number:
            raise UserFault(
                f"there is no issue {issue} in {self._path}, or our token may not see it", hint="check its number"
            )
        if not is_issue(answer.body):
            raise UserFault(f"{issue} is a pull request of {self._path}", hint="name an issue")
        return answer.body

    async def issue(self, issue: IssueId) -> Issue:
        """Read one issue with what it waits for."""
        item = await self.item(issue)
        return await self._issue(item, needs=self._needs(await self._blockers(issue), None))

    async def close(self, issue: IssueId, *, comment: str) -> None:
        """Close with one comment; Gitea closes by keyword within the push, so there is nothing to wait for."""
        item = await self.item(issue)
        number = number_at(item, "number")
        if is_closed(item):
            await self._notes.only(f"issues/{number}/comments", "closed")
            return
        await self._notes.say(f"issues/{number}/comments", "closed", comment)
        await self._http.again("PATCH", f"issues/{number}", {"state": "closed"})

    async def add(self, issue: Issue) -> IssueId:
        """Create an issue with title, text and labels; one that was added before is found again."""
        key = import_key(issue)
        known = await self._known()

        async def look() -> IssueId | None:
            # Newest first is Gitea's order where none is asked for.
            answer = await self._http.get("issues", state="all", type="issues", limit=30)
            listed = list_at({"": answer.body}, "")
            return next((_id(item) for item in listed if mark(key) in text_at(item, "body")), None)

        async def make() -> IssueId:
            labels = await self._labels.numbers(issue.labels)
            body: Json = {"title": issue.title, "body": marked(issue.body, key), "labels": labels}
            return _id((await self._http.once("POST", "issues", body)).body)

        if key not in known:
            known[key] = await self._http.made_once(look, make)
        return known[key]

    async def add_need(self, issue: IssueId, need: IssueId) -> None:
        """Say that an issue waits for another.

        Raises:
            UserFault: the repository has dependencies switched off, or one of the two is not there.
        """
        number, blocker = number_of(issue), number_of(need)

        async def look() -> Json:
            listed = await self._blockers(issue)
            return next((one for one in listed if self._name(one) == str(blocker)), None)

        async def make() -> Json:
            owner, _, name = self._path.partition("/")
            body: Json = {"index": blocker, "owner": owner, "repo": name}
            answer = await self._http.once("POST", f"issues/{number}/dependencies", body, ok=(200, 201, 404))
            if answer.status == 404:
                raise UserFault(
                    f"{self._path} takes no dependency of {issue} on {need}",
                    hint="are both there, and dependencies switched on in the repository's settings?",
                )
            return answer.body

        await self._http.made_once(look, make)

    async def association(self, name: str) -> str:
        """Give somebody's standing as the model spells it; who cannot be looked up counts as nobody."""
        if name and name == self._path.partition("/")[0]:
            return "owner"
        if self._writers is None:
            # All who may write, by themselves or in a team; Gitea pages this list nowhere.
            answer = await self._http.get("assignees", ok=(200, 403, 404))
            self._writers = frozenset(names_in(list_at({"": answer.body}, ""), "login"))
        return "member" if name in self._writers else "none"

    async def _items(self) -> list[Json]:
        if self._filters.numbers:
            return await each(self._filters.numbers, lambda number: self.item(str(number)))
        params: dict[str, str | int] = {"state": "all", "type": "issues"}
        if self._filters.labels:
            params["labels"] = ",".join(self._filters.labels)
        if self._filters.milestone:
            params["milestones"] = self._filters.milestone
        if self._filters.assignee:
            params["assigned_by"] = self._filters.assignee
        return [item for item in await self._http.all("issues", **params) if is_issue(item) and self._has_labels(item)]

    def _has_labels(self, item: Json) -> bool:
        """Look again: Gitea overlooks a label that it does not know, and would give everything."""
        return set(self._filters.labels) <= set(names_in(list_at(item, "labels"), "name"))

    async def _blockers(self, issue: str) -> list[Json]:
        """Read what an issue waits for; nothing where dependencies are switched off (404)."""
        path = f"issues/{number_of(issue, what='issue')}/dependencies"
        answer = await self._http.get(path, ok=(200, 403, 404), limit=self._http.page)
        listed = list_at({"": answer.body}, "")
        return await self._http.all(path) if len(listed) >= self._http.page else listed

    def _needs(self, blockers: list[Json], known: Mapping[IssueId, Json] | None) -> tuple[IssueId, ...]:
        """Name what blocks an issue; a closed one that is not in the backlog is done and left out.

        What our token may not see has no number.
        """
        names = {self._name(one): one for one in blockers if number_at(one, "number") > 0}
        return tuple(
            IssueId(name) for name, one in names.items() if known is None or name in known or not is_closed(one)
        )

    def _name(self, item: Json) -> str:
        full, number = text_at(item, "repository", "full_name"), number_at(item, "number")
        return str(number) if full.lower() in ("", self._path.lower()) else f"{full}#{number}"

    async def _issue(self, item: Json, *, needs: tuple[IssueId, ...]) -> Issue:
        labels = names_in(list_at(item, "labels"), "name")
        author = text_at(item, "user", "login")
        return Issue(
            id=_id(item),
            title=one_line(text_at(item, "title")) or "untitled",
            body=text_at(item, "body"),
            state=IssueState.CLOSED if is_closed(item) else IssueState.OPEN,
            labels=labels,
            needs=needs,
            priority=priority_in(labels),
            estimate_s=float(number_at(item, "time_estimate")) or None,
            author=author or None,
            association=await self.association(author),
            milestone=text_at(item, "milestone", "title") or None,
            url=text_at(item, "html_url") or None,
        )

    async def _known(self) -> dict[str, IssueId]:
        if self._imported is None:
            items = await self._http.all("issues", state="all", type="issues")
            keys = ((import_in(text_at(item, "body")), item) for item in items)
            self._imported = {key: _id(item) for key, item in keys if key and number_at(item, "number")}
        return self._imported


def _id(item: Json) -> IssueId:
    return IssueId(str(number_at(item, "number")))
