"""Writing issues, for import and export: each made once, known again by a hidden mark of where it came from."""

from luminaguard.forges.answers import number_at, text_at
from luminaguard.forges.github.issues import Issues
from luminaguard.forges.github.reading import reference
from luminaguard.forges.github.wire import Wire
from luminaguard.forges.issue_numbers import number_of
from luminaguard.forges.items import is_issue
from luminaguard.forges.marks import import_in, import_key, mark, marked
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json
from luminaguard.model.issue import Issue


class Writing:
    """Adds issues and relations. An import that broke off goes on where it was."""

    def __init__(self, wire: Wire, issues: Issues) -> None:
        self._wire = wire
        self._issues = issues
        self._known: dict[str, IssueId] | None = None

    async def add(self, issue: Issue) -> IssueId:
        """Create an issue with title, body and labels; one that was added before is found again."""
        key = import_key(issue)
        known = await self._imported()

        async def look() -> IssueId | None:
            return await self._newest(key)

        async def make() -> IssueId:
            body: Json = {
                "title": issue.title,
                "body": marked(issue.body, key),
                "labels": list(issue.labels),
            }
            made = await self._wire.once("POST", "issues", body, ok=(201,))
            return IssueId(str(number_at(made.body, "number")))

        if key not in known:
            known[key] = await self._wire.made_once(look, make)
        return known[key]

    async def add_need(self, issue: IssueId, need: IssueId) -> None:
        """Say that an issue waits for another, by the other's database id."""
        path = f"issues/{number_of(issue)}/dependencies/blocked_by"
        blocker = number_at(await self._issues.item(need), "id")

        async def look() -> Json:
            listed = await self._wire.all(path, ok=(200, 404))
            return next((one for one in listed if reference(one, self._wire.repository) == str(number_of(need))), None)

        async def make() -> Json:
            answer = await self._wire.once("POST", path, {"issue_id": blocker}, ok=(201, 404))
            if answer.status == 404:
                raise UserFault(
                    f"{self._wire.repository.host} knows no dependencies between issues",
                    hint='write "Depends on #12" into the text instead',
                )
            return answer.body

        await self._wire.made_once(look, make)

    async def _imported(self) -> dict[str, IssueId]:
        """Read once which issues were imported before."""
        if self._known is None:
            items = await self._wire.all("issues", {"state": "all"})
            keys = ((import_in(text_at(item, "body")), item) for item in items if is_issue(item))
            self._known = {key: IssueId(str(number_at(item, "number"))) for key, item in keys if key}
        return self._known

    async def _newest(self, key: str) -> IssueId | None:
        """Look among the newest issues, where one lies whose answer was lost."""
        answer = await self._wire.get(
            "issues", {"state": "all", "sort": "created", "direction": "desc", "per_page": 30}
        )
        for item in answer.body if isinstance(answer.body, list) else []:
            if mark(key) in text_at(item, "body") and is_issue(item):
                return IssueId(str(number_at(item, "number")))
        return None
