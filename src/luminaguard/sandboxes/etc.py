"""The /etc that a program inside sees: one folder of ours with copies, in place of a mount for each file.

Every mount costs bwrap a reading of all mounts before it, so that many are dear at each start. Links stay links, and
only what everybody on this machine may read is copied. The folder is never changed once it has its name: programs that
still run stand on it. Its name tells what it was made from, so a later process finds it again.
"""

import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from luminaguard.host.inside import CERTIFICATES, COPIED
from luminaguard.model.faults import HostFault
from luminaguard.sandboxes.toolchain import STORES, SYSTEM

ETC = Path("/etc")
UNUSED_S = 7 * 24 * 3600
"""A folder that no process took up for so long has no program left that stands on it."""
FORMAT = "1"


class EtcFolder:
    """Keeps such folders in `parent`, with `written` in them besides the copies; `etc` is where the copies are from."""

    def __init__(self, parent: Path, *, written: Mapping[str, str], etc: Path = ETC) -> None:
        self._parent = parent
        self._written = written
        self._etc = etc
        self._made: Path | None = None
        self._stamp: tuple[tuple[str, int], ...] = ()

    def current(self) -> Path:
        """Give a folder that is like /etc is now; a file deep in a folder that is edited in place is seen next time.

        Raises:
            HostFault: it cannot be read or written.
        """
        try:
            if self._made is None or self._stamp != _stamp([name for name, _ in self._stamp]):
                sources = list(_sources(self._etc))
                self._stamp = _stamp([str(self._etc), *map(str, sources)])
                self._made = self._make(sources)
        except OSError as exc:
            raise HostFault(f"cannot copy what is shown of {self._etc}: {exc}", hint="is the disk full?") from exc
        return self._made

    def _make(self, sources: list[Path]) -> Path:
        folder = self._parent / f"etc-{_fingerprint(sources, self._written)}"
        if folder.is_dir():
            os.utime(folder)
            return folder
        self._parent.mkdir(parents=True, exist_ok=True)
        self._prune()
        temporary = Path(tempfile.mkdtemp(dir=self._parent, prefix="new-etc-"))
        try:
            self._fill(temporary, sources)
            _rename(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return folder

    def _fill(self, folder: Path, sources: list[Path]) -> None:
        folder.chmod(0o755)
        for name in CERTIFICATES:
            (folder / name).mkdir(parents=True)
        for source in sources:
            to = folder / source.relative_to(self._etc)
            to.parent.mkdir(parents=True, exist_ok=True)
            _copy(source if _stays_link(source) else source.resolve(), to)
        for name, text in self._written.items():
            (folder / name).write_text(text, encoding="utf-8")
            (folder / name).chmod(0o644)
        (folder / "mtab").symlink_to("/proc/mounts")

    def _prune(self) -> None:
        for old in self._parent.glob("*etc-*"):
            if old.stat().st_mtime < time.time() - UNUSED_S:
                shutil.rmtree(old, ignore_errors=True)


def mounted_flags() -> Iterator[str]:
    """Give the flags that mount the certificates over the copied /etc.

    They are mounted where they lie: they are many, and whom to trust is to be told as it is now.
    """
    for name in CERTIFICATES:
        if (ETC / name).is_dir() and os.access(ETC / name, os.R_OK | os.X_OK):
            yield from ("--ro-bind", str(ETC / name), str(ETC / name))


def _sources(etc: Path) -> Iterator[Path]:
    for pattern in COPIED:
        yield from (found for found in sorted(etc.glob(pattern)) if found.exists())


def _stamp(paths: list[str]) -> tuple[tuple[str, int], ...]:
    return tuple((path, os.stat(path).st_mtime_ns if os.path.exists(path) else 0) for path in paths)  # noqa: PTH110, PTH116 at each start


def _stays_link(source: Path) -> bool:
    return not source.is_symlink() or any(source.resolve().is_relative_to(root) for root in (*SYSTEM, *STORES))


def _copy(source: Path, to: Path) -> None:
    mode = source.lstat().st_mode
    if stat.S_ISLNK(mode):
        to.symlink_to(os.readlink(source))  # noqa: PTH115 as it is spelled
    elif stat.S_ISDIR(mode) and mode & 0o005 == 0o005:
        to.mkdir()
        to.chmod(0o755)
        for entry in source.iterdir():
            _copy(entry, to / entry.name)
    elif stat.S_ISREG(mode) and mode & 0o004:
        shutil.copyfile(source, to)
        to.chmod(mode & 0o755)


def _fingerprint(sources: list[Path], written: Mapping[str, str]) -> str:
    # The boot is in it because nothing here is synced: after a power cut a file may be empty.
    boot = Path("/proc/sys/kernel/random/boot_id")
    said = hashlib.sha256(repr((FORMAT, boot.read_text(encoding="ascii"), sorted(written.items()))).encode())
    for source in sources:
        for path in (source, *sorted(source.rglob("*"))):
            seen = path.lstat()
            to = os.readlink(path) if stat.S_ISLNK(seen.st_mode) else ""  # noqa: PTH115 as it is spelled
            said.update(repr((str(path), seen.st_mode, seen.st_size, seen.st_mtime_ns, to)).encode())
    return said.hexdigest()[:16]


def _rename(old: Path, new: Path) -> None:
    try:
        old.rename(new)
    except OSError:  # another process made the same
        if not new.is_dir():
            raise
