"""Writing issues, for import and export: each made once, known again by a hidden mark of where it came from."""

import re
from hashlib import sha256

from luminaguard.forges.github.answers import number_at, text_at
from luminaguard.forges.github.comments import mark, marked
from luminaguard.forges.github.issues import Issues, number_of
from luminaguard.forges.github.reading import is_issue, reference
from luminaguard.forges.github.wire import Wire
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json
from luminaguard.model.issue import Issue

_IMPORTED = re.compile(r"<!-- luminaguard:import ([0-9a-f]{16}) -->")


class Writing:
    """Adds issues and relations. An import that broke off goes on where it was."""

    def __init__(self, wire: Wire, issues: Issues) -> None:
        self._wire = wire
        self._issues = issues
        self._known: dict[str, IssueId] | None = None

    async def add(self, issue: Issue) -> IssueId:
        """Create an issue with title, body and labels; one that was added before is found again."""
        key = _key(issue)
        known = await self._imported()

        async def look() -> IssueId | None:
            return await self._newest(key)

        async def make() -> IssueId:
            body: Json = {
                "title": issue.title,
                "body": marked(issue.body, f"import {key}"),
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
            marks = ((_IMPORTED.search(text_at(item, "body")), item) for item in items if is_issue(item))
            self._known = {said[1]: IssueId(str(number_at(item, "number"))) for said, item in marks if said}
        return self._known

    async def _newest(self, key: str) -> IssueId | None:
        """Look among the newest issues, where one lies whose answer was lost."""
        answer = await self._wire.get(
            "issues", {"state": "all", "sort": "created", "direction": "desc", "per_page": 30}
        )
        for item in answer.body if isinstance(answer.body, list) else []:
            if mark(f"import {key}") in text_at(item, "body") and is_issue(item):
                return IssueId(str(number_at(item, "number")))
        return None


def _key(issue: Issue) -> str:
    where = issue.url or (issue.origin.path if issue.origin else "")
    return sha256(f"{where}\n{issue.id}\n{issue.title}".encode()).hexdigest()[:16]
