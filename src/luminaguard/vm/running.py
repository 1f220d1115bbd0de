"""The virtual machines of this user that run now: a folder for each, locked by the process that owns it.

A lock that nobody holds is that of an owner who was killed. The hypervisor died with them, or is ended here. A process
that the owner was just making when it was killed holds the lock as well, until it has died too: that is waited for.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from luminaguard.host.locks import try_lock
from luminaguard.model.faults import HostFault
from luminaguard.vm.places import cache_folder

ID_PREFIX = "vm-"
NEW_PREFIX = ".new-"
LOG = "qemu.log"
DIES_WITHIN_S = 5.0
LOOK_EVERY_S = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A virtual machine as its folder tells. `pid` 0: not known yet. `began`: seconds since the epoch."""

    id: str
    pid: int
    owner: int
    hypervisor: str
    spawned_from: str
    began: float
    is_orphan: bool


class Place:
    """The folder of one virtual machine, ours as long as we live."""

    def __init__(self) -> None:
        """Make it.

        Raises:
            HostFault: it cannot be made.
        """
        self.id = ID_PREFIX + secrets.token_hex(6)
        home = cache_folder("running")
        owner = _Process.of(os.getpid())
        new = home / f"{NEW_PREFIX}{owner.pid}-{owner.namespace}-{self.id}"
        try:
            new.mkdir(mode=0o700)
            lock = try_lock(new / "lock")
            assert lock is not None  # nobody else looks at it before we have renamed it
            self._lock = lock
            os.write(lock, str(owner).encode())
            self.folder = home / self.id
            new.rename(self.folder)
        except OSError as exc:
            raise HostFault(f"cannot make a folder in {home}: {exc.strerror}", hint="is the disk full?") from exc

    def write(self, *, pid: int, hypervisor: str, spawned_from: str) -> None:
        """Say what runs here."""
        said = {
            "pid": pid,
            "started": started(pid),
            "owner": os.getpid(),
            "hypervisor": hypervisor,
            "spawned_from": spawned_from,
            "began": time.time(),
        }
        written = self.folder / ".vm.json"
        written.write_text(json.dumps(said), encoding="utf-8")
        written.replace(self.folder / "vm.json")  # whoever looks finds it whole

    def close(self) -> None:
        """Remove it."""
        if self._lock >= 0:
            shutil.rmtree(self.folder, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    """A process, told from a later one of the same id, and from one that another container counts."""

    pid: int
    started: str
    namespace: str

    @classmethod
    def of(cls, pid: int) -> "_Process":
        return cls(pid=pid, started=started(pid), namespace=_namespace())

    @classmethod
    def read(cls, path: Path) -> "_Process | None":
        with contextlib.suppress(OSError, ValueError):
            pid, began, namespace = path.read_text(encoding="ascii").split("\t")
            return cls(pid=int(pid), started=began, namespace=namespace)
        return None

    def __str__(self) -> str:
        return f"{self.pid}\t{self.started}\t{self.namespace}"

    @property
    def is_gone(self) -> bool:
        """Whether it certainly runs no more."""
        return self.namespace == _namespace() and started(self.pid) != self.started


def _namespace() -> str:
    with contextlib.suppress(OSError):
        return str(os.stat("/proc/self/ns/pid").st_ino)  # noqa: PTH116 one call, on the way of every start
    return "0"


def started(pid: int) -> str:
    """Give when a process began, as its system counts; "" where there is none. A pid alone may be another's."""
    if not Path("/proc/self").exists():
        ran = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return ran.stdout.strip()
    with contextlib.suppress(OSError, IndexError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return "" if stat[0] in "ZX" else stat[19]
    return ""


def listed() -> tuple[Listed, ...]:
    """List all virtual machines of this user, orphans too, oldest first."""
    found = [one for folder in cache_folder("running").glob(ID_PREFIX + "*") if (one := _read(folder)) is not None]
    return tuple(sorted(found, key=lambda one: one.began))


def _read(folder: Path) -> Listed | None:
    try:
        is_orphan = _is_orphan(folder)
        said = json.loads((folder / "vm.json").read_bytes())
        return Listed(
            id=folder.name,
            pid=int(said["pid"]),
            owner=int(said["owner"]),
            hypervisor=str(said["hypervisor"]),
            spawned_from=str(said["spawned_from"]),
            began=float(said["began"]),
            is_orphan=is_orphan,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it is being made or removed at this moment, or is an orphan without a name


def _is_orphan(folder: Path) -> bool:
    if folder.name.startswith(NEW_PREFIX):
        return _has_no_maker(folder)
    lock = folder / "lock"
    if not lock.exists():
        return True  # its owner was killed while they removed it
    until = time.monotonic() + DIES_WITHIN_S
    while (fd := try_lock(lock)) is None and time.monotonic() < until:
        owner = _Process.read(lock)
        if owner is None or not owner.is_gone:
            return False
        time.sleep(LOOK_EVERY_S)
    if fd is not None:
        os.close(fd)
    return fd is not None


def _has_no_maker(folder: Path) -> bool:
    pid, _, rest = folder.name.removeprefix(NEW_PREFIX).partition("-")
    namespace = rest.partition("-")[0]
    return pid.isdigit() and namespace == _namespace() and not started(int(pid))


def clear_orphans() -> tuple[str, ...]:
    """End what killed owners left, remove their folders, and name them."""
    cleared = []
    for folder in cache_folder("running").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.startswith((ID_PREFIX, NEW_PREFIX)) and _is_orphan(folder):
                _end(folder)
                shutil.rmtree(folder, ignore_errors=True)
                cleared.append(ID_PREFIX + folder.name.rpartition("-")[2])
    return tuple(cleared)


def _end(folder: Path) -> None:
    end_unwritten(folder)
    try:
        said = json.loads((folder / "vm.json").read_bytes())
        pid, began = int(said["pid"]), str(said["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    if pid > 1 and began and started(pid) == began:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def end_unwritten(folder: Path) -> None:
    """End what was started here and nobody knows the process of: its output goes to a file of this folder."""
    log = folder.resolve() / LOG
    until = time.monotonic() + DIES_WITHIN_S
    # Twice: what died between our list and our look may have made one more, after the list.
    found_none = 0
    while found_none < 2 and time.monotonic() < until:
        if _ended_writers(log):
            found_none = 0
            time.sleep(LOOK_EVERY_S)
        else:
            found_none += 1


def _ended_writers(log: Path) -> int:
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "fd" / "2").readlink() == log:
                os.kill(int(process.name), signal.SIGKILL)
                count += 1
    return count


def stop(name: str) -> bool:
    """End the virtual machine of this name, whoever owns it; False where there is none. Its owner tidies up."""
    folder = cache_folder("running") / Path(name).name
    if not (folder / "vm.json").exists():
        return False
    _end(folder)
    return True
