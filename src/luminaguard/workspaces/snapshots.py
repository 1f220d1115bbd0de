"""Immutable checkouts that overlays stand on: one folder a commit, made once, renamed into place, never changed."""

import os
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import anyio

from luminaguard.model.ids import Oid
from luminaguard.workspaces.plain_git import PlainGit, plain_git
from luminaguard.workspaces.remove import remove_folder

KEPT = 2
"""How many snapshots stay that no workspace stands on."""
LEAST_NEAR, MOST_NEAR, NEAR_SHARE = 20, 2000, 10
"""A workspace brings up to a tenth of the paths up to date itself, within these bounds; more wants a new snapshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A checkout of `commit` with the index that fits it."""

    commit: Oid
    folder: Path

    @property
    def tree(self) -> Path:
        """The files."""
        return self.folder / "tree"

    @property
    def index(self) -> Path:
        """The index, with what git remembers of each file."""
        return self.folder / "index"


class Snapshots:
    """The snapshots of one repository, in `folder`."""

    def __init__(self, folder: Path, *, common: Path) -> None:
        self.folder = folder
        self.common = common
        self._near: dict[tuple[Oid, Oid], bool] = {}

    def at(self, commit: Oid) -> Snapshot | None:
        """Give the snapshot of a commit if there is one."""
        found = Snapshot(commit=commit, folder=self.folder / commit)
        return found if found.index.exists() else None

    def newest(self) -> Snapshot | None:
        """Give the snapshot that was made last."""
        return next(iter(self._all()), None)

    def _all(self) -> list[Snapshot]:
        names = [path for path in self.folder.glob("[0-9a-f]*") if (path / "index").exists()]
        names.sort(key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
        return [Snapshot(commit=Oid(path.name), folder=path) for path in names]

    async def near(self, commit: Oid) -> Snapshot:
        """Give a snapshot of `commit` or one close to it; make one where there is none."""
        if (exact := self.at(commit)) is not None:
            return exact
        newest = self.newest()
        if newest is not None and await self._is_near(newest.commit, commit):
            return newest
        return await self.make(commit)

    async def _is_near(self, old: Oid, new: Oid) -> bool:
        if (old, new) not in self._near:
            git = plain_git(self.folder.parent, self.common, old)
            ran = await git.run("diff-tree", "-r", "-z", "--name-only", "--no-renames", old, new, ok=(0, 128))
            self._near[old, new] = ran.exit_code == 0 and ran.out.count(b"\0") <= self._most(old)
        return self._near[old, new]

    def _most(self, commit: Oid) -> int:
        # The index begins with "DIRC", its version and the number of its entries.
        with (self.folder / commit / "index").open("rb") as file:
            entries = int.from_bytes(file.read(12)[8:], "big")
        return min(max(entries // NEAR_SHARE, LEAST_NEAR), MOST_NEAR)

    async def make(self, commit: Oid) -> Snapshot:
        """Check `commit` out into a new snapshot; another one making the same is no harm."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=self.folder, prefix="new-"))
        try:
            git = plain_git(self.folder.parent, self.common, commit)
            await check_out(git, commit, tree=temporary / "tree", index=temporary / "index")
            os.utime(temporary)
            _rename(temporary, self.folder / commit)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(remove_folder, temporary)
        return Snapshot(commit=commit, folder=self.folder / commit)

    async def prune(self, *, used: Collection[Oid]) -> None:
        """Remove the snapshots that no workspace stands on, but for the newest."""
        for old in [found for found in self._all()[KEPT:] if found.commit not in used]:
            # Gone at once for whoever looks; half of a snapshot must never be found.
            doomed = self.folder / f"old-{old.commit}"
            _rename(old.folder, doomed)
            await anyio.to_thread.run_sync(remove_folder, doomed)


def _rename(old: Path, new: Path) -> None:
    try:
        old.rename(new)
    except OSError:
        if not new.exists():
            raise


async def check_out(git: PlainGit, commit: Oid, *, tree: Path, index: Path) -> None:
    """Check a commit out into a new folder, with no filter and no hook of anybody's.

    Raises:
        HostFault: the commit is not whole here, or the disk is full.
    """
    tree.mkdir(parents=True)
    git = replace(git, env={"GIT_WORK_TREE": str(tree), "GIT_INDEX_FILE": str(index)})
    await git.run("read-tree", "--end-of-options", commit)
    await git.run("checkout-index", "--all", "--index", "--quiet", timeout_s=1800.0)
