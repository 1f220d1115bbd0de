"""Beads: one JSON object a line, in `.beads/issues.jsonl` or `.beads/beads.jsonl`.

Only `blocks`, `blocked-by` and `parent-child` say something about order or structure; other dependencies stay in
`extra`. On an issue's own line both of the first mean that it waits for `depends_on_id`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from luminaguard.forges.base import SourceFile
from luminaguard.forges.fields import Fields, issue_id, one_line, text_of
from luminaguard.forges.json_text import Place, load, whole, with_member
from luminaguard.forges.reading import broken, decode, head, read_text
from luminaguard.forges.references import unique, with_dotted_parents
from luminaguard.forges.words import plain, state_of
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json
from luminaguard.model.issue import Backlog, Issue, IssueState, Notice, Origin

_NAMES = ("issues.jsonl", "beads.jsonl")
_ORDERING = ("blocks", "blocked-by")
_SECTIONS = (("Acceptance Criteria", "acceptance_criteria"), ("Design", "design"), ("Notes", "notes"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One object of the file: where its text stands, on which line, and its keys."""

    place: Place
    origin: Origin
    raw: dict[str, Json]


class Beads:
    """A file of JSON lines, the folder `.beads`, or the folder that holds it."""

    name = "beads"

    def recognises(self, path: Path) -> bool:
        """Tell by the names of the folder, or by the first line of the file."""
        if path.is_dir():
            return _file_in(path) is not None
        start = head(path).lstrip()
        return path.suffix == ".jsonl" and path.is_file() and (not start or (start.startswith("{") and '"id"' in start))

    def files(self, path: Path) -> tuple[Path, ...]:
        """Name the one file."""
        return (_file(path),)

    def read(self, path: Path) -> Backlog:
        """Read all issues but tombstones; what waited for one of those no longer does."""
        file = _file(path)
        lines = list(_lines(read_text(file), path=str(file)))
        buried = {str(line.raw.get("id")) for line in lines if _is_tombstone(line)}
        issues: list[Issue] = []
        notices: list[Notice] = []
        for line in lines:
            if _is_tombstone(line):
                continue
            fields = Fields(line.raw, line.origin)
            issue = _issue(fields, buried=buried)
            issues.append(issue)
            notices += [replace(notice, issue=issue.id) for notice in fields.notices]
        return Backlog(issues=with_dotted_parents(unique(issues)), notices=tuple(notices))

    def close(self, files: Sequence[SourceFile], issue: IssueId) -> tuple[SourceFile, ...]:
        """Change the status in the issue's line."""
        changed = [_closed(file, issue) for file in files]
        return tuple(file for file in changed if file is not None)


def _file_in(folder: Path) -> Path | None:
    places = [folder / name for name in _NAMES] + [folder / ".beads" / name for name in _NAMES]
    return next((place for place in places if place.is_file()), None)


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    file = _file_in(path)
    if file is None:
        raise UserFault(
            f"{path} holds neither {_NAMES[0]} nor {_NAMES[1]}", hint="export with `bd export`, or name the file"
        )
    return file


def _lines(text: str, *, path: str) -> Iterator[_Line]:
    start = 1 if text.startswith("\ufeff") else 0
    for number, line in enumerate(text[start:].split("\n"), start=1):
        if line.strip(" \t\r"):
            raw = load(line, path=path, line=number)
            if not isinstance(raw, dict):
                raise broken(
                    path, number, "wanted a JSON object, got another value", hint="write one issue on each line"
                )
            within = whole(line)
            place = Place(start=start + within.start, end=start + within.end)
            yield _Line(place=place, origin=Origin(path=path, line=number), raw=raw)
        start += len(line) + 1


def _is_tombstone(line: _Line) -> bool:
    return line.raw.get("status") == "tombstone"


def _issue(fields: Fields, *, buried: set[str]) -> Issue:
    found = fields.id("id")
    if found is None:
        raise fields.wrong("id", None, "an issue's id")
    needs, parent = _dependencies(fields, buried=buried)
    return Issue(
        id=found,
        title=one_line(fields.text("title") or "") or "untitled",
        body=_body(fields),
        state=fields.state("status", known=_known),
        labels=fields.texts("labels"),
        kind=fields.kind("issue_type"),
        needs=needs,
        parent=parent,
        priority=fields.priority("priority"),
        estimate_s=fields.seconds("estimated_minutes"),
        author=fields.text("created_by", "owner"),
        origin=fields.origin,
        extra=fields.extra,
    )


def _known(word: str) -> IssueState | None:
    return IssueState.OPEN if plain(word) == "pinned" else state_of(word)


def _body(fields: Fields) -> str:
    parts = [fields.text("description") or ""]
    for heading, key in _SECTIONS:
        text = fields.text(key)
        if text and text.strip():
            parts.append(f"## {heading}\n\n{text.strip()}")
    return "\n\n".join(part.strip() for part in parts if part.strip())


def _dependencies(fields: Fields, *, buried: set[str]) -> tuple[tuple[IssueId, ...], IssueId | None]:
    """Take what orders work and what is the parent; put back the rest."""
    value = fields.take("dependencies")
    needs: list[IssueId] = []
    parent: IssueId | None = None
    rest: list[Json] = []
    for edge in _edges(fields, value):
        other = _other_end(fields, edge)
        if edge.get("type", "blocks") in _ORDERING:
            needs += [] if other in buried else [other]
        elif edge.get("type") == "parent-child" and parent is None:
            parent = None if other in buried else other
        else:
            rest.append(edge)
    if rest:
        fields.keep("dependencies", rest)
    return tuple(dict.fromkeys(needs)), parent


def _edges(fields: Fields, value: Json) -> list[dict[str, Json]]:
    if value is None:
        return []
    edges = [edge for edge in value if isinstance(edge, dict)] if isinstance(value, list) else []
    if not isinstance(value, list) or len(edges) != len(value):
        raise fields.wrong("dependencies", value, "a list of {issue_id, depends_on_id, type}")
    return edges


def _other_end(fields: Fields, edge: dict[str, Json]) -> IssueId:
    other = issue_id(text_of(edge.get("depends_on_id")) or "")
    if other is None or not isinstance(edge.get("type", "blocks"), str):
        raise fields.wrong("dependencies", edge, "a list of {issue_id, depends_on_id, type}")
    return other


def _closed(file: SourceFile, issue: IssueId) -> SourceFile | None:
    text = decode(file.content, path=file.path)
    for line in _lines(text, path=file.path):
        is_it = issue_id(text_of(line.raw.get("id")) or "") == issue
        if is_it and _known(text_of(line.raw.get("status")) or "open") is not IssueState.CLOSED:
            return SourceFile(path=file.path, content=with_member(text, line.place, "status", "closed").encode())
    return None
