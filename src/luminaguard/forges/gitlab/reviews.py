"""Reviews on GitLab: ours as threads on lines and a comment, and what people say."""

from luminaguard.forges.answers import at, list_at, number_at, seconds_at, text_at, true_at
from luminaguard.forges.base import Remark, ReviewNote
from luminaguard.forges.gitlab.issues import Issues
from luminaguard.forges.gitlab.merge_requests import MergeRequests
from luminaguard.forges.gitlab.quick_actions import tamed
from luminaguard.forges.http_notes import Notes
from luminaguard.forges.http_rules import Http
from luminaguard.forges.marks import is_marked, mark, marked
from luminaguard.forges.review_words import on_its_line, with_findings
from luminaguard.model.ids import Json
from luminaguard.model.work import Finding


class Reviews:
    """Posts reviews and reads remarks."""

    def __init__(self, http: Http, notes: Notes, requests: MergeRequests, issues: Issues) -> None:
        self._http = http
        self._notes = notes
        self._requests = requests
        self._issues = issues

    async def post_review(self, pull: str, note: ReviewNote) -> None:
        """Show findings as threads on their lines, and the rest as one comment; never approves.

        The comment comes last: where it is there, all is there.
        """
        item = await self._requests.item(pull)
        number = number_at(item, "iid")
        key = f"review {note.commit}"
        if await self._notes.ours(f"merge_requests/{number}/notes", key):
            return
        left = [
            finding
            for count, finding in enumerate(note.findings)
            if not await self._on_line(item, note, finding, f"finding {count} of {note.commit}")
        ]
        await self._notes.say(f"merge_requests/{number}/notes", key, with_findings(note.text, left))

    async def remarks(self, pull: str) -> tuple[Remark, ...]:
        """List what people said and who approves, oldest first; a thread that is not resolved asks for changes."""
        number = number_at(await self._requests.item(pull), "iid")
        me = await self._notes.me()
        wants = await self._who_wants_changes(number)
        found = [await self._approval(one) for one in await self._approvals(number) if _login(one) not in wants]
        async for thread in self._http.pages(f"merge_requests/{number}/discussions"):
            for note in list_at(thread, "notes"):
                author, text = self._notes.author(note), text_at(note, "body")
                is_ours = is_marked(text) and me in ("", author)
                if true_at(note, "system") or is_ours or _is_bot(note, "author", author):
                    continue
                found.append(await self._remark(note, author, asks=author in wants or _is_unresolved(note)))
        return tuple(sorted(found, key=lambda one: (one.time, one.id)))

    async def _remark(self, note: Json, author: str, *, asks: bool) -> Remark:
        path = text_at(note, "position", "new_path") or text_at(note, "position", "old_path")
        return Remark(
            id=str(number_at(note, "id")),
            author=author,
            association=await self._issues.association(author),
            text=text_at(note, "body"),
            stand="changes" if asks else "said",
            time=seconds_at(note, "created_at"),
            path=path or None,
            line=number_at(note, "position", "new_line") or number_at(note, "position", "old_line"),
        )

    async def _approvals(self, number: int) -> list[Json]:
        """Read which people approve."""
        answer = await self._http.get(f"merge_requests/{number}/approvals", ok=(200, 403, 404))
        given = list_at(answer.body, "approved_by")
        return [one for one in given if not _is_bot(one, "user", _login(one))]

    async def _approval(self, given: Json) -> Remark:
        author = _login(given)
        return Remark(
            id=f"approval-{number_at(given, 'user', 'id')}",
            author=author,
            association=await self._issues.association(author),
            text="",
            stand="approved",
            time=seconds_at(given, "approved_at"),  # servers before 18 do not tell: the epoch
        )

    async def _who_wants_changes(self, number: int) -> frozenset[str]:
        """Read the reviewers that asked for changes; servers before 16.9 do not tell."""
        answer = await self._http.get(f"merge_requests/{number}/reviewers", ok=(200, 403, 404))
        reviewers = list_at({"": answer.body}, "")
        return frozenset(_login(one) for one in reviewers if _asks(one))

    async def _on_line(self, item: Json, note: ReviewNote, finding: Finding, key: str) -> bool:
        """Put a finding on its line; False where GitLab's diff does not show it, or the head has moved on."""
        number, refs = number_at(item, "iid"), at(item, "diff_refs")
        if not finding.line or text_at(refs, "head_sha") != note.commit:
            return False
        position: Json = {
            "position_type": "text",
            "base_sha": text_at(refs, "base_sha"),
            "start_sha": text_at(refs, "start_sha"),
            "head_sha": text_at(refs, "head_sha"),
            "old_path": finding.file,
            "new_path": finding.file,
            "new_line": finding.line,
        }
        body: Json = {"body": marked(tamed(on_its_line(finding)), key), "position": position}

        async def look() -> Json:
            notes = self._http.pages(f"merge_requests/{number}/notes")
            return next((one for one in [one async for one in notes] if mark(key) in text_at(one, "body")), None)

        async def make() -> Json:
            path = f"merge_requests/{number}/discussions"
            answer = await self._http.once("POST", path, body, ok=(200, 201, 400, 422))
            return {"id": text_at(answer.body, "id"), "is_shown": answer.status < 300}

        made = await self._http.made_once(look, make)
        return at(made, "is_shown") is not False


def _asks(reviewer: Json) -> bool:
    return text_at(reviewer, "state") == "requested_changes"


def _is_unresolved(note: Json) -> bool:
    return true_at(note, "resolvable") and not true_at(note, "resolved")


def _login(item: Json) -> str:
    return text_at(item, "user", "username")


def _is_bot(item: Json, key: str, name: str) -> bool:
    """Know tokens of projects and groups, and service accounts, by their names, as GitLab's notes do not tell."""
    is_named = name.startswith("service_account_") or (name.startswith(("project_", "group_")) and "_bot" in name)
    return true_at(item, key, "bot") or is_named or not name
