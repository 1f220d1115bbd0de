"""Issues copied from one forge to another, each once however often it is asked for.

A copy carries a hidden mark that names what it is a copy of: a second transfer, or one that goes on after a kill, finds
it there and makes no other.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import anyio

from luminaguard.app.project import Project
from luminaguard.forges.all import format_of
from luminaguard.forges.file_backlog import FileBacklog
from luminaguard.forges.local import LocalTracker
from luminaguard.model.faults import HostFault, UserFault
from luminaguard.model.ids import IssueId, Json
from luminaguard.model.issue import Backlog, Issue, IssueState

LOCAL = "local"
_MARK = re.compile(r"\n*<!-- luminaguard: copy of (?P<of>[^\n]*?) -->\s*")


@runtime_checkable
class Sink(Protocol):
    """A forge that issues can be written to, and that tells what it holds."""

    name: str

    async def backlog(self) -> Backlog:
        """Read every issue."""

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
    if where == LOCAL:
        backlog, name = await LocalTracker(project.store).backlog(), LOCAL
    else:
        path = Path(where).absolute()
        backlog, name = await anyio.to_thread.run_sync(format_of(path).read, path), path.name
    return await _copied(backlog.issues, _sink(project), name=name, everything=everything)


async def export_to(project: Project, where: str, *, everything: bool) -> Moved:
    """Copy the project's issues to the local tracker, or to a file in the form of `gh issue list --json`.

    Raises:
        UserFault: the file is there already, or the tracker is where the issues live anyway.
        HostFault: the file cannot be written.
    """
    backlog = await project.forge.backlog()
    if where != LOCAL:
        chosen = [it for it in backlog.issues if everything or it.state is IssueState.OPEN]
        await anyio.to_thread.run_sync(_write, Path(where), chosen)
        return Moved(ids={it.id: it.id for it in chosen}, added=tuple(it.id for it in chosen))
    if isinstance(project.forge, LocalTracker | FileBacklog):
        raise UserFault("these issues are in the local tracker already", hint="name a file: issues export issues.json")
    return await _copied(backlog.issues, LocalTracker(project.store), name=project.backlog, everything=everything)


def _sink(project: Project) -> Sink:
    if isinstance(project.forge, Sink):
        return project.forge
    hint = "set [backlog] source to a forge, or edit the files themselves"
    raise UserFault(f"nothing can be added to {project.backlog}", hint=hint)


async def _copied(issues: Sequence[Issue], sink: Sink, *, name: str, everything: bool) -> Moved:
    there = {of: it.id for it in (await sink.backlog()).issues if (of := copy_of(it.body)) is not None}
    chosen = [it for it in issues if everything or it.state is IssueState.OPEN]
    ids, added = {}, []
    for issue in chosen:
        found = there.get(f"{name}#{issue.id}")
        if found is None:
            found = await sink.add(replace(issue, body=marked(issue.body, f"{name}#{issue.id}"), needs=(), blocks=()))
            added.append(found)
        ids[issue.id] = found
    for issue in chosen:
        await _finish(issue, ids, sink)
    return Moved(ids=ids, added=tuple(added), notices=_notices(chosen, ids, everything=everything))


async def _finish(issue: Issue, ids: dict[IssueId, IssueId], sink: Sink) -> None:
    for need in issue.needs:
        if need in ids:
            await sink.add_need(ids[issue.id], ids[need])
    for blocked in issue.blocks:
        if blocked in ids:
            await sink.add_need(ids[blocked], ids[issue.id])
    if issue.state is IssueState.CLOSED:
        await sink.close(ids[issue.id], comment="")


def _notices(chosen: Sequence[Issue], ids: dict[IssueId, IssueId], *, everything: bool) -> tuple[str, ...]:
    notices = []
    renamed = sum(old != new for old, new in ids.items())
    if renamed:
        notices.append(f"{renamed} got other ids; where a text says #N, it means the old one")
    if everything and (lost := {need for it in chosen for need in it.needs if need not in ids}):
        notices.append(f"not in the source and left out as needs: {', '.join(sorted(lost)[:10])}")
    return tuple(notices)


def marked(body: str, of: str) -> str:
    """Give a text with the mark of a copy, and no older mark."""
    plain = _MARK.sub("", body).rstrip()
    mark = f"<!-- luminaguard: copy of {of} -->"
    return f"{plain}\n\n{mark}" if plain else mark


def copy_of(body: str) -> str | None:
    """Tell what an issue is a copy of."""
    found = _MARK.search(body)
    return None if found is None else found["of"]


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
    number: Json = int(issue.id) if issue.id.isascii() and issue.id.isdigit() else issue.id
    return {
        "number": number,
        "title": issue.title,
        "body": issue.body,
        "state": issue.state.value.upper(),
        "labels": [{"name": name} for name in issue.labels],
        "milestone": {"title": issue.milestone} if issue.milestone else None,
        "author": {"login": issue.author} if issue.author else None,
        "parent": {"number": issue.parent} if issue.parent else None,
        "blockedBy": [{"number": need} for need in issue.needs],
        "blocking": [{"number": blocked} for blocked in issue.blocks],
    }
