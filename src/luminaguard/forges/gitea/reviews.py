"""Reviews on Gitea or Forgejo: ours on the lines they speak of, and what people say."""

from luminaguard.forges.base import Remark, ReviewNote
from luminaguard.forges.gitea.issues import Issues
from luminaguard.forges.gitea.pulls import Pulls
from luminaguard.forges.github.answers import list_at, number_at, seconds_at, text_at, true_at
from luminaguard.forges.github.comments import is_marked, mark, marked
from luminaguard.forges.http_notes import Notes
from luminaguard.forges.http_rules import Http
from luminaguard.model.ids import Json
from luminaguard.model.work import Finding


class Reviews:
    """Posts reviews and reads remarks."""

    def __init__(self, http: Http, notes: Notes, pulls: Pulls, issues: Issues) -> None:
        self._http = http
        self._notes = notes
        self._pulls = pulls
        self._issues = issues

    async def post_review(self, pull: str, note: ReviewNote) -> None:
        """Show a review as comments on lines; always a COMMENT, never an approval or a veto in a person's name."""
        number = number_at(await self._pulls.item(pull), "number")
        key = f"review {note.commit}"

        async def look() -> Json:
            me = await self._notes.me()
            async for review in self._http.pages(f"pulls/{number}/reviews"):
                if mark(key) in text_at(review, "body") and me in ("", self._notes.author(review)):
                    return review
            return None

        async def make() -> Json:
            path = f"pulls/{number}/reviews"
            on_lines = [one for one in note.findings if one.line]
            answer = await self._http.once("POST", path, _body(note, on_lines, key), ok=(200, 201, 404, 422))
            if answer.status < 300:
                return answer.body
            # A line or the commit is not there any more: all goes into the text.
            return (await self._http.once("POST", path, _body(note, [], key))).body

        await self._http.made_once(look, make)

    async def remarks(self, pull: str) -> tuple[Remark, ...]:
        """List what people said in reviews, on lines and beneath, oldest first."""
        number = number_at(await self._pulls.item(pull), "number")
        reviews = await self._http.all(f"pulls/{number}/reviews")
        standing = _standing(reviews)
        said: list[tuple[Json, str, bool]] = []
        for review in reviews:
            asks = number_at(review, "id") in standing
            if text_at(review, "body").strip() or asks:
                said.append((review, "review", asks))
            if number_at(review, "comments_count"):
                path = f"pulls/{number}/reviews/{number_at(review, 'id')}/comments"
                lines = await self._http.get(path)
                said += [(line, "line", asks) for line in list_at({"": lines.body}, "")]
        said += [(one, "comment", False) for one in await self._http.all(f"issues/{number}/comments")]
        me = await self._notes.me()
        found = [await self._remark(*one) for one in said if self._is_persons(one[0], me)]
        return tuple(sorted(found, key=lambda one: (one.time, one.id)))

    def _is_persons(self, item: Json, me: str) -> bool:
        """Leave out ours, and bots, which have no number of their own (gitea-actions is -2)."""
        author = self._notes.author(item)
        is_ours = is_marked(text_at(item, "body")) and me in ("", author)
        return bool(author) and number_at(item, "user", "id") > 0 and not is_ours

    async def _remark(self, item: Json, kind: str, asks: bool) -> Remark:  # noqa: FBT001 a row, unpacked
        author = self._notes.author(item)
        return Remark(
            id=f"{kind}-{number_at(item, 'id')}",
            author=author,
            association=await self._issues.association(author),
            text=text_at(item, "body"),
            stand="changes" if asks else "said",
            time=seconds_at(item, "submitted_at") or seconds_at(item, "created_at"),
            path=text_at(item, "path") or None,
            line=number_at(item, "position") or number_at(item, "original_position"),
        )


def _standing(reviews: list[Json]) -> frozenset[int]:
    """Tell which requests for changes still stand: the last word of each person, whatever they only commented."""
    last: dict[str, Json] = {}
    for review in sorted(reviews, key=lambda one: (seconds_at(one, "submitted_at"), number_at(one, "id"))):
        if text_at(review, "state") in ("APPROVED", "REQUEST_CHANGES"):
            last[text_at(review, "user", "login")] = review
    standing = (one for one in last.values() if text_at(one, "state") == "REQUEST_CHANGES")
    return frozenset(number_at(one, "id") for one in standing if not true_at(one, "dismissed"))


def _body(note: ReviewNote, on_lines: list[Finding], key: str) -> Json:
    others = [one for one in note.findings if one not in on_lines]
    listed = "\n".join(f"- **{one.severity}** `{_place(one)}`: {one.text}" for one in others)
    return {
        "event": "COMMENT",
        "commit_id": note.commit,
        "body": marked(f"{note.text}\n\n{listed}" if listed else note.text, key),
        "comments": [
            {
                "path": one.file,
                "new_position": one.line,
                "old_position": 0,
                "body": marked(f"**{one.severity}**: {one.text}", key),
            }
            for one in on_lines
        ],
    }


def _place(finding: Finding) -> str:
    return f"{finding.file}:{finding.line}" if finding.line else finding.file
