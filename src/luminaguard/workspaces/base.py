"""The seam of workspaces: made on a base commit, worked in behind walls, brought home as a bundle.

Raises `HostFault` where the disk or git refuses, `UserFault` where the repository itself is not usable.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from luminaguard.host.limits import Limits
from luminaguard.model.ids import Oid
from luminaguard.sandboxes.base import Mount, Walls


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where an attempt begins: HEAD is `commit` on `branch`.

    With `merge`, the target's tip is merged into it before the agent starts; where that conflicts, the agent finds the
    conflict markers in the files and the merge under way.
    """

    branch: str
    commit: Oid
    merge: Oid | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A private checkout that exists. `folder` is its home on this machine; `start` is what it began as.

    `tree` and `mounts` go into the walls; `prepare` is an argv to run inside before anything else works on the files
    (an empty one where nothing is left to prepare).
    """

    name: str
    folder: Path
    start: Start
    walls: Walls
    prepare: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What came out of a workspace, imported and pinned under a ref of ours.

    `commit` is None when nothing was changed. `committed` says that we made the last commit because the agent left
    only changes. `refused` says, in a sentence, why the work could not be taken as it is (its commits are kept).
    """

    commit: Oid | None
    committed: bool = False
    refused: str | None = None


class Workspaces(Protocol):
    """Makes and unmakes private checkouts."""

    kind: str

    def missing(self) -> str | None:
        """Say why this kind cannot be used here, or None."""

    async def create(self, name: str, start: Start, *, limits: Limits, mounts: tuple[Mount, ...] = ()) -> Workspace:
        """Make the workspace, or find the one of this name again with whatever it holds."""

    async def collect(self, workspace: Workspace, *, ref: str, message: str) -> Delivered:
        """Commit what is left uncommitted, bring all new commits out and pin them under `ref`; may be repeated."""

    async def discard(self, workspace: Workspace) -> None:
        """Remove the files; what was collected stays."""

    async def remove(self, name: str) -> None:
        """Discard the workspace of this name, where there is one."""


TREE_FAILED = 97
"""The exit code of a command with preparation when the tree could not be set up."""


def with_preparation(workspace: Workspace, argv: tuple[str, ...]) -> tuple[str, ...]:
    """Give the command line that prepares the tree, where that is still to be done, and then becomes `argv`.

    It exits with `TREE_FAILED` where the tree cannot be set up. Running it again does nothing to a tree that is
    prepared, or in which the agent has committed.
    """
    return (*workspace.prepare, *argv)


def with_env(workspace: Workspace, env: Mapping[str, str]) -> Workspace:
    """Give the same workspace with more in its environment."""
    walls = replace(workspace.walls, env={**workspace.walls.env, **env})
    return replace(workspace, walls=walls)
