"""A Markdown page with front matter as an issue, and its status changed: what the two folder formats share."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from luminaguard.forges.base import SourceFile
from luminaguard.forges.fields import NEEDS_KEYS, STATE_KEYS, Fields, issue_id, one_line
from luminaguard.forges.front_matter import Page, parse, with_value
from luminaguard.forges.reading import broken, decode
from luminaguard.forges.words import plain, state_of
from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Issue, IssueState, Notice, Origin

KnownState = Callable[[str], IssueState | None]

_NUMBERED = re.compile(r"#?(\d+|[A-Za-z][A-Za-z0-9]*-\d+(?:\.\d+)*)(?=$|[\s_.-])")
_DATED = re.compile(r"\d{4}-\d\d-\d\d")
_HEADING = re.compile(r"#[ \t]+(.+?)[ \t#]*\r?$")
_FENCE = re.compile(r"[ ]{0,3}(```|~~~)")
_COMMENTED_ID = re.compile(r"^[ \t]*(?:-|[\w-]+:)[ \t]+#\d+[ \t]*\r?$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageIssue:
    """What one page says."""

    issue: Issue
    notices: tuple[Notice, ...]


def issue_of(page: Page, *, known: KnownState = state_of) -> PageIssue:
    """Read a page as an issue; id and title fall back on the file's name and the first heading."""
    fields = Fields(page.keys or {}, Origin(path=page.path))
    _warn_of_comments(page, fields)
    issue_id_ = id_of(page, fields)
    title, body = _title(page, fields)
    issue = Issue(
        id=issue_id_,
        title=title,
        body=body,
        state=fields.state(*STATE_KEYS, known=known),
        labels=fields.texts("labels", "tags", "label"),
        kind=fields.kind("kind", "type", "issue_type"),
        needs=fields.ids(*NEEDS_KEYS),
        blocks=fields.ids("blocks", "blocking"),
        parent=fields.id("parent", "parent_id", "parent_task_id", "epic"),
        priority=fields.priority("priority", "prio"),
        estimate_s=fields.seconds("estimate", "estimated", "estimated_minutes", "estimate_minutes"),
        touches=fields.texts("files", "touches", "modified_files", "modifiedfiles"),
        author=fields.text("author", "reporter", "created_by"),
        milestone=fields.text("milestone"),
        url=fields.text("url"),
        origin=fields.origin,
        extra=fields.extra,
    )
    return PageIssue(issue=issue, notices=tuple(fields.notices))


def id_of(page: Page, fields: Fields) -> IssueId:
    """Give the id from the front matter, or from the file's name: "154-parser.md" is 154, "BACK-3 - x.md" is BACK-3."""
    return fields.id("id", "issue", "number", "key") or _id_of_name(page.path)


def closed_page(file: SourceFile, issue: IssueId, *, word: str | None, known: KnownState) -> SourceFile | None:
    """Give the page with its status closed; None where it is another issue's page, or closed already."""
    page = parse(decode(file.content, path=file.path), path=file.path)
    fields = Fields(page.keys or {}, Origin(path=file.path))
    key = fields.key_of(*STATE_KEYS) or "status"
    if id_of(page, fields) != issue or fields.state(*STATE_KEYS, known=known) is IssueState.CLOSED:
        return None
    text = with_value(page, key, word or _word_for((page.keys or {}).get(key)))
    return SourceFile(path=file.path, content=text.encode())


def _word_for(old: object) -> str:
    """Give the word for closed in the manner of the word that stands there."""
    written = old if isinstance(old, str) else ""
    word = "closed" if plain(written) in ("open", "opened", "reopened", "new") else "done"
    if len(written) > 1 and written.isupper():
        return word.upper()
    return word.capitalize() if written[:1].isupper() else word


def _title(page: Page, fields: Fields) -> tuple[str, str]:
    """Give the title, and the body without the heading that became the title."""
    named = one_line(fields.text("title", "name", "summary") or "")
    if named:
        return named, page.body.strip()
    lines = page.body.split("\n")
    fenced = False
    for number, line in enumerate(lines):
        fenced ^= bool(_FENCE.match(line))
        heading = None if fenced else _HEADING.match(line)
        title = one_line(heading[1]) if heading else ""
        if title:
            return title, "\n".join(lines[:number] + lines[number + 1 :]).strip()
    return one_line(_stem(page.path).replace("-", " ").replace("_", " ")) or "untitled", page.body.strip()


def _id_of_name(path: str) -> IssueId:
    stem = _stem(path)
    found = None if _DATED.match(stem) else _NUMBERED.match(stem)
    text = found[1] if found else re.sub(r"[\s,\"'`]+", "-", stem).strip("-")
    number = text.lstrip("0") if text.isdigit() else text
    made = issue_id(number or "0")
    if made is None:
        raise broken(path, 1, "has no id, and its name gives none", hint="add a line 'id: …' to its front matter")
    return made


def _stem(path: str) -> str:
    return PurePosixPath(path).stem


def _warn_of_comments(page: Page, fields: Fields) -> None:
    found = _COMMENTED_ID.search(page.text, page.inner.start, page.inner.end)
    if found:
        line = page.text.count("\n", 0, found.start()) + 1
        text = (
            f"{page.path}:{line}: YAML takes {found[0].strip()!r} for a comment, so it says nothing; quote the number"
        )
        fields.notices.append(Notice(text=text, origin=Origin(path=page.path, line=line)))
