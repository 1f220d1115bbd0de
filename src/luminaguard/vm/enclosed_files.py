"""The files behind a guest of the level `vm`: images of folders, and the disk that a workspace's changes lie on.

The host makes them and never reads one again: what a guest wrote to its disk is looked at by the next guest alone.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import struct
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from luminaguard.host.locks import try_lock
from luminaguard.host.process import run_blocking
from luminaguard.model.faults import HostFault, Transient

CAPACITY = 64 << 30
"""All of these files are so large, and mostly holes: then any may stand in another's place in a restored guest."""
LEAST_DISK_BYTES = 64 << 20
OVERHEAD_BYTES = 64 << 20
IMAGE = ("mkfs.erofs", "--quiet", "--preserve-mtime", "-x-1", "-U6c756d69-6e61-4775-a172-646d61676532")
TRIES = 4
KEPT = 8
UNUSED_S = 600.0
MAKE_WITHIN_S = 1800.0
FREE_WITHIN_S = 10.0
LOOK_EVERY_S = 0.01
SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin")
DISK, BEGUN, LOCK = "disk.ext4", "begun", "lock"


def missing() -> str | None:
    """Say which program is not there that these files are made with, or None."""
    for name, package in (("mkfs.erofs", "erofs-utils"), ("mke2fs", "e2fsprogs"), ("tune2fs", "e2fsprogs")):
        if _program(name) is None:
            return f"there is no program {name}: install {package}"
    return None


def _program(name: str) -> str | None:
    # Users other than root do not have them on their PATH.
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(SBIN))


def empty_disk(keep: Path) -> Path:
    """Give a disk with nothing on it, for a place that a guest has no use for."""
    keep.mkdir(parents=True, exist_ok=True)
    path = keep / "empty"
    if not path.exists():
        with _new(path) as made:
            made.touch()
            os.truncate(made, CAPACITY)
    return path


def image_of(folder: Path, *, keep: Path, uid: str, is_fixed: bool) -> Path:
    """Give an image of a folder as it is now, owned by a user of the guest.

    Args:
        folder: what to show.
        keep: where the images lie; those that were not asked for lately go.
        uid: the owner of everything in it.
        is_fixed: the folder is never changed, so that nobody needs to look.

    Raises:
        HostFault: the disk is short, or something cannot be read.
        Transient: the folder does not stand still.
    """
    keep.mkdir(parents=True, exist_ok=True)
    complaint: str | None = None
    for _ in range(TRIES):
        target = keep / f"{_stamp(folder, is_fixed=is_fixed)}.erofs"
        with contextlib.suppress(FileNotFoundError):
            os.utime(target)
            return target
        _prune(keep)
        complaint = _make_image(folder, target, uid)
        if complaint is None:
            return target
    if not shutil.disk_usage(keep).free:
        raise HostFault(f"{folder} cannot be shown in a guest: the disk of {keep} is full", hint="make room")
    raise Transient(f"{folder} cannot be shown in a guest: {complaint}", hint="does another program change it?")


def _make_image(folder: Path, target: Path, uid: str) -> str | None:
    with _new(target) as made:
        argv = (*IMAGE, f"--force-uid={uid}", f"--force-gid={uid}", str(made), str(folder))
        ran = run_blocking(argv, timeout_s=MAKE_WITHIN_S)
        if ran.exit_code != 0:
            return ran.err.decode(errors="replace").strip()[-300:] or f"exit code {ran.exit_code}"
        if made.stat().st_size > CAPACITY:
            raise HostFault(f"{folder} has more than {CAPACITY >> 30} GiB", hint="a guest cannot be shown so much")
        os.truncate(made, CAPACITY)
    return None


