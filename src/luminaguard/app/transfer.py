"""Issues copied from one forge to another, each once however often it is asked for.

A copy carries a hidden mark that names what it is a copy of: a second transfer, one that goes on after a kill, or one
that goes back to where the issues came from, finds it there and makes no other. What is there is never overwritten.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import anyio

from luminaguard.app.copies import Place, Shelf, is_alike, is_copy, marked, one_line
from luminaguard.app.project import Project
from luminaguard.app.settings_tables import BacklogSource
from luminaguard.forges.absorption import number_of
from luminaguard.forges.all import format_of
from luminaguard.forges.file_backlog import FileBacklog
from luminaguard.forges.local import LocalTracker
from luminaguard.model.faults import HostFault, UserFault
from luminaguard.model.ids import IssueId, Json
from luminaguard.model.issue import Backlog, Issue, IssueState

LOCAL = "local"
LISTED_AT_MOST = 10


@runtime_checkable
class Sink(Protocol):
    """A forge that issues can be written to, and that tells what it holds."""

    name: str

    async def backlog(self) -> Backlog:
        """Read every issue that the settings let through."""

    async def issue(self, issue: IssueId) -> Issue:
        """Read one issue, whatever the settings let through."""

    async def add(self, issue: Issue) -> IssueId:
        """Create an issue and return its id."""

    async def add_need(self, issue: IssueId, need: IssueId) -> None:
        """Say that an issue waits for another."""

    async def close(self, issue: IssueId, *, comment: str) -> None:
        """Close an issue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What came of a transfer: `ids` by the old one, the new ones among them, and what a person should know."""

    ids: dict[IssueId, IssueId]
    added: tuple[IssueId, ...]
    notices: tuple[str, ...] = ()


async def import_from(project: Project, where: str, *, everything: bool) -> Moved:
    """Copy issues from a backlog file, or from the local tracker, to where the project's issues live.

    Raises:
        UserFault: nothing is there, it is broken, or the project's issues live where nothing can be added.
    """
    sink = _sink(project)
    if where == LOCAL:
        backlog, source = await LocalTracker(project.store).backlog(), _tracker(project)
    else:
        path = Path(where).absolute()
        backlog, source = await anyio.to_thread.run_sync(format_of(path).read, path), _file(project, path)
    return await _copied(backlog.issues, source, sink, _home(project), everything=everything)


async def export_to(project: Project, where: str, *, everything: bool) -> Moved:
    """Copy the project's issues to the local tracker, or to a file in the form of `gh issue list --json`.

    Raises:
        UserFault: the file is there already, or the tracker is where the issues live anyway.
        HostFault: the file cannot be written.
    """
    backlog = await project.forge.backlog()
    if where != LOCAL:
        chosen = [it for it in backlog.issues if everything or it.state is IssueState.OPEN]
        home = _home(project)
        told = [replace(it, body=marked(it.body, home.mark(it.id))) for it in chosen]
        await anyio.to_thread.run_sync(_write, Path(where), told)
        return Moved(ids={it.id: it.id for it in chosen}, added=tuple(it.id for it in chosen))
    if isinstance(project.forge, LocalTracker | FileBacklog):
        raise UserFault("these issues are in the local tracker already", hint="name a file: issues export issues.json")
    sink = LocalTracker(project.store)
    return await _copied(backlog.issues, _home(project), sink, _tracker(project), everything=everything)


def _sink(project: Project) -> Sink:
    if isinstance(project.forge, Sink):
        return project.forge
    hint = "set [backlog] source to a forge, or edit the files themselves"
    raise UserFault(f"nothing can be added to {project.backlog}", hint=hint)


def _home(project: Project) -> Place:
    """Tell where the project's issues live."""
    said = project.settings.backlog
    if said.source is BacklogSource.LOCAL:
        return _tracker(project)
    if said.source is BacklogSource.FILE:
        return _file(project, project.places.root / said.path)
    return Place(name=project.backlog, where=said.base_url or "")


def _tracker(project: Project) -> Place:
    return Place(name=LOCAL, where=str(project.places.state.resolve()))


def _file(project: Project, path: Path) -> Place:
    """Tell files of a name apart, and find one of the repository in another clone of it."""
    real, root = path.resolve(), project.places.root.resolve()
    return Place(name=path.name, where=str(real.relative_to(root) if real.is_relative_to(root) else real))


@dataclass(slots=True, kw_only=True)
class _Course:
    """What becomes of the issues: `ids` by the old one, and with what is here those that were found or share a name.

    Of those in `settled` nothing is done: they are no copies of ours, or somebody has changed one of the two since.
    """

    ids: dict[IssueId, IssueId] = field(default_factory=dict)
    added: list[IssueId] = field(default_factory=list)
    there: list[tuple[Issue, Issue]] = field(default_factory=list)
    settled: set[IssueId] = field(default_factory=set)
    namesakes: list[tuple[Issue, Issue]] = field(default_factory=list)


