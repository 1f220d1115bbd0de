"""What `gh issue list --json number,title,body,state,...` prints: an array, with dependencies and parents."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from luminaguard.forges.base import SourceFile
from luminaguard.forges.fields import Fields, issue_id, one_line, text_of
from luminaguard.forges.json_text import elements, load, whole, with_member
from luminaguard.forges.reading import broken, decode, head, read_text
from luminaguard.forges.references import unique
from luminaguard.forges.words import kind_of
from luminaguard.model.ids import IssueId, Json
from luminaguard.model.issue import Backlog, Issue, IssueState, Kind, Notice, Origin


class GithubExport:
    """A JSON file that is an array of issues."""

    name = "github export"

    def recognises(self, path: Path) -> bool:
        """Tell by the name and by the bracket that it begins with."""
        return path.suffix == ".json" and head(path).lstrip().startswith("[")

    def files(self, path: Path) -> tuple[Path, ...]:
        """Name the one file."""
        return (path,)

    def read(self, path: Path) -> Backlog:
        """Read all issues in the order of the export."""
        found = _entries(read_text(path), path=str(path))
        issues: list[Issue] = []
        notices: list[Notice] = []
        children: dict[IssueId, IssueId] = {}
        for fields in found:
            subs = _references(fields, "subissues")
            issue = _issue(fields)
            children.update(dict.fromkeys(subs, issue.id))
            issues.append(issue)
            notices += [replace(notice, issue=issue.id) for notice in fields.notices]
        issues = [replace(issue, parent=issue.parent or children.get(issue.id)) for issue in issues]
        return Backlog(issues=unique(issues), notices=tuple(notices))

    def close(self, files: Sequence[SourceFile], issue: IssueId) -> tuple[SourceFile, ...]:
        """Change the state in the issue's object."""
        changed = [_closed(file, issue) for file in files]
        return tuple(file for file in changed if file is not None)


def _entries(text: str, *, path: str) -> list[Fields]:
    value = load(text, path=path)
    if not isinstance(value, list):
        raise broken(
            path, 1, "wanted a JSON array of issues", hint="export with `gh issue list --json number,title,body,state`"
        )
    found: list[Fields] = []
    line, seen = 1, 0
    for raw, place in zip(value, elements(text, whole(text)), strict=True):
        line, seen = line + text.count("\n", seen, place.start), place.start
        if not isinstance(raw, dict):
            raise broken(path, line, "wanted a JSON object for an issue", hint='write {"number": …, "title": …}')
        found.append(Fields(raw, Origin(path=path, line=line)))
    return found


def _issue(fields: Fields) -> Issue:
    url = fields.text("url")
    number = fields.id("number", "id")
    if number is None:
        raise fields.wrong("number", None, "an issue's number (add `number` to --json)")
    parents = _references(fields, "parent", url=url)
    return Issue(
        id=number,
        title=one_line(fields.text("title") or "") or "untitled",
        body=fields.text("body") or "",
        state=_state(fields),
        labels=_names(fields, "labels"),
        kind=_kind(fields),
        needs=_references(fields, "blockedby", url=url, still_open=True),
        blocks=_references(fields, "blocking", url=url),
        parent=parents[0] if parents else None,
        author=next(iter(_names(fields, "author")), None),
        association=(fields.text("authorassociation", "author_association") or "").lower() or None,
        milestone=next(iter(_names(fields, "milestone")), None),
        url=url,
        origin=fields.origin,
        extra=fields.extra,
    )


def _state(fields: Fields) -> IssueState:
    if fields.look("state") is None and fields.look("closed") is True:
        return IssueState.CLOSED
    return fields.state("state")


def _kind(fields: Fields) -> Kind | None:
    name = next(iter(_names(fields, "issuetype")), None)
    return kind_of(name) if name else None


def _names(fields: Fields, key: str) -> tuple[str, ...]:
    """Take the names of what GitHub writes as objects: labels, a milestone, a person."""
    value = fields.take(key)
    items = value if isinstance(value, list) else [value]
    names = [_name(item) for item in items if item is not None]
    if not all(name is not None for name in names):
        raise fields.wrong(key, value, "GitHub's form, with a name, title or login")
    return tuple(name for name in names if name)


def _name(item: Json) -> str | None:
    if isinstance(item, dict):
        item = next((item[key] for key in ("login", "name", "title") if item.get(key) is not None), None)
    return text_of(item)


def _references(fields: Fields, key: str, *, url: str | None = None, still_open: bool = False) -> tuple[IssueId, ...]:
    """Take issues that GitHub writes as numbers, objects, or {"nodes": [...]}; with `still_open`, no closed ones."""
    value = fields.take(key)
    nodes = value.get("nodes", [value]) if isinstance(value, dict) else value
    items = nodes if isinstance(nodes, list) else [nodes]
    found: list[IssueId] = []
    for item in items:
        if item is None or item == {} or (still_open and _is_closed(item)):
            continue
        reference = _reference(item, url=url)
        if reference is None:
            raise fields.wrong(key, item, "GitHub's form, with a number")
        found.append(reference)
    return tuple(dict.fromkeys(found))


def _is_closed(item: Json) -> bool:
    """Tell of a blocker that is done; an export of open issues alone would not hold it."""
    return isinstance(item, dict) and text_of(item.get("state")) in ("CLOSED", "closed")


def _reference(item: Json, *, url: str | None) -> IssueId | None:
    if not isinstance(item, dict):
        return issue_id(text_of(item) or "")
    number = issue_id(text_of(item.get("number")) or "")
    repository = _repository(item)
    if number is None or repository is None or not url or f"/{repository}/issues/".lower() in url.lower():
        return number
    return IssueId(f"{repository}#{number}")


def _repository(item: Mapping[str, Json]) -> str | None:
    repository = item.get("repository")
    if isinstance(repository, dict):
        repository = repository.get("nameWithOwner")
    return repository if isinstance(repository, str) and issue_id(repository) else None


def _closed(file: SourceFile, issue: IssueId) -> SourceFile | None:
    text = decode(file.content, path=file.path)
    entries = _entries(text, path=file.path)
    for fields, place in zip(entries, elements(text, whole(text)), strict=True):
        key, old = fields.key_of("state") or "state", text_of(fields.look("state")) or "OPEN"
        if fields.id("number", "id") != issue or _state(fields) is IssueState.CLOSED:
            continue
        word = "CLOSED" if old.isupper() else "closed"
        return SourceFile(path=file.path, content=with_member(text, place, key, word).encode())
    return None
