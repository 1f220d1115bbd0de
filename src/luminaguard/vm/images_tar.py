"""Unpacking a tarball that a stranger may have made: nothing is written or read outside of the folder it goes into."""

import contextlib
import lzma
import math
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from luminaguard.model.faults import UserFault

MOST_MEMBERS = 2_000_000
MOST_HEADER_BYTES = 1 << 20
MOST_PATH_BYTES = 3000
MOST_NAME_BYTES = 255
MOST_TIME_S = 1 << 32
BROKEN = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError, OverflowError, RecursionError)
"""What the standard library raises at a tarball that is broken on purpose, besides OSError without a number."""
HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
"""Members that say something about the next one. The standard library reads each into memory as a whole."""


class _Member(tarfile.TarInfo):
    """A member whose header fits into memory."""

    __slots__ = ()

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Member":
        found = super().frombuf(buf, encoding, errors)
        if found.size < 0 or (found.type in HEADERS and found.size > MOST_HEADER_BYTES):
            raise tarfile.ReadError(f"a header of {found.size} bytes")
        if found.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("a sparse file; make it with `tar -cf` without -S")
        return found


def _members(tarball: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Give the members one by one; none is remembered."""
    with _whole(tarball), tarfile.open(tarball, tarinfo=_Member) as tar:
        count = 0
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # or many members fill the memory
            count += 1
            if count > MOST_MEMBERS:
                raise UserFault(f"{tarball} has more than {MOST_MEMBERS} members", hint="is it a root file system?")
            if member.size < 0 or any(key.startswith("GNU.sparse") for key in member.pax_headers):
                raise tarfile.ReadError("a sparse file, or one of a size that cannot be")
            yield tar, member


@contextlib.contextmanager
def _whole(tarball: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as exc:
        if exc.filename != str(tarball):
            raise
        raise UserFault(f"there is no tarball {tarball}") from None
    except OSError as exc:
        if exc.errno is not None:
            raise
        raise _broken(tarball, exc) from exc  # gzip and bz2 say so that their bytes are wrong
    except BROKEN as exc:
        raise _broken(tarball, exc) from exc


def _broken(tarball: Path, exc: Exception) -> UserFault:
    return UserFault(f"{tarball} is not a whole tarball: {str(exc)[:200]}", hint="make it with `tar -cf`")


def size_of(tarball: Path) -> int:
    """Tell how many bytes the tarball's files have, unpacked.

    Raises:
        UserFault: it is not there, or not a tarball.
    """
    return sum(member.size for _, member in _members(tarball))


def unpack(tarball: Path, *, into: Path) -> None:
    """Unpack into an empty folder that only we can enter, keeping modes and times.

    Raises:
        UserFault: a member has an absolute path, `..` in it, goes through a link, links to a file that the tarball
            does not hold, or is a device or a pipe; names the member.
    """
    unpacking = _Unpacking(tarball=tarball, into=into)
    for tar, member in _members(tarball):
        with _whole(tarball):
            unpacking.take(tar, member)
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
            if not member.linkname or "\0" in member.linkname or _bytes(member.linkname) > MOST_PATH_BYTES:
                raise self._refused(member, "is a symbolic link to nothing that can be")
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
        if any(_bytes(part) > MOST_NAME_BYTES for part in parts) or _bytes(name) > MOST_PATH_BYTES:
            raise self._refused(member, "has a name that is too long")
        return "/".join(parts)

    def _refused(self, member: tarfile.TarInfo, why: str) -> UserFault:
        return UserFault(
            f"{self.tarball}: the member '{member.name[:200]}' {why}",
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
    # A float, "nan" and "inf" among them, where the tarball says so.
    seconds = member.mtime if math.isfinite(member.mtime) else 0
    time_ns = int(max(0, min(seconds, MOST_TIME_S)) * 1_000_000_000)
    return (time_ns, time_ns)


def _bytes(text: str) -> int:
    return len(os.fsencode(text))