async def _copied(issues: Sequence[Issue], source: Place, sink: Sink, at: Place, *, everything: bool) -> Moved:
    shelf = Shelf(at, (await sink.backlog()).issues)
    chosen = [it for it in issues if everything or it.state is IssueState.OPEN]
    course = _Course()
    for issue in chosen:
        await _copy(issue, source, sink, shelf, course)
    for issue in chosen:
        if issue.id not in course.settled:
            await _finish(issue, course.ids, sink)
    return Moved(ids=course.ids, added=tuple(course.added), notices=_notices(chosen, course, everything=everything))


async def _copy(issue: Issue, source: Place, sink: Sink, shelf: Shelf, course: _Course) -> None:
    await _look_beyond(issue, sink, shelf)
    found = shelf.find(issue, of=source)
    if found.same is not None:
        course.ids[issue.id] = found.same.id
        course.there.append((issue, found.same))
        if not (is_copy(found.same, source.mark(issue.id)) and is_alike(issue, found.same)):
            course.settled.add(issue.id)
        return
    copy = replace(issue, body=marked(issue.body, source.mark(issue.id)), needs=(), blocks=())
    course.ids[issue.id] = await sink.add(copy)
    course.added.append(course.ids[issue.id])
    course.namesakes.extend((issue, other) for other in found.others[:1])


async def _look_beyond(issue: Issue, sink: Sink, shelf: Shelf) -> None:
    """Look for what the issue is a copy of where the settings hide it."""
    for original in shelf.lost(issue):
        try:
            shelf.put(await sink.issue(original))
        except UserFault:
            continue  # It is gone, or never was one of this place.


async def _finish(issue: Issue, ids: dict[IssueId, IssueId], sink: Sink) -> None:
    for need in issue.needs:
        if need in ids:
            await sink.add_need(ids[issue.id], ids[need])
    for blocked in issue.blocks:
        if blocked in ids:
            await sink.add_need(ids[blocked], ids[issue.id])
    if issue.state is IssueState.CLOSED:
        await sink.close(ids[issue.id], comment="")


def _notices(chosen: Sequence[Issue], course: _Course, *, everything: bool) -> tuple[str, ...]:
    ids, notices = course.ids, list[str]()
    alike = [(one.id, here) for one, here in course.there if is_alike(one, here)]
    differing = [(one, here) for one, here in course.there if not is_alike(one, here)]
    if alike:
        notices.append(
            f"were there: {_in_words(old if old == here.id else f'{old} (#{here.id})' for old, here in alike)}"
        )
    if differing:
        notices.append(f"were there, say something else by now, and stay as they are: {_pairs(differing)}")
    if course.namesakes:
        notices.append(f"were copied beside another of their name and number: {_pairs(course.namesakes)}")
    renamed = sum(old != new for old, new in ids.items())
    if renamed:
        notices.append(f"{renamed} got other ids; where a text says #N, it means the old one")
    if everything and (lost := {need for it in chosen for need in it.needs if need not in ids}):
        notices.append(f"not in the source and left out as needs: {_in_words(sorted(lost))}")
    return tuple(notices)


def _pairs(pairs: Sequence[tuple[Issue, Issue]]) -> str:
    return _in_words(f'{one.id} "{one_line(one.title)}" (#{here.id} "{one_line(here.title)}")' for one, here in pairs)


def _in_words(items: Iterable[str]) -> str:
    every = list(items)
    more = f" and {len(every) - LISTED_AT_MOST} more" if len(every) > LISTED_AT_MOST else ""
    return ", ".join(every[:LISTED_AT_MOST]) + more


def _write(path: Path, issues: Sequence[Issue]) -> None:
    text = json.dumps([_exported(it) for it in issues], indent=2, ensure_ascii=False) + "\n"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserFault(f"{path} is there already", hint="name a new file") from None
    except OSError as exc:
        raise HostFault(f"{path} cannot be written: {exc.strerror}", hint="check the folder") from exc


def _exported(issue: Issue) -> dict[str, Json]:
    return {
        "number": _number(issue.id),
        "title": issue.title,
        "body": issue.body,
        "state": issue.state.value.upper(),
        "labels": [{"name": name} for name in issue.labels],
        "milestone": {"title": issue.milestone} if issue.milestone else None,
        "author": {"login": issue.author} if issue.author else None,
        "parent": {"number": _number(issue.parent)} if issue.parent else None,
        "blockedBy": _listed(issue.needs),
        "blocking": _listed(issue.blocks),
    }


def _listed(issues: Sequence[IssueId]) -> Json:
    return {"nodes": [{"number": _number(issue)} for issue in issues], "totalCount": len(issues)}


def _number(issue: IssueId) -> Json:
    """Write an id as GitHub does; one that is no number stays a text."""
    number = number_of(issue)
    return issue if number is None or str(number) != issue else number
