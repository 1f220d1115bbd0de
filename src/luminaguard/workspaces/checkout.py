"""Workspaces that are checked out in full, for machines without overlays and for work without walls.

Each is made new and none is used again: to clean up after an agent, git would have to read files that the agent wrote.
"""

import shutil
from pathlib import Path

import anyio

from luminaguard.host.git import Git, Places
from luminaguard.host.limits import Limits
from luminaguard.sandboxes.base import Mount, Sandbox, Walls
from luminaguard.workspaces.base import Delivered, Start, Workspace
from luminaguard.workspaces.deliver import collect_from
from luminaguard.workspaces.files import (
    ENV,
    TREE_AT,
    Ground,
    Record,
    checked_name,
    new_folder,
    prepare_argv,
    read_record,
    write_record,
)
from luminaguard.workspaces.plain_git import plain_git
from luminaguard.workspaces.remove import remove_folder
from luminaguard.workspaces.snapshots import check_out


class CheckoutWorkspaces:
    """Makes full checkouts in the state folder of a repository."""

    kind = "checkout"

    def __init__(self, git: Git, places: Places, sandbox: Sandbox) -> None:
        self._ground = Ground(git=git, common=places.common, state=places.state, sandbox=sandbox)
        self._folder = places.state / "workspaces"

    def missing(self) -> str | None:
        """Say None: this works everywhere."""
        return None

    async def create(self, name: str, start: Start, *, limits: Limits, mounts: tuple[Mount, ...] = ()) -> Workspace:
        """Make the workspace; the one of this name is found again with its own start and all that it holds."""
        folder = self._folder / checked_name(name)
        record = read_record(folder)
        if record is None:
            record = Record(start=start, snapshot=start.commit)
            await self._make(folder, record)
        tree = Mount(source=folder / "tree", at=TREE_AT, writable=True)
        walls = Walls(tree=tree, mounts=(*self._ground.store_mounts(), *mounts), env=ENV, limits=limits)
        prepare = prepare_argv(record.start, record.snapshot)
        return Workspace(name=name, folder=folder, start=record.start, walls=walls, prepare=prepare)

    async def _make(self, folder: Path, record: Record) -> None:
        temporary = new_folder(self._folder)
        try:
            tree, index = temporary / "tree", temporary / "index"
            git = plain_git(self._ground.state, self._ground.common, record.start.commit)
            await check_out(git, record.start.commit, tree=tree, index=index)
            self._ground.write_git(tree, record.start)
            shutil.copyfile(index, tree / ".git/index")
            write_record(temporary, record)
            temporary.rename(folder)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(remove_folder, temporary)

    async def collect(self, workspace: Workspace, *, ref: str, message: str) -> Delivered:
        """Bring the work home; no process may be at work in the workspace."""
        index = workspace.folder / "index"
        indexed = workspace.start.commit
        return await collect_from(self._ground, workspace, index=index, indexed=indexed, ref=ref, message=message)

    async def discard(self, workspace: Workspace) -> None:
        """Remove what the workspace holds."""
        await self.remove(workspace.name)

    async def remove(self, name: str) -> None:
        """Discard the workspace of this name, where there is one."""
        await anyio.to_thread.run_sync(remove_folder, self._folder / checked_name(name))
