"""Trees of files as a stream of records, out of a guest that may be hostile, and into it.

`guest/trees.h` is the other side.

A record: u8 kind, u32 mode, i64 mtime in nanoseconds, u64 size, u32 length of the path, the path, `size` bytes.
"""

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from luminaguard.model.faults import HostFault, UserFault

HEAD = struct.Struct("<BIqQI")
PATH_BYTES = 4096
BLOCK_BYTES = 65536
ENTRIES = 2_000_000
TREE_BYTES = 64 << 30
DIR_BEGINS, DIR_ENDS, FILE, LINK, END = b"dDflz"


class HostileTree(ValueError):  # noqa: N818 what it is, not that it is an error
    """The guest sent something that is no tree, or one that would leave its folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The head of one record, checked."""

    kind: int
    mode: int
    mtime_ns: int
    size: int
    path: bytes


def records_of(source: Path) -> Iterator[bytes]:
    """Give the stream of a file or a tree; sockets and devices in it are left out.

    Raises:
        UserFault: something in it cannot be read.
    """
    try:
        yield from _records(os.fsencode(source), b"")
    except OSError as exc:
        raise UserFault(
            f"cannot read {exc.filename!r}: {exc.strerror}", hint="make it readable, or leave it out"
        ) from exc
    yield _head(END, 0, 0, 0, b"")


def _head(kind: int, mode: int, mtime_ns: int, size: int, path: bytes) -> bytes:
    return HEAD.pack(kind, stat.S_IMODE(mode), max(mtime_ns, 0), size, len(path)) + path


def _records(here: bytes, path: bytes) -> Iterator[bytes]:
    found = os.lstat(here)
    about = (found.st_mode, found.st_mtime_ns)
    if stat.S_ISDIR(found.st_mode):
        yield _head(DIR_BEGINS, *about, 0, path)
        for name in sorted(os.listdir(here)):  # noqa: PTH208 bytes: names need not be text
            yield from _records(here + b"/" + name, path + b"/" + name if path else name)
        yield _head(DIR_ENDS, *about, 0, path)
    elif stat.S_ISLNK(found.st_mode):
        target = os.readlink(here)  # noqa: PTH115 bytes
        yield _head(LINK, *about, len(target), path) + target
    elif stat.S_ISREG(found.st_mode):
        yield from _file(here, path)


def _file(here: bytes, path: bytes) -> Iterator[bytes]:
    with open(here, "rb") as file:  # noqa: PTH123 bytes
        found = os.fstat(file.fileno())
        yield _head(FILE, found.st_mode, found.st_mtime_ns, found.st_size, path)
        left = found.st_size
        while left:
            block = file.read(min(left, BLOCK_BYTES))
            if not block:
                raise UserFault(
                    f"{os.fsdecode(here)} shrank while it was read", hint="copy it when nobody writes to it"
                )
            left -= len(block)
            yield block


