"""Reviews: ours on the lines they speak of, and what people say."""

import re
from collections.abc import Mapping
from dataclasses import replace

from luminaguard.forges.answers import at, number_at, seconds_at, text_at
from luminaguard.forges.base import Remark, ReviewNote, Stand
from luminaguard.forges.fates import commit_in
from luminaguard.forges.github.comments import Comments, names_person
from luminaguard.forges.github.wire import Wire
from luminaguard.forges.issue_numbers import number_of
from luminaguard.forges.marks import is_marked, mark, marked
from luminaguard.forges.review_words import on_its_line, with_findings
from luminaguard.model.ids import Json
from luminaguard.model.work import Finding

_HUNK = re.compile(r"@@ -\d+(?:,\d+)? \+(\d+)(?:,\d+)? @@")
_VERDICTS: Mapping[str, Stand] = {"APPROVED": "approved", "CHANGES_REQUESTED": "changes"}


class Reviews:
    """Posts reviews and reads remarks."""

    def __init__(self, wire: Wire, comments: Comments) -> None:
        self._wire = wire
        self._comments = comments

    async def post_review(self, pull: str, note: ReviewNote) -> None:
        """Show a review as comments on lines; always a COMMENT, never an approval or a veto in a person's name."""
        number = number_of(pull, what="pull request")
        key = f"review {note.commit}"

        async def look() -> Json:
            async for review in self._wire.pages(f"pulls/{number}/reviews"):
                if mark(key) in text_at(review, "body") and await self._comments.is_ours(review):
                    return review
            return None

        async def make() -> Json:
            return await self._posted(number, note, key)

        await self._wire.made_once(look, make)

    async def remarks(self, pull: str) -> tuple[Remark, ...]:
        """List what people said in reviews, on lines and beneath, oldest first."""
        number = number_of(pull, what="pull request")
        reviews = await self._wire.all(f"pulls/{number}/reviews")
        standing = _standing(reviews)
        lines = await self._wire.all(f"pulls/{number}/comments")
        beneath = await self._wire.all(f"issues/{number}/comments")
        found = [
            *(_remark(one, "review", _stand(one, standing)) for one in reviews if _speaks(one, standing)),
            *(_remark(one, "line", _stand_of_line(one, standing)) for one in lines),
            *(_remark(one, "comment", "said") for one in beneath),
        ]
        login = await self._comments.login()
        theirs = (one for one in found if one is not None and not (is_marked(one.text) and login in ("", one.author)))
        return tuple(sorted(theirs, key=lambda one: (one.time, one.id)))

    async def _posted(self, number: int, note: ReviewNote, key: str) -> Json:
        shown = _lines([item async for item in self._wire.pages(f"pulls/{number}/files")])
        on_lines = [one for one in note.findings if one.line in shown.get(one.file, frozenset())]
        answer = await self._wire.once(
            "POST", f"pulls/{number}/reviews", _body(note, on_lines, key), ok=(200, 201, 422)
        )
        if answer.status == 422:
            # The head has moved on, or a line is not where the diff said: all goes into the text.
            answer = await self._wire.once("POST", f"pulls/{number}/reviews", _body(note, [], key))
        return answer.body


def _body(note: ReviewNote, on_lines: list[Finding], key: str) -> Json:
    others = [one for one in note.findings if one not in on_lines]
    body: dict[str, Json] = {
        "event": "COMMENT",
        "body": marked(with_findings(note.text, others), key),
        "comments": [
            {
                "path": one.file,
                "line": one.line,
                "side": "RIGHT",
                "body": marked(on_its_line(one), key),
            }
            for one in on_lines
        ],
    }
    return {**body, "commit_id": note.commit} if on_lines else body


def _lines(files: list[Json]) -> Mapping[str, frozenset[int]]:
    """Give the lines of each file that its diff shows, the only ones that GitHub takes a comment on."""
    return {text_at(file, "filename"): frozenset(_new_lines(text_at(file, "patch"))) for file in files}


def _new_lines(patch: str) -> list[int]:
    found: list[int] = []
    line = 0
    for text in patch.splitlines():
        hunk = _HUNK.match(text)
        if hunk is not None:
            line = int(hunk[1])
        elif text[:1] in ("+", " ") or not text:
            found.append(line)
            line += 1
    return found


def _standing(reviews: list[Json]) -> Mapping[int, Stand]:
    """Tell which verdicts still stand: the last one of each person, whatever they only commented since."""
    last: dict[str, Json] = {}
    for review in sorted(reviews, key=lambda one: seconds_at(one, "submitted_at")):
        if text_at(review, "state") in ("APPROVED", "CHANGES_REQUESTED", "DISMISSED"):
            last[text_at(review, "user", "login")] = review
    return {number_at(one, "id"): stand for one in last.values() if (stand := _VERDICTS.get(text_at(one, "state")))}


def _stand(review: Json, standing: Mapping[int, Stand]) -> Stand:
    return standing.get(number_at(review, "id"), "said")


def _stand_of_line(line: Json, standing: Mapping[int, Stand]) -> Stand:
    """A line is a wish where its review is one; an approval is given once, by the review itself."""
    return "changes" if standing.get(number_at(line, "pull_request_review_id")) == "changes" else "said"


def _speaks(review: Json, standing: Mapping[int, Stand]) -> bool:
    """Tell whether a review says something by itself: a verdict that stands does so without a word."""
    is_out = text_at(review, "state") != "PENDING"
    return is_out and (number_at(review, "id") in standing or bool(text_at(review, "body").strip()))


def _remark(item: Json, kind: str, stand: Stand) -> Remark | None:
    text = text_at(item, "body")
    if not names_person(item):
        return None
    remark = Remark(
        id=f"{kind}-{number_at(item, 'id')}",
        author=text_at(item, "user", "login"),
        association=text_at(item, "author_association").lower() or None,
        text=text,
        stand=stand,
        time=seconds_at(item, "submitted_at") or seconds_at(item, "created_at"),
        # A line's `commit_id` moves on with the branch; a comment beneath has neither.
        commit=commit_in(text_at(item, "original_commit_id") or text_at(item, "commit_id")),
    )
    if kind != "line":
        return remark
    line = number_at(item, "line") or number_at(item, "original_line")
    return replace(remark, path=text_at(item, "path") or None, line=line if at(item, "path") is not None else 0)