@contextlib.contextmanager
def _new(target: Path) -> Iterator[Path]:
    """Give a name to make a file under; it gets its own name when the block ends well and the file is there."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-") as scratch:
        made = Path(scratch) / "made"
        yield made
        if made.exists() and made.stat().st_size == CAPACITY:
            made.replace(target)


def _stamp(folder: Path, *, is_fixed: bool) -> str:
    top = folder.stat()
    said = hashlib.sha256(f"{folder} {top.st_dev} {top.st_ino} {top.st_mtime_ns} {is_fixed}".encode())
    for line in () if is_fixed else _listing(str(folder)):
        said.update(line.encode(errors="surrogateescape"))
    return said.hexdigest()[:32]


def _listing(folder: str) -> Iterator[str]:
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        with contextlib.suppress(FileNotFoundError), os.scandir(here) as entries:
            for entry in sorted(entries, key=lambda it: it.name):
                with contextlib.suppress(FileNotFoundError):
                    seen = entry.stat(follow_symlinks=False)
                    yield f"{entry.path}\0{seen.st_mode} {seen.st_size} {seen.st_mtime_ns} {seen.st_ino}\n"
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)


def _prune(keep: Path) -> None:
    """Remove images that nobody asked for lately. A guest that still has one keeps it: it is open."""
    found: list[tuple[float, Path]] = []
    for left in keep.glob(".new-*"):  # its maker was killed
        with contextlib.suppress(FileNotFoundError):
            if left.stat().st_mtime < time.time() - 2 * MAKE_WITHIN_S:
                shutil.rmtree(left)
    for path in keep.glob("*.erofs"):
        with contextlib.suppress(FileNotFoundError):
            found.append((path.stat().st_mtime, path))
    for used, path in sorted(found)[:-KEPT]:
        if used < time.time() - UNUSED_S:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def disk_in(work: Path, *, disk_bytes: int) -> Iterator[tuple[Path, bool]]:
    """Give the disk of a workspace, and whether work on it has begun; nobody else has it while the block lasts.

    A disk on which nothing has begun is a new one: what an owner who was killed had half prepared is gone.

    Raises:
        HostFault: somebody else has it, or it cannot be made.
    """
    lock = _held(work / LOCK)
    try:
        disk, has_begun = work / DISK, (work / BEGUN).exists()
        if has_begun:
            _wait_until_free(disk)
        else:
            disk.unlink(missing_ok=True)
            _make_disk(disk, disk_bytes)
        yield disk, has_begun
    finally:
        os.close(lock)


def begin(work: Path) -> None:
    """Say that from now on the disk holds what must not be lost."""
    (work / BEGUN).touch()


def _held(path: Path) -> int:
    until = time.monotonic() + FREE_WITHIN_S
    while (lock := try_lock(path)) is None:
        if time.monotonic() > until:
            raise HostFault(f"another guest works on {path.parent}", hint="wait until it has ended")
        time.sleep(LOOK_EVERY_S)
    return lock


def _wait_until_free(disk: Path) -> None:
    """Wait for the end of a hypervisor whose owner was killed a moment ago: it holds locks on what it writes to."""
    # struct flock of 64-bit Linux: type, whence, start, length, process. Only asked, never held.
    ask = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    fd = os.open(disk, os.O_RDWR | os.O_CLOEXEC)
    until = time.monotonic() + FREE_WITHIN_S
    try:
        while _kind(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, ask)) != fcntl.F_UNLCK:
            if time.monotonic() > until:
                raise HostFault(f"another guest writes to {disk}", hint="wait until it has ended")
            time.sleep(LOOK_EVERY_S)
    finally:
        os.close(fd)


def _kind(lock: bytes) -> int:
    kind: int = struct.unpack_from("h", lock)[0]
    return kind


def _make_disk(path: Path, disk_bytes: int) -> None:
    size = max(disk_bytes, LEAST_DISK_BYTES) + OVERHEAD_BYTES
    if size > CAPACITY:
        raise HostFault(
            f"a guest's disk has at most {CAPACITY >> 30} GiB", hint="lower [limits] disk_mib, or use another level"
        )
    # Data goes to the disk with the next commit of the journal, one a second: whoever kills us loses no more.
    _run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-J", "size=16", str(path), str(size >> 10) + "k")
    _run("tune2fs", "-o", "nodelalloc", "-E", "mount_opts=commit=1", str(path))
    os.truncate(path, CAPACITY)


def _run(name: str, *words: str) -> None:
    argv: Sequence[str] = (_program(name) or name, *words)
    ran = run_blocking(argv, timeout_s=MAKE_WITHIN_S)
    if ran.exit_code != 0:
        said = ran.err.decode(errors="replace").strip().splitlines()
        raise HostFault(f"{name} failed: {said[-1] if said else ran.exit_code}", hint="is the disk full?")
