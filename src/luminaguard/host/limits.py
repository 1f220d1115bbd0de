"""What an enclosed program may use, and the control groups that hold it where this machine lets us make some."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a sandboxed program may use, all of it together unless it says otherwise.

    `file_bytes` bounds each file, `tmp_bytes` the scratch space in memory (/tmp, the home), `disk_bytes` what the
    workspace may grow by, `log_bytes` what is kept of its output.
    """

    memory_bytes: int = 8192 * MIB
    processes: int = 1024
    file_bytes: int = 1024 * MIB
    tmp_bytes: int = 1024 * MIB
    disk_bytes: int = 8192 * MIB
    log_bytes: int = 8 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A control group to make: its folder, and what to write into which of its files."""

    path: Path
    limits: tuple[tuple[str, str], ...]


def groups_for(name: str, limits: Limits) -> tuple[Group, ...]:
    """Name the control groups that hold `limits` for a program; none where this machine does not let us make any."""
    unified, legacy = _parents()
    if unified is not None:
        wanted = (
            ("pids.max", str(limits.processes)),
            ("memory.max", str(limits.memory_bytes)),
            ("memory.oom.group", "1"),
        )
        return (Group(path=unified / name, limits=wanted),)
    one = {"pids": ("pids.max", str(limits.processes)), "memory": ("memory.limit_in_bytes", str(limits.memory_bytes))}
    return tuple(Group(path=parent / name, limits=(one[kind],)) for kind, parent in legacy)


@functools.cache
def _parents() -> tuple[Path | None, tuple[tuple[str, Path], ...]]:
    """Find where groups can be made: one folder of version 2, else one for each controller of version 1."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None, ()
    own = {
        kind: path.lstrip("/") for _, kinds, path in (line.split(":", 2) for line in lines) for kind in kinds.split(",")
    }
    if "" in own and (unified := _delegated(CGROUPS, CGROUPS / own[""])) is not None:
        return unified, ()
    legacy = ((kind, CGROUPS / kind / own[kind]) for kind in ("pids", "memory") if kind in own)
    return None, tuple((kind, path) for kind, path in legacy if os.access(path, os.W_OK))


def _delegated(top: Path, own: Path) -> Path | None:
    # A group with processes cannot hand controllers down, so our own is no parent; systemd delegates one above it.
    for folder in own.parents:
        if not folder.is_relative_to(top):
            return None
        try:
            handed = (folder / "cgroup.subtree_control").read_text(encoding="ascii").split()
        except OSError:
            continue
        if (
            {"pids", "memory"} <= set(handed)
            and os.access(folder, os.W_OK)
            and os.access(folder / "cgroup.procs", os.W_OK)
        ):
            return folder
    return None


def what_holds() -> str:
    """Say in words what bounds memory and processes on this machine."""
    unified, legacy = _parents()
    if unified is not None or len(legacy) == 2:
        return "control groups"
    return "a look at every second"
