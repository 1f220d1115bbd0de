"""The seam of isolation: a command line goes in, the command line that runs it inside the walls comes out.

A sandbox starts nothing itself. The caller runs the enclosed command under `host.shim`, which holds time, output and
resource limits and outlives us; so one way of running serves every level.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

MIB = 1024 * 1024


class Isolation(StrEnum):
    """How thick the walls are, thickest first."""

    VM = "vm"
    NAMESPACE = "namespace"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a sandboxed program may use, all of it together unless it says otherwise.

    `file_bytes` bounds each file, `tmp_bytes` the scratch space in memory (/tmp, the home), `disk_bytes` what the
    workspace may grow by, `output_bytes` what is kept of standard output and error.
    """

    memory_bytes: int = 8192 * MIB
    processes: int = 1024
    file_bytes: int = 1024 * MIB
    tmp_bytes: int = 1024 * MIB
    disk_bytes: int = 8192 * MIB
    output_bytes: int = 64 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A folder or file of this machine, shown inside at `at`, read-only unless said."""

    source: Path
    at: Path
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """A private view of the read-only `lower`: what is written lands in `upper`. `work` is overlayfs's scratch."""

    lower: Path
    upper: Path
    work: Path
    at: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Walls:
    """What a program inside may see. Its working folder is the tree; there is no network.

    `mounts` are shown besides the tree and the toolchain; `env` is the whole environment besides PATH, HOME, LANG and
    TMPDIR, which the sandbox sets itself.
    """

    tree: Overlay | Mount
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Enclosed:
    """What to execute on this machine: the whole command line, the whole environment, the folder to start in."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    limits: Limits


class Sandbox(Protocol):
    """One isolation level."""

    level: Isolation

    def missing(self) -> str | None:
        """Say why this level does not work here, by having tried it, or None. The answer is kept."""

    def enclose(self, argv: Sequence[str], walls: Walls) -> Enclosed:
        """Give the command line that runs `argv` inside `walls`. Never gives less than the level says.

        Raises:
            HostFault: the level does not work here (`missing` says why).
        """

    def seen_at(self, mount: Mount) -> Path:
        """Tell where a program inside finds what is mounted: `at` behind real walls, `source` where there are none."""
