"""Files of a backlog as text: bounded, regular, UTF-8, and never read through a link that leads out of the backlog."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from luminaguard.model.faults import UserFault
from luminaguard.model.ids import natural
from luminaguard.model.issue import Notice, Origin

MAX_BYTES = 8 * 1024 * 1024
"""The largest file that is read. A backlog of 10,000 issues in one file has about 6 MiB."""

MAX_FILES = 50_000
"""The most files that one folder may bring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The files of a folder in reading order, and what was left out."""

    files: tuple[Path, ...]
    notices: tuple[Notice, ...] = ()


def broken(path: str | Path, line: int, what: str, *, hint: str) -> UserFault:
    """Give the error of a file that cannot be read as it stands: file, line, what is wrong, way out."""
    return UserFault(f"{path}:{line}: {what}", hint=hint)


def read_text(path: Path) -> str:
    """Read a whole file as text, line ends and byte order mark kept.

    Raises:
        UserFault: it is not there, not a regular file, too large, not UTF-8, or holds NUL.
    """
    return decode(_read_bytes(path), path=str(path))


def decode(content: bytes, *, path: str) -> str:
    """Turn the bytes of `path` into text; the error names the line of the first byte that is wrong."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        what = f"byte 0x{content[exc.start]:02x} is not UTF-8"
        raise broken(path, line, what, hint="save the file as UTF-8") from exc
    nul = text.find("\0")
    if nul >= 0:
        line = text.count("\n", 0, nul) + 1
        raise broken(path, line, "holds a NUL character", hint="it looks like a binary file: name another, or mend it")
    return text


def markdown_files(folder: Path, *, deep: bool) -> Listing:
    """List the *.md files of a folder in the order in which people count; `deep` goes into subfolders without a dot."""
    files: list[Path] = []
    notices: list[Notice] = []
    root = folder.resolve()
    for path in _found(folder, deep=deep):
        if path.resolve().is_relative_to(root):
            files.append(path)
            continue
        origin = Origin(path=str(path))
        notices.append(Notice(text=f"{path} is a link that leads out of {folder}: not read", origin=origin))
    return Listing(files=tuple(files), notices=tuple(notices))


def head(path: Path, count: int = 4096) -> str:
    """Read the first bytes of a regular file as text, as well as they can be read; "" where there are none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return ""
    with open(descriptor, "rb") as file:  # noqa: PTH123 a descriptor has no Path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        return file.read(count).decode("utf-8", "replace").removeprefix("\ufeff")


def _found(folder: Path, *, deep: bool) -> list[Path]:
    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=_refused):
        folders[:] = [name for name in folders if deep and not name.startswith(".")]
        found += [Path(parent, name) for name in names if name.lower().endswith(".md") and not name.startswith(".")]
        if len(found) > MAX_FILES:
            raise UserFault(
                f"{folder} holds more than {MAX_FILES} Markdown files", hint="name the folder of the issues"
            )
    return sorted(found, key=lambda path: [natural(part) for part in path.relative_to(folder).parts])


def _refused(exc: OSError) -> None:
    raise UserFault(f"{exc.filename} cannot be read: {exc.strerror}", hint="check its permissions") from exc


def _read_bytes(path: Path) -> bytes:
    try:
        # O_NONBLOCK: opening a FIFO that somebody called issue.md must not hang.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise UserFault(f"{path} cannot be read: {why}", hint="check the path and its permissions") from exc
    with open(descriptor, "rb") as file:  # noqa: PTH123 a descriptor has no Path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UserFault(f"{path} is not a regular file", hint="name a file, or take it out of the folder")
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UserFault(f"{path} is larger than {MAX_BYTES // 2**20} MiB", hint="split it, or export only open issues")
    return content
