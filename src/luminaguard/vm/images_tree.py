"""What goes into a root image: files of this machine, each at its place in the image, and a name for the whole content.

Owners do not count: in the image everything is root's. Times count for Python's sources alone: the compiled files
beside them are valid for one time of their source, and a guest on a read-only root could not write new ones.
"""

import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from luminaguard.model.faults import UserFault

BLOCK = 4096
COMPILED = "__pycache__"
PER_ENTRY = 128
"""Bytes of an image that an entry needs besides its content and its name: an inode and a line of its folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A folder of this machine and its path in the image, "" for the root; later parts cover earlier ones.

    `is_ours`: we wrote it a moment ago, so its inodes and times say nothing of whether it changed.
    """

    source: Path
    at: str
    is_ours: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file, a folder or a link of the image."""

    path: str
    source: Path
    status: os.stat_result
    target: str = ""
    is_ours: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """All entries by path, and the paths that stay out because they cannot be read or are no files.

    `is_strict`: whatever differs makes another tree. Otherwise Python's compiled files do not, which come and go with
    every program that is run.
    """

    entries: tuple[Entry, ...]
    left_out: tuple[str, ...]
    is_strict: bool

    @property
    def telling(self) -> Iterator[Entry]:
        """The entries that tell this tree from another."""
        return (entry for entry in self.entries if self.is_strict or COMPILED not in entry.path)


def tree_of(parts: Sequence[Part], *, is_strict: bool, without: Collection[str] = ()) -> Tree:
    """Look at all that the parts hold, without reading any content.

    Args:
        parts: what lies where in the image.
        is_strict: refuse what cannot be read or is a device, a pipe or a socket; otherwise it is left out.
        without: paths in the image that stay out, with all below them.

    Raises:
        UserFault: names the first path that is refused.
    """
    found: dict[str, Entry] = {}
    left_out: list[str] = []
    for part in parts:
        for entry in _walk(part, without):
            if entry.path in without:
                left_out.append(entry.path)
                continue
            if reason := _unfit(entry):
                if is_strict:
                    raise UserFault(f"{entry.source} {reason}", hint="leave it out of the image's source")
                left_out.append(entry.path)
            else:
                found[entry.path] = entry
    entries = tuple(found[path] for path in sorted(found))
    return Tree(entries=entries, left_out=tuple(left_out), is_strict=is_strict)


def stamp_of(tree: Tree) -> str:
    """Name the present state of the tree by what the file system says of it; equal stamps mean nothing was touched."""
    digest = hashlib.sha256()
    for entry in tree.telling:
        touched = _touched(entry) if tree.is_strict or not stat.S_ISDIR(entry.status.st_mode) else ""
        line = f"{entry.path}\0{entry.status.st_mode:o}\0{touched}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def key_of(tree: Tree) -> str:
    """Name the content: a hash over the sorted list of paths, modes, sizes, content hashes and link targets."""
    digest = hashlib.sha256()
    known: dict[tuple[int, int], str] = {}
    for entry in tree.telling:
        line = f"{entry.path}\0{entry.status.st_mode:o}\0{_content(entry, known)}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def bytes_of(tree: Tree) -> int:
    """Estimate how large the image will be, a little on the high side."""
    return sum(_bytes(entry) for entry in tree.entries) + 64 * BLOCK


def _bytes(entry: Entry) -> int:
    content = -(-entry.status.st_size // BLOCK) * BLOCK if stat.S_ISREG(entry.status.st_mode) else len(entry.target)
    return content + PER_ENTRY + len(entry.path.rpartition("/")[2])


def _touched(entry: Entry) -> str:
    if entry.is_ours:
        return _content(entry, {})
    at = entry.status
    return f"{at.st_dev} {at.st_ino} {at.st_size} {at.st_mtime_ns} {at.st_ctime_ns} {entry.target}"


def _walk(part: Part, without: Collection[str]) -> Iterator[Entry]:
    top = Entry(path=part.at, source=part.source, status=part.source.lstat(), is_ours=part.is_ours)
    if part.at:
        yield top
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        if folder.path in without or _unfit(folder):
            continue
        for entry in _inside(folder):
            yield entry
            if stat.S_ISDIR(entry.status.st_mode):
                waiting.append(entry)


def _inside(folder: Entry) -> Iterator[Entry]:
    with os.scandir(folder.source) as found:
        for item in found:
            status = item.stat(follow_symlinks=False)
            target = os.readlink(item.path) if item.is_symlink() else ""  # noqa: PTH115 as it is spelled
            path = f"{folder.path}/{item.name}" if folder.path else item.name
            yield Entry(path=path, source=Path(item.path), status=status, target=target, is_ours=folder.is_ours)


def _unfit(entry: Entry) -> str:
    mode = entry.status.st_mode
    if stat.S_ISLNK(mode):
        return ""
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        return "is a device, a pipe or a socket"
    needed = os.R_OK | os.X_OK if stat.S_ISDIR(mode) else os.R_OK
    return "" if os.access(entry.source, needed) else "cannot be read by you"


def _content(entry: Entry, known: dict[tuple[int, int], str]) -> str:
    if not stat.S_ISREG(entry.status.st_mode):
        return entry.target
    time = f" {entry.status.st_mtime_ns}" if entry.path.endswith(".py") else ""
    file = (entry.status.st_dev, entry.status.st_ino)
    if file not in known:
        with entry.source.open("rb") as content:
            known[file] = hashlib.file_digest(content, "sha256").hexdigest()
    return f"{entry.status.st_size} {known[file]}{time}"
