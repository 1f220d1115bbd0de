"""Unpacking a tarball that a stranger may have made: nothing is written or read outside of the folder it goes into."""

import lzma
import os
import shutil
import tarfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from luminaguard.model.faults import UserFault

MOST_MEMBERS = 2_000_000
BROKEN = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError)


def size_of(tarball: Path) -> int:
    """Tell how many bytes the tarball's files have, unpacked.

    Raises:
        UserFault: it is not there, or not a tarball.
    """
    total = 0
    try:
        with tarfile.open(tarball) as tar:
            for count, member in enumerate(tar):
                if count >= MOST_MEMBERS:
                    raise UserFault(f"{tarball} has more than {MOST_MEMBERS} members", hint="is it a root file system?")
                total += member.size
    except BROKEN as exc:
        raise UserFault(f"{tarball} is not a whole tarball: {exc}", hint="make it with `tar -cf`") from exc
    except FileNotFoundError:
        raise UserFault(f"there is no tarball {tarball}") from None
    return total


def unpack(tarball: Path, *, into: Path) -> None:
    """Unpack into an empty folder that only we can enter, keeping modes and times.

    Raises:
        UserFault: a member has an absolute path, `..` in it, goes through a link, links to a file that the tarball
            does not hold, or is a device or a pipe; names the member.
    """
    unpacking = _Unpacking(tarball=tarball, into=into)
    try:
        with tarfile.open(tarball) as tar:
            for member in tar:
                unpacking.take(tar, member)
    except BROKEN as exc:
        raise UserFault(f"{tarball} is not a whole tarball: {exc}", hint="make it with `tar -cf`") from exc
    unpacking.finish()


@dataclass(slots=True, kw_only=True)
class _Unpacking:
    """What has been written so far, by path: folders with their member, files, and links."""

    tarball: Path
    into: Path
    folders: dict[str, tarfile.TarInfo | None] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)

    def take(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = self._safe(member.name, member)
        if path and not self._is_folder_again(path, member):
            self._parents(path, member)
            self._write(tar, member, path)
        elif not member.isdir():
            raise self._refused(member, "takes the place of a folder")

    def finish(self) -> None:
        """Give the folders their modes and times, the deepest first: a read-only one could not have been filled."""
        for path in sorted(self.folders, reverse=True):
            if member := self.folders[path]:
                _dress(self.into / path, member, least=0o700)
            else:
                os.utime(self.into / path, ns=(0, 0))

    def _is_folder_again(self, path: str, member: tarfile.TarInfo) -> bool:
        if path not in self.folders:
            return False
        if member.isdir():
            self.folders[path] = member
        return True

    def _parents(self, path: str, member: tarfile.TarInfo) -> None:
        parts = path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            parent = "/".join(parts[:depth])
            if parent in self.files or parent in self.links:
                raise self._refused(member, f"goes through '{parent}', which is no folder")
            if parent not in self.folders:
                (self.into / parent).mkdir()
                self.folders[parent] = None

    def _write(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
        at = self.into / path
        if path in self.files or path in self.links:
            if member.isdir():
                raise self._refused(member, "is a folder in the place of a file")
            at.unlink()
            self.files.discard(path)
            self.links.discard(path)
        if member.isdir():
            at.mkdir(mode=0o700)
            self.folders[path] = member
        elif member.issym():
            at.symlink_to(member.linkname)
            os.utime(at, ns=_times(member), follow_symlinks=False)
            self.links.add(path)
        elif member.islnk():
            self._hard_link(member, at)
            self.files.add(path)
        elif member.isreg():
            content = tar.extractfile(member)
            assert content is not None
            _fill(content, at)
            _dress(at, member, least=0o400)
            self.files.add(path)
        else:
            raise self._refused(member, "is a device or a pipe")

    def _hard_link(self, member: tarfile.TarInfo, at: Path) -> None:
        # Only to a file that this tarball wrote: a name could lead out through a symbolic link.
        target = self._safe(member.linkname, member)
        if target not in self.files:
            raise self._refused(member, f"is a hard link to '{member.linkname}', which is no file before it")
        at.hardlink_to(self.into / target)

    def _safe(self, name: str, member: tarfile.TarInfo) -> str:
        if name.startswith("/"):
            raise self._refused(member, f"has the absolute path '{name}'")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts or "\0" in name:
            raise self._refused(member, f"leads out of the folder by '{name}'")
        return "/".join(parts)

    def _refused(self, member: tarfile.TarInfo, why: str) -> UserFault:
        return UserFault(
            f"{self.tarball}: the member '{member.name}' {why}",
            hint="pack it anew with relative paths, as `tar -C FOLDER -cf FILE .` does",
        )


def _fill(content: IO[bytes], at: Path) -> None:
    with content, at.open("xb") as file:
        shutil.copyfileobj(content, file, 1 << 20)


def _dress(at: Path, member: tarfile.TarInfo, *, least: int) -> None:
    # `least`: we must be able to read it afterwards, whoever we are; in the guest root can anyway.
    at.chmod((member.mode & 0o7777) | least)
    os.utime(at, ns=_times(member))


def _times(member: tarfile.TarInfo) -> tuple[int, int]:
    time_ns = max(0, int(member.mtime * 1_000_000_000))
    return (time_ns, time_ns)
