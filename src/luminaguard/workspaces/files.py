"""Where a workspace's parts lie, inside and on this machine, and what is written down of it."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from luminaguard.host.git import Git
from luminaguard.model.faults import HostFault
from luminaguard.model.ids import Oid
from luminaguard.sandboxes.base import Mount, Sandbox
from luminaguard.workspaces.base import Start
from luminaguard.workspaces.gitfolder import IDENTITY, object_stores, write_git_folder
from luminaguard.workspaces.scripts import FRESH, PREPARE

TREE_AT = Path("/workspace")
STORES_AT = Path("/run/luminaguard/objects")
SPARE_AT = Path("/run/luminaguard/git")
ENV = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", **IDENTITY}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What every workspace of a repository stands on: git there, its git folder, our state folder, the sandbox."""

    git: Git
    common: Path
    state: Path
    sandbox: Sandbox

    def stores(self) -> tuple[Path, ...]:
        """List where the repository's objects lie, its own folder first."""
        return object_stores(self.common / "objects")

    def store_mounts(self) -> tuple[Mount, ...]:
        """Show the object stores read-only; one that borrows does not say so inside, as all are named anyway."""
        mounts: list[Mount] = []
        empty = self.state / "empty"
        empty.touch()
        for store, mount in zip(self.stores(), self._plain_mounts(), strict=True):
            mounts.append(mount)
            if (store / "info/alternates").exists():
                mounts.append(Mount(source=empty, at=mount.at / "info/alternates"))
        return tuple(mounts)

    def stores_inside(self) -> tuple[Path, ...]:
        """List where a program inside finds the object stores."""
        return tuple(self.sandbox.seen_at(mount) for mount in self._plain_mounts())

    def _plain_mounts(self) -> tuple[Mount, ...]:
        return tuple(Mount(source=store, at=STORES_AT / str(number)) for number, store in enumerate(self.stores()))

    def write_git(self, tree: Path, start: Start) -> None:
        """Write the `.git` that the agent works with: its branch at the start, objects borrowed."""
        branch = f"refs/heads/{start.branch}"
        write_git_folder(
            tree / ".git",
            head=branch,
            refs={branch: start.commit},
            alternates=self.stores_inside(),
            shallow=self.common / "shallow",
        )
        (tree / ".git" / FRESH).touch()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is remembered of a workspace: how it began, and the snapshot that it stands on."""

    start: Start
    snapshot: Oid


def write_record(folder: Path, record: Record) -> None:
    """Write the record into a workspace's folder."""
    start = record.start
    said = {"branch": start.branch, "commit": start.commit, "merge": start.merge, "snapshot": record.snapshot}
    (folder / "workspace.json").write_text(json.dumps(said), encoding="utf-8")


def read_record(folder: Path) -> Record | None:
    """Read the record of a workspace's folder, None where there is no workspace."""
    try:
        said = json.loads((folder / "workspace.json").read_bytes())
    except FileNotFoundError:
        return None
    start = Start(branch=said["branch"], commit=said["commit"], merge=said["merge"])
    return Record(start=start, snapshot=said["snapshot"])


def checked_name(name: str) -> str:
    """Give the name back; it becomes the name of a folder."""
    assert name == Path(name).name, f"'{name}' cannot name a folder"
    assert not name.startswith("."), f"'{name}' would be hidden"
    return name


def new_folder(parent: Path) -> Path:
    """Make a folder to fill, which gets its name when it is whole.

    Raises:
        HostFault: the disk refuses.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=parent, prefix=".new-"))
    except OSError as exc:
        raise HostFault(f"cannot make a folder in {parent}: {exc.strerror}", hint="is the disk full?") from exc


def prepare_argv(start: Start, snapshot: Oid) -> tuple[str, ...]:
    """Give the command line that makes a tree of `snapshot` one of `start`, merged; empty where nothing is to do."""
    if start.commit == snapshot and start.merge is None:
        return ()
    return ("/bin/sh", "-c", PREPARE, "prepare", start.commit, snapshot, start.merge or "")
