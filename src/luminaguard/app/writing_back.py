"""Where closing an issue also changes the file that it came from, and where that cannot be."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from anyio import to_thread

from luminaguard.app.project import Project
from luminaguard.forges.file_backlog import FileBacklog
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import Issue, Notice

SHOWN = 5


def files_written_to(project: Project) -> FileBacklog | None:
    """Give the backlog whose files change when an issue lands, None where none is to."""
    forge = project.forge
    return forge if project.settings.backlog.write_back and isinstance(forge, FileBacklog) else None


async def not_written_back(
    project: Project, issues: Sequence[Issue], tip: Oid, *, tracked: AbstractSet[str]
) -> tuple[Notice, ...]:
    """Tell of open issues that will be closed in the tracker alone, because the target does not hold them in its files.

    Where the source is outside of the repository nothing is told: a run refuses to begin then.

    Args:
        project: where they are worked on.
        issues: the open ones.
        tip: the commit that the next landing builds on.
        tracked: all paths of that commit.
    """
    forge = files_written_to(project)
    if forge is None or not issues:
        return ()
    try:
        places = {path: forge.relative(Path(path)) for path in {it.origin.path for it in issues if it.origin}}
        homes = {it.id: places[it.origin.path] for it in issues if it.origin}
        changed = tracked & set(homes.values()) & set(await _changed(project, tip, forge.place))
        held = await to_thread.run_sync(forge.held_in, _reader(project, tip), changed) if changed else ()
    except UserFault:
        return ()
    unkept = [it for it, home in homes.items() if home not in tracked or (home in changed and it not in held)]
    return (_notice(project, unkept, sorted({homes[issue] for issue in unkept})),) if unkept else ()


async def _changed(project: Project, tip: Oid, place: str) -> list[str]:
    """Name the files below a place that are here other than in a commit; a bare repository has none."""
    words = ("--literal-pathspecs", "diff", "--name-only", "--no-renames", "-z", tip, "--", place)
    ran = await project.git.run(*words, ok=(0, 128))
    return ran.out.decode(errors="surrogateescape").split("\0")


def _reader(project: Project, commit: Oid) -> Callable[[str], bytes | None]:
    def read(path: str) -> bytes | None:
        ran = project.git.run_blocking("cat-file", "blob", f"{commit}:{path}", ok=(0, 128))
        return ran.out if ran.exit_code == 0 else None

    return read


def _notice(project: Project, issues: Sequence[IssueId], paths: Sequence[str]) -> Notice:
    which = _some([f"#{issue}" for issue in issues])
    what = f"'{project.target}' does not hold them in {_some(paths)} as committed"
    text = (
        f"write_back = true cannot be kept for {which}: {what}, so only the tracker closes them; git add and commit it"
    )
    return Notice(text=text)


def _some(names: Sequence[str]) -> str:
    more = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return ", ".join((*names[:SHOWN], *more))
