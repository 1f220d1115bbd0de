"""Workspaces that cost what they change: an overlay on an immutable checkout, ready in milliseconds at any size."""

import shutil
from pathlib import Path

import anyio

from luminaguard.host.git import Git, Places
from luminaguard.host.limits import Limits
from luminaguard.model.ids import Oid
from luminaguard.sandboxes.base import Mount, Overlay, OverlaySandbox, Walls
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
from luminaguard.workspaces.remove import remove_folder
from luminaguard.workspaces.snapshots import Snapshot, Snapshots


class OverlayWorkspaces:
    """Makes overlays in the state folder of a repository. Meant for one orchestrator, which may make many at once."""

    kind = "overlay"

    def __init__(self, git: Git, places: Places, sandbox: OverlaySandbox) -> None:
        self._ground = Ground(git=git, common=places.common, state=places.state, sandbox=sandbox)
        self._sandbox = sandbox
        self._folder = places.state / "workspaces"
        self._snapshots = Snapshots(places.state / "snapshots", common=places.common)
        # Between choosing a snapshot and writing down that it is used, none may be removed.
        self._choosing = anyio.Lock()

    def missing(self) -> str | None:
        """Say why overlays cannot be mounted here."""
        return self._sandbox.overlay_missing()

    async def create(self, name: str, start: Start, *, limits: Limits, mounts: tuple[Mount, ...] = ()) -> Workspace:
        """Make the workspace; the one of this name is found again with its own start and all that it holds."""
        folder = self._folder / checked_name(name)
        async with self._choosing:
            record = read_record(folder)
            if record is None:
                snapshot = await self._snapshot_for(start.commit)
                record = Record(start=start, snapshot=snapshot.commit)
                await anyio.to_thread.run_sync(self._make, folder, record, snapshot)
        return self._workspace(name, folder, record, limits=limits, mounts=mounts)

    async def _snapshot_for(self, commit: Oid) -> Snapshot:
        before = self._snapshots.newest()
        snapshot = await self._snapshots.near(commit)
        if before is not None and self._snapshots.newest() != before:
            records = (read_record(folder) for folder in self._folder.glob("*"))
            used = {record.snapshot for record in records if record is not None}
            await self._snapshots.prune(used={*used, commit})
        return snapshot

    def _make(self, folder: Path, record: Record, snapshot: Snapshot) -> None:
        temporary = new_folder(self._folder)
        try:
            (temporary / "upper").mkdir()
            (temporary / "work").mkdir()
            self._ground.write_git(temporary / "upper", record.start)
            # A copy, so that its time is later than that of the files: git trusts what it remembers of them then.
            shutil.copyfile(snapshot.index, temporary / "upper/.git/index")
            write_record(temporary, record)
            temporary.rename(folder)
        finally:
            remove_folder(temporary)

    def _workspace(
        self, name: str, folder: Path, record: Record, *, limits: Limits, mounts: tuple[Mount, ...]
    ) -> Workspace:
        lower = self._snapshots.folder / record.snapshot / "tree"
        tree = Overlay(lower=lower, upper=folder / "upper", work=folder / "work", at=TREE_AT)
        walls = Walls(tree=tree, mounts=(*self._ground.store_mounts(), *mounts), env=ENV, limits=limits)
        prepare = prepare_argv(record.start, record.snapshot)
        return Workspace(name=name, folder=folder, start=record.start, walls=walls, prepare=prepare)

    async def collect(self, workspace: Workspace, *, ref: str, message: str) -> Delivered:
        """Bring the work home; no process may be at work in the workspace."""
        assert isinstance(workspace.walls.tree, Overlay)
        snapshot = workspace.walls.tree.lower.parent
        index, indexed = snapshot / "index", Oid(snapshot.name)
        return await collect_from(self._ground, workspace, index=index, indexed=indexed, ref=ref, message=message)

    async def discard(self, workspace: Workspace) -> None:
        """Remove what the workspace holds; the snapshot under it stays for the next."""
        await self.remove(workspace.name)

    async def remove(self, name: str) -> None:
        """Discard the workspace of this name, where there is one."""
        await anyio.to_thread.run_sync(remove_folder, self._folder / checked_name(name))
