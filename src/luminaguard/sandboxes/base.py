"""The seam of isolation: a command line goes in, the command line that runs it inside the walls comes out.

A sandbox starts nothing itself. The caller runs the command under `host.detached`, which holds time, output and
resource limits and outlives us; so one way of running serves every level.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from luminaguard.host.detached import Command
from luminaguard.host.limits import Limits
from luminaguard.model.isolation import Isolation

GATEWAY_PORT = 8470
GATEWAY_URL = f"http://127.0.0.1:{GATEWAY_PORT}"
"""Where a program behind walls finds the gateway, if its walls have one."""


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
    TMPDIR, which the sandbox sets itself. `gateway` is a Unix socket of this machine that programs inside reach at
    `GATEWAY_URL`, by a door that opens before the first of them runs and, where nothing listens yet, waits a while.
    """

    tree: Overlay | Mount
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    gateway: Path | None = None


class Sandbox(Protocol):
    """One isolation level."""

    level: Isolation

    def missing(self) -> str | None:
        """Say why this level does not work here, by having tried it, or None. The answer is kept."""

    def enclose(self, argv: Sequence[str], walls: Walls) -> Command:
        """Give the command line that runs `argv` inside `walls`. Never gives less than the level says.

        Raises:
            HostFault: the level does not work here (`missing` says why).
        """

    def seen_at(self, mount: Mount) -> Path:
        """Tell where a program inside finds what is mounted: `at` behind real walls, `source` where there are none."""


class OverlaySandbox(Sandbox, Protocol):
    """A sandbox that may mount overlays."""

    def overlay_missing(self) -> str | None:
        """Say why a tree cannot be an `Overlay` here, by having mounted one, or None. The answer is kept."""