class Unpacker:
    """Writes a guest's tree to a new path. Feed it, then `finish`; every name is one that it makes itself.

    Nothing lands outside: a path is relative, each folder on it was made by this very stream, and everything is
    created, never opened. Set-user and set-group bits are dropped.
    """

    def __init__(self, target: Path) -> None:
        """Take the path to make.

        Raises:
            UserFault: it is there already, or its folder is not.
        """
        if os.path.lexists(target):
            raise UserFault(f"{target} is there already", hint="name a path that does not exist yet")
        if not target.parent.is_dir():
            raise UserFault(f"the folder {target.parent} is not there", hint="make it first")
        self._target = os.fsencode(target)
        self._bytes = bytearray()
        self._folders: set[bytes] = set()
        self._ended: list[Record] = []
        self._file = -1
        self._left = 0
        self._now: Record | None = None
        self._count = 0
        self._total = 0
        self._is_whole = False

    def feed(self, data: bytes) -> None:
        """Take some of the stream.

        Raises:
            HostileTree: it is none, or wants to leave its folder.
            HostFault: it cannot be written here.
        """
        try:
            self._feed(data)
        except OSError as exc:
            raise HostFault(f"cannot write what the guest sends: {exc.strerror}", hint="is the disk full?") from exc

    def _feed(self, data: bytes) -> None:
        self._bytes += data
        while self._bytes:
            if self._left:
                self._write()
            elif (record := self._next()) is not None:
                self._take(record)
            else:
                return

    def _write(self) -> None:
        block = self._bytes[: self._left]
        done = os.write(self._file, block)
        del self._bytes[:done]
        self._left -= done
        if not self._left:
            self._close()

    def _next(self) -> Record | None:
        if len(self._bytes) < HEAD.size:
            return None
        kind, mode, mtime_ns, size, length = HEAD.unpack_from(self._bytes)
        _check(kind, mode, mtime_ns, size, length)
        whole = HEAD.size + length + (size if kind == LINK else 0)
        if len(self._bytes) < whole:
            return None
        path = bytes(self._bytes[HEAD.size : HEAD.size + length])
        return Record(kind=kind, mode=mode, mtime_ns=mtime_ns, size=size, path=path)

    def _take(self, record: Record) -> None:
        self._count += 1
        self._total += record.size
        if self._is_whole or self._count > ENTRIES or self._total > TREE_BYTES:
            raise HostileTree("a tree that does not end")
        if record.kind == END:
            self._is_whole = bool(self._count > 1)
            del self._bytes[: HEAD.size]
            return
        here = self._inside(record.path, is_first=self._count == 1)
        begin = HEAD.size + len(record.path)
        link = bytes(self._bytes[begin : begin + record.size]) if record.kind == LINK else b""
        del self._bytes[: begin + len(link)]
        self._make(record, here, link)

    def _make(self, record: Record, here: bytes, link: bytes) -> None:
        try:
            if record.kind == DIR_BEGINS:
                os.mkdir(here, 0o700)  # noqa: PTH102 bytes
                self._folders.add(record.path)
            elif record.kind == DIR_ENDS:
                self._end_folder(record)
            elif record.kind == LINK:
                if b"\0" in link:
                    raise HostileTree("a symlink with a zero byte")
                os.symlink(link, here)  # noqa: PTH211 bytes
                with suppress(NotImplementedError):
                    os.utime(here, ns=(record.mtime_ns, record.mtime_ns), follow_symlinks=False)
            else:
                self._file = os.open(here, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                self._now, self._left = record, record.size
                if not self._left:
                    self._close()
        except FileExistsError:
            raise HostileTree(f"the path {record.path!r} twice") from None

    def _end_folder(self, record: Record) -> None:
        if record.path not in self._folders:
            raise HostileTree(f"the end of a folder that did not begin: {record.path!r}")
        self._ended.append(record)

    def _close(self) -> None:
        assert self._now is not None
        os.fchmod(self._file, self._now.mode & 0o777)
        os.utime(self._file, ns=(self._now.mtime_ns, self._now.mtime_ns))
        os.close(self._file)
        self._file = -1

    def _inside(self, path: bytes, *, is_first: bool) -> bytes:
        if is_first != (not path) and not (path == b"" and b"" in self._folders):
            raise HostileTree(f"the path {path!r} at the wrong place")
        if not path:
            return self._target
        parts = path.split(b"/")
        if b"\0" in path or any(part in {b"", b".", b".."} for part in parts):
            raise HostileTree(f"the path {path!r}")
        if b"/".join(parts[:-1]) not in self._folders:
            raise HostileTree(f"the path {path!r} in no folder of the tree")
        return self._target + b"/" + path

    def finish(self) -> None:
        """Set the folders' modes and times.

        Raises:
            HostileTree: the stream is not whole.
        """
        if not self._is_whole or self._bytes:
            raise HostileTree("a tree that is not whole")
        for record in self._ended:
            here = self._target + (b"/" + record.path if record.path else b"")
            os.utime(here, ns=(record.mtime_ns, record.mtime_ns))
            os.chmod(here, record.mode & 0o777)  # noqa: PTH101 bytes

    def close(self) -> None:
        """Let go of the open file, if any."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _check(kind: int, mode: int, mtime_ns: int, size: int, length: int) -> None:
    if kind not in b"dDflz" or mode > 0o7777 or length >= PATH_BYTES or not 0 <= mtime_ns < 1 << 62:
        raise HostileTree("not a record of a tree")
    if kind == LINK and not 0 < size < PATH_BYTES:
        raise HostileTree("a symlink of a wrong size")
    if kind not in {LINK, FILE} and size:
        raise HostileTree("a folder with bytes")
