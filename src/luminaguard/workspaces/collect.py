"""Bringing the work out: inside the walls it becomes a bundle, outside only the bundle is looked at.

No program of this machine ever opens a file that an agent could write: not its `.git`, not its tree. The bundle comes
through the standard output of a fresh sandbox in which no process of the agent's lives any more.
"""

import os
import re
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

import anyio

from luminaguard.host.detached import Ended, run_attached
from luminaguard.model.faults import HostFault
from luminaguard.model.ids import Oid
from luminaguard.sandboxes.base import Mount, Sandbox
from luminaguard.workspaces.base import Workspace
from luminaguard.workspaces.files import ENV, SPARE_AT
from luminaguard.workspaces.gitfolder import LEAST, write_git_folder
from luminaguard.workspaces.remove import remove_folder
from luminaguard.workspaces.scripts import COLLECT

BUNDLE_BYTES = 512 * 1024 * 1024
TIMEOUT_S = 900.0
HEADER_BYTES = 65536
OTHERS = 32
OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """The objects that came out: a pack of git's that begins at `at` in `file`."""

    file: Path
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What the sandbox said of the work, every word of it untrusted, and where the objects lie.

    `others` are the tips of further branches. `pack` is None when there are no new commits. `skipped` are folders that
    could not be taken along.
    """

    tip: Oid
    others: tuple[Oid, ...] = ()
    committed: bool = False
    skipped: tuple[str, ...] = ()
    pack: Pack | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """How the work began: the tree of its start, and an index with the commit that it fits.

    The index spares git to read every file; where it fits the start, it need not be brought up to date either.
    """

    tree: Oid
    index: Path
    indexed: Oid


async def bring_out(
    workspace: Workspace,
    sandbox: Sandbox,
    *,
    begun: Begun,
    alternates: tuple[Path, ...],
    shallow: Path,
    message: str,
) -> Brought | str:
    """Run COLLECT on a workspace in a fresh sandbox; a sentence says why it brought nothing out.

    Args:
        workspace: no process of its agent may be alive.
        sandbox: what encloses the script.
        begun: what the workspace began with.
        alternates: where a program inside finds the repository's objects and the agent's.
        shallow: the repository's `shallow` file, which may not be there.
        message: of the commit that is made when the agent left changes.

    Raises:
        HostFault: this machine could not run it.
    """
    place, spare = workspace.folder / "collect", workspace.folder / "git"
    for left in (place, spare):
        if os.path.lexists(left):
            await anyio.to_thread.run_sync(remove_folder, left)
    mount = Mount(source=spare, at=SPARE_AT, writable=True)
    tree = workspace.walls.tree
    at = sandbox.seen_at(tree) if isinstance(tree, Mount) else tree.at
    write_git_folder(
        spare,
        head="refs/heads/none",
        refs={"refs/heads/start": workspace.start.commit},
        alternates=alternates,
        shallow=shallow,
        folders=LEAST,
        more=f"[core]\n\thooksPath = /dev/null\n\texcludesFile = {_quoted(at / '.git/info/exclude')}\n",
    )
    shutil.copyfile(begun.index, spare / "index")
    walls = replace(workspace.walls, mounts=(*workspace.walls.mounts, mount), env=ENV)
    start = workspace.start
    told = (
        *(str(sandbox.seen_at(mount)), str(at), start.commit, start.merge or "", start.branch),
        *(_date(workspace.folder), message[:65536], begun.tree, begun.indexed),
    )
    argv = ("/bin/sh", "-c", COLLECT, "collect", *told)
    ended = await run_attached(place, sandbox.enclose(argv, walls), timeout_s=TIMEOUT_S, out_bytes=BUNDLE_BYTES)
    if ended.cause in ("lost", "owner gone", "cancelled"):
        raise HostFault(f"the work of {workspace.name} was not brought out: {ended.cause}", hint="run it again")
    brought = _read(place / "out") if ended.cause == "exited" and ended.exit_code == 0 else None
    return brought or _why(ended, place)


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _date(folder: Path) -> str:
    """Give the date of the commit that we make: the same one each time, so that it is the same commit."""
    try:
        with (folder / "committed_at").open("x", encoding="ascii") as file:
            file.write(f"{int(time.time())} +0000\n")
    except FileExistsError:
        pass
    return (folder / "committed_at").read_text(encoding="ascii").strip()


def _why(ended: Ended, place: Path) -> str:
    if ended.cause == "output":
        return f"the work is larger than {BUNDLE_BYTES // 1024**2} MiB"
    if ended.cause != "exited":
        return f"bringing the work out was stopped by its limits ({ended.cause})"
    return f"git could not read what was left (exit code {ended.exit_code}): {_last_line(place / 'log')}"


def _last_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 2048))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return "it said nothing"
    return "".join(char if char.isprintable() else "?" for char in lines[-1][-400:]) if lines else "it said nothing"


def _read(path: Path) -> Brought | None:
    """Read what the script said, and where the pack behind it begins; None where it is not what the script says."""
    with path.open("rb") as file:
        head, found, _ = file.read(HEADER_BYTES).partition(b"\n\n")
        size = file.seek(0, os.SEEK_END)
    brought = read_said(head) if found else None
    if brought is None or size == len(head) + 2:
        return brought
    return replace(brought, pack=Pack(file=path, at=len(head) + 2))


def read_said(head: bytes) -> Brought | None:
    """Read the lines that come before the pack; None where they are not those of the script."""
    said: dict[str, list[str]] = {}
    for line in head.decode(errors="replace").splitlines():
        name, _, value = line.partition(" ")
        said.setdefault(name, []).append(value)
    tip, *_ = said.get("tip", [""])
    others = said.get("other", [])[:OTHERS]
    if not all(OID.fullmatch(oid) for oid in (tip, *others)):
        return None
    return Brought(
        tip=Oid(tip),
        others=tuple(map(Oid, others)),
        committed=said.get("committed") == ["yes"],
        skipped=tuple(said.get("skipped", ())),
    )
