"""Reviews on Gitea or Forgejo: ours on the lines they speak of, and what people say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from luminaguard.forges.answers import list_at, number_at, seconds_at, text_at, true_at
from luminaguard.forges.base import Remark, ReviewNote, Stand
from luminaguard.forges.fates import commit_in
from luminaguard.forges.gitea.issues import Issues
from luminaguard.forges.gitea.pulls import Pulls
from luminaguard.forges.http_notes import Notes
from luminaguard.forges.http_rules import Http
from luminaguard.forges.marks import is_marked, mark, marked
from luminaguard.forges.review_words import on_its_line, with_findings
from luminaguard.model.ids import Json
from luminaguard.model.work import Finding

_VERDICTS: Mapping[str, Stand] = {"APPROVED": "approved", "REQUEST_CHANGES": "changes"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What somebody said, in Gitea's form, with the review that it is or belongs to."""

    item: Json
    kind: Literal["review", "line", "comment"]
    stand: Stand
    review: Json = None


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
        reviews = [one for one in await self._http.all(f"pulls/{number}/reviews") if text_at(one, "state") != "PENDING"]
        standing = _standing(reviews)
        said: list[_Said] = []
        for review in reviews:
            stand = standing.get(number_at(review, "id"), "said")
            if text_at(review, "body").strip() or stand != "said":
                said.append(_Said(item=review, kind="review", stand=stand, review=review))
            # A line is a wish where its review is one; an approval is given once, by the review itself.
            of_line: Stand = "changes" if stand == "changes" else "said"
            lines = await self._lines(number, review)
            said += [_Said(item=line, kind="line", stand=of_line, review=review) for line in lines]
        beneath = await self._http.all(f"issues/{number}/comments")
        said += [_Said(item=one, kind="comment", stand="said") for one in beneath]
        me = await self._notes.me()
        found = [await self._remark(one) for one in said if self._is_persons(one.item, me)]
        return tuple(sorted(found, key=lambda one: (one.time, one.id)))

    async def _lines(self, number: int, review: Json) -> list[Json]:
        if not number_at(review, "comments_count"):
            return []
        answer = await self._http.get(f"pulls/{number}/reviews/{number_at(review, 'id')}/comments")
        return list_at({"": answer.body}, "")

    def _is_persons(self, item: Json, me: str) -> bool:
        """Leave out ours, and bots, which have no number of their own (gitea-actions is -2)."""
        author = self._notes.author(item)
        is_ours = is_marked(text_at(item, "body")) and me in ("", author)
        return bool(author) and number_at(item, "user", "id") > 0 and not is_ours

    async def _remark(self, said: _Said) -> Remark:
        item = said.item
        author = self._notes.author(item)
        return Remark(
            id=f"{said.kind}-{number_at(item, 'id')}",
            author=author,
            association=await self._issues.association(author),
            text=text_at(item, "body"),
            stand=said.stand,
            time=seconds_at(item, "submitted_at") or seconds_at(item, "created_at"),
            # The review's, of a line too: a line's own `commit_id` is the commit that last changed that line.
            commit=commit_in(text_at(said.review, "commit_id")),
            path=text_at(item, "path") or None,
            line=number_at(item, "position") or number_at(item, "original_position"),
        )


def _standing(reviews: list[Json]) -> Mapping[int, Stand]:
    """Tell which verdicts still stand: the last one of each person, whatever they only commented since."""
    last: dict[str, Json] = {}
    for review in sorted(reviews, key=lambda one: (seconds_at(one, "submitted_at"), number_at(one, "id"))):
        if text_at(review, "state") in _VERDICTS:
            last[text_at(review, "user", "login")] = review
    standing = (one for one in last.values() if not true_at(one, "dismissed"))
    return {number_at(one, "id"): _VERDICTS[text_at(one, "state")] for one in standing}


def _body(note: ReviewNote, on_lines: list[Finding], key: str) -> Json:
    others = [one for one in note.findings if one not in on_lines]
    return {
        "event": "COMMENT",
        "commit_id": note.commit,
        "body": marked(with_findings(note.text, others), key),
        "comments": [
            {
                "path": one.file,
                "new_position": one.line,
                "old_position": 0,
                "body": marked(on_its_line(one), key),
            }
            for one in on_lines
        ],
    }
