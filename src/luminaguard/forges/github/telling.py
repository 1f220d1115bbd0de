"""What is told beside the work: one status comment an issue, and the report where the user wants it."""

from luminaguard.forges.answers import at, list_at, text_at
from luminaguard.forges.base import ReportPlace
from luminaguard.forges.github.comments import Comments
from luminaguard.forges.github.wire import Wire
from luminaguard.forges.issue_numbers import number_of
from luminaguard.forges.marks import mark, marked, report_key
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json

_CATEGORIES = """query($owner: String!, $name: String!) {
  repository(owner: $owner, name: $name) { id discussionCategories(first: 100) { nodes { id name slug } } }
}"""
_DISCUSSIONS = """query($owner: String!, $name: String!, $category: ID!) {
  repository(owner: $owner, name: $name) {
    discussions(first: 50, categoryId: $category, orderBy: {field: CREATED_AT, direction: DESC}) {
      nodes { id url title body }
    }
  }
}"""
_CREATE = """mutation($repository: ID!, $category: ID!, $title: String!, $body: String!) {
  createDiscussion(input: {repositoryId: $repository, categoryId: $category, title: $title, body: $body}) {
    discussion { id url }
  }
}"""
_UPDATE = """mutation($id: ID!, $body: String!) {
  updateDiscussion(input: {discussionId: $id, body: $body}) { discussion { id url } }
}"""


class Telling:
    """Shows status comments and reports."""

    def __init__(self, wire: Wire, comments: Comments, *, report: ReportPlace | None = None) -> None:
        self._wire = wire
        self._comments = comments
        self._report = report or ReportPlace()

    async def tell(self, issue: IssueId, text: str) -> None:
        """Show our one status comment of the issue."""
        await self._comments.show(number_of(issue), "status", text)

    async def post_report(self, text: str, *, title: str) -> str:
        """Post a report; the same title again is edited. Returns its address."""
        key = report_key(title)
        if self._report.issue is not None:
            return await self._comments.show(number_of(self._report.issue), key, f"## {title}\n\n{text}")
        if self._report.category is not None:
            return await self._discussed(self._report.category, title, marked(text, key), key)
        raise UserFault(
            "there is no place for a report on GitHub", hint="name an issue or a category of discussions for reports"
        )

    async def _discussed(self, category: str, title: str, body: str, key: str) -> str:
        owner, name = self._wire.repository.owner, self._wire.repository.name
        found = at(await self._wire.query(_CATEGORIES, owner=owner, name=name), "repository")
        chosen = _category(found, category)

        async def look() -> Json:
            asked = await self._wire.query(_DISCUSSIONS, owner=owner, name=name, category=text_at(chosen, "id"))
            listed = list_at(asked, "repository", "discussions", "nodes")
            return next((one for one in listed if mark(key) in text_at(one, "body")), None)

        async def make() -> Json:
            said: dict[str, Json] = {"repository": text_at(found, "id"), "category": text_at(chosen, "id")}
            made = await self._wire.mutate(_CREATE, **said, title=title, body=body)
            return {"body": body, **_object(at(made, "createDiscussion", "discussion"))}

        discussion = await self._wire.made_once(look, make)
        if text_at(discussion, "body") != body:
            await self._wire.query(_UPDATE, id=text_at(discussion, "id"), body=body)
        return text_at(discussion, "url")


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _category(repository: Json, wanted: str) -> Json:
    known = list_at(repository, "discussionCategories", "nodes")
    for one in known:
        if wanted.lower() in (text_at(one, "name").lower(), text_at(one, "slug").lower()):
            return one
    names = ", ".join(text_at(one, "name") for one in known) or "none: discussions are switched off"
    raise UserFault(f"there is no category of discussions {wanted!r}", hint=f"there is: {names}")
