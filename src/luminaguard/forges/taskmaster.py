"""Taskmaster's `tasks.json`: tasks under a tag, or (older) at the top; subtask 1 of task 3 becomes the issue "3.1"."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from luminaguard.forges.base import SourceFile
from luminaguard.forges.fields import Fields, issue_id, one_line, text_of
from luminaguard.forges.json_text import Place, elements, line_at, load, members, whole, with_member
from luminaguard.forges.reading import broken, decode, head, read_text
from luminaguard.forges.references import unique
from luminaguard.forges.words import state_of
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json
from luminaguard.model.issue import Backlog, Issue, IssueState, Notice, Origin

_PLACES = ("tasks.json", "tasks/tasks.json", ".taskmaster/tasks/tasks.json")
_TAG = "master"
_SECTIONS = (("Details", "details"), ("Test Strategy", "teststrategy"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A task or subtask: its keys, where its text stands, and the task that it belongs to."""

    fields: Fields
    place: Place
    parent: IssueId | None = None


class Taskmaster:
    """The file, or a folder that holds it where Taskmaster puts it."""

    name = "taskmaster"

    def recognises(self, path: Path) -> bool:
        """Tell by the name and the brace that it begins with."""
        if path.is_dir():
            return _file_in(path) is not None
        start = head(path).lstrip()
        return path.suffix == ".json" and start.startswith("{")

    def files(self, path: Path) -> tuple[Path, ...]:
        """Name the one file."""
        return (_file(path),)

    def read(self, path: Path) -> Backlog:
        """Read the tasks of the tag "master", or of the only one."""
        file = _file(path)
        issues: list[Issue] = []
        notices: list[Notice] = []
        for entry in _entries(read_text(file), path=str(file)):
            issue = _issue(entry)
            issues.append(issue)
            notices += [replace(notice, issue=issue.id) for notice in entry.fields.notices]
        return Backlog(issues=unique(issues), notices=tuple(notices))

    def close(self, files: Sequence[SourceFile], issue: IssueId) -> tuple[SourceFile, ...]:
        """Change the status in the task's object."""
        changed = [_closed(file, issue) for file in files]
        return tuple(file for file in changed if file is not None)


def _file_in(folder: Path) -> Path | None:
    return next((folder / name for name in _PLACES if (folder / name).is_file()), None)


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    file = _file_in(path)
    if file is None:
        raise UserFault(f"{path} holds no tasks.json", hint="name the file")
    return file


def _entries(text: str, *, path: str) -> Iterator[_Entry]:
    """Give tasks and subtasks in the order of the file."""
    at = whole(text)
    root = _object(load(text, path=path), text, at, path=path)
    places = members(text, at)
    if "tasks" not in root:
        tag = _tag_of(root, path=path)
        at = places[tag]
        root, places = _object(root[tag], text, at, path=path), members(text, at)
    for raw, place in _objects(root["tasks"], places["tasks"], text, path=path):
        task = Fields(raw, Origin(path=path, line=line_at(text, place.start)))
        yield _Entry(fields=task, place=place)
        if raw.get("subtasks") is not None:
            yield from _subtasks(raw, place, text, path=path)


def _tag_of(root: dict[str, Json], *, path: str) -> str:
    tags = [key for key, value in root.items() if isinstance(value, dict) and "tasks" in value]
    if _TAG in tags or len(tags) == 1:
        return _TAG if _TAG in tags else tags[0]
    hint = (
        f"name the one to work on {_TAG!r}, or keep only it in the file"
        if tags
        else 'write {"master": {"tasks": [...]}}'
    )
    what = f"has the tags {', '.join(tags)[:200]}, and none is {_TAG!r}" if tags else "holds no tasks"
    raise broken(path, 1, what, hint=hint)


def _subtasks(raw: dict[str, Json], place: Place, text: str, *, path: str) -> Iterator[_Entry]:
    parent = issue_id(text_of(raw.get("id")) or "")
    at = members(text, place)["subtasks"]
    for inner, inner_place in _objects(raw["subtasks"], at, text, path=path):
        fields = Fields(inner, Origin(path=path, line=line_at(text, inner_place.start)))
        yield _Entry(fields=fields, place=inner_place, parent=parent)


def _objects(value: Json, place: Place, text: str, *, path: str) -> Iterator[tuple[dict[str, Json], Place]]:
    if not isinstance(value, list):
        line = line_at(text, place.start)
        raise broken(path, line, "wanted a list of tasks", hint='write "tasks": [{"id": 1, "title": …}]')
    for raw, inner in zip(value, elements(text, place), strict=True):
        yield _object(raw, text, inner, path=path), inner


def _object(value: Json, text: str, place: Place, *, path: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        line = line_at(text, place.start)
        raise broken(path, line, "wanted a JSON object", hint='write {"id": 1, "title": …} for a task')
    return value


def _issue(entry: _Entry) -> Issue:
    fields = entry.fields
    fields.take("subtasks")
    return Issue(
        id=_id(entry),
        title=one_line(fields.text("title") or "") or "untitled",
        body=_body(fields),
        state=fields.state("status"),
        labels=fields.texts("labels", "tags"),
        needs=tuple(_need(need, entry.parent) for need in fields.ids("dependencies")),
        parent=entry.parent,
        priority=fields.priority("priority"),
        origin=fields.origin,
        extra=fields.extra,
    )


def _id(entry: _Entry) -> IssueId:
    found = entry.fields.id("id")
    if found is None:
        raise entry.fields.wrong("id", None, "a task's number")
    return _need(found, entry.parent)


def _need(number: IssueId, parent: IssueId | None) -> IssueId:
    """Within a task, "2" is its second subtask; "5.1" is a subtask of another."""
    return number if parent is None or "." in number else IssueId(f"{parent}.{number}")


def _body(fields: Fields) -> str:
    parts = [fields.text("description") or ""]
    for heading, key in _SECTIONS:
        text = fields.text(key)
        if text and text.strip():
            parts.append(f"## {heading}\n\n{text.strip()}")
    return "\n\n".join(part.strip() for part in parts if part.strip())


def _closed(file: SourceFile, issue: IssueId) -> SourceFile | None:
    text = decode(file.content, path=file.path)
    for entry in _entries(text, path=file.path):
        key = entry.fields.key_of("status") or "status"
        word = text_of(entry.fields.look("status")) or "pending"
        if _id(entry) == issue and state_of(word) is not IssueState.CLOSED:
            return SourceFile(path=file.path, content=with_member(text, entry.place, key, "done").encode())
    return None
