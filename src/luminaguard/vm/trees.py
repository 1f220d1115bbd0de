"""Trees of files as a stream of records, out of a guest that may be hostile, and into it.

`guest/trees.h` is the other side.

A record: u8 kind, u32 mode, i64 mtime in nanoseconds, u64 size, u32 length of the path, the path, `size` bytes.
"""

import os
import shutil
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
SPARE_BYTES = 1 << 30
"""What a tree leaves free on this machine's disk, whatever its guest says."""
DEPTH = 256
"""Folders within folders. What is deeper cannot be removed by most programs, ours among them."""
ENTRY_BYTES = 4096
"""What an entry takes besides its content, about."""
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
        UserFault: something in it cannot be read, or lies too deep.
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
    if path.count(b"/") >= DEPTH:
        raise UserFault(f"{os.fsdecode(here)[:80]}… is deeper than {DEPTH} folders", hint="pack it into a file first")
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

    Nothing lands outside: a path is relative, it lies in the folder that was begun last and has not ended, and
    everything is created, never opened. Set-user and set-group bits are dropped. What is not whole is removed at the
    end. What it remembers does not grow with the tree.
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
        self._room = shutil.disk_usage(target.parent).free - SPARE_BYTES
        self._bytes = bytearray()
        self._open: list[bytes] = []
        self._file = -1
        self._left = 0
        self._now: Record | None = None
        self._count = 0
        self._total = 0
        self._is_whole = False
        self._is_ours = False
        self._is_done = False

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
        if self._is_whole or self._count > ENTRIES:
            raise HostileTree("a tree that does not end")
        if record.kind == END:
            if self._count == 1 or self._open:
                raise HostileTree("the end of a tree in the midst of it")
            self._is_whole = True
            del self._bytes[: HEAD.size]
            return
        here = self._inside(record)
        self._make_room(record)
        begin = HEAD.size + len(record.path)
        link = bytes(self._bytes[begin : begin + record.size]) if record.kind == LINK else b""
        del self._bytes[: begin + len(link)]
        self._make(record, here, link)

    def _make_room(self, record: Record) -> None:
        self._total += record.size + ENTRY_BYTES
        if self._total > TREE_BYTES:
            raise HostileTree("a tree of more than 64 GiB")
        if self._total > self._room:
            raise HostFault(
                f"what the guest sends does not fit: there is room for {max(self._room, 0) >> 20} MiB",
                hint=f"make room beside {os.fsdecode(self._target)}, or get less",
            )

    def _make(self, record: Record, here: bytes, link: bytes) -> None:
        try:
            if record.kind == DIR_BEGINS:
                os.mkdir(here, 0o700)  # noqa: PTH102 bytes
                self._open.append(record.path)
            elif record.kind == DIR_ENDS:
                self._open.pop()
                os.utime(here, ns=(record.mtime_ns, record.mtime_ns))
                os.chmod(here, record.mode & 0o777)  # noqa: PTH101 bytes
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
            raise HostileTree(f"the path {record.path[:80]!r} twice") from None
        self._is_ours = True

    def _close(self) -> None:
        assert self._now is not None
        os.fchmod(self._file, self._now.mode & 0o777)
        os.utime(self._file, ns=(self._now.mtime_ns, self._now.mtime_ns))
        os.close(self._file)
        self._file = -1

    def _inside(self, record: Record) -> bytes:
        path = record.path
        if record.kind == DIR_ENDS:
            if path != (self._open[-1] if self._open else None):
                raise HostileTree(f"the end of a folder that is not the last: {path[:80]!r}")
        elif not path or not self._open:
            if path or self._count > 1:
                raise HostileTree(f"the path {path[:80]!r} at the wrong place")
        else:
            folder, _, name = path.rpartition(b"/")
            if b"\0" in name or name in {b"", b".", b".."} or folder != self._open[-1] or len(self._open) > DEPTH:
                raise HostileTree(f"the path {path[:80]!r}")
        return self._target + b"/" + path if path else self._target

    def finish(self) -> None:
        """Say that no more comes.

        Raises:
            HostileTree: the stream is not whole.
        """
        if not self._is_whole or self._bytes:
            raise HostileTree("a tree that is not whole")
        self._is_done = True

    def close(self) -> None:
        """Let go of the open file, if any, and remove a tree that is not whole."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._is_ours and not self._is_done:
            _remove(self._target)


def _remove(path: bytes) -> None:
    with suppress(OSError):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            _open_up(path)
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)  # noqa: PTH108 bytes


def _open_up(top: bytes) -> None:
    """Let us into folders that the guest wanted closed."""
    os.chmod(top, 0o700)  # noqa: PTH101 bytes
    for folder, names, _ in os.walk(top):
        for name in names:
            if not os.path.islink(os.path.join(folder, name)):  # noqa: PTH114, PTH118 bytes
                os.chmod(os.path.join(folder, name), 0o700)  # noqa: PTH101, PTH118 bytes


def _check(kind: int, mode: int, mtime_ns: int, size: int, length: int) -> None:
    if kind not in b"dDflz" or mode > 0o7777 or length >= PATH_BYTES or not 0 <= mtime_ns < 1 << 62:
        raise HostileTree("not a record of a tree")
    if kind == LINK and not 0 < size < PATH_BYTES:
        raise HostileTree("a symlink of a wrong size")
    if kind not in {LINK, FILE} and size:
        raise HostileTree("a folder with bytes")
