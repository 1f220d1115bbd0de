"""Removing what an agent wrote: any depth, any mode, never through a link."""

import itertools
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from luminaguard.model.faults import HostFault

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it; nothing where it is not there.

    Raises:
        HostFault: something in it belongs to somebody else.
    """
    try:
        parent = os.open(folder.parent, DIRECTORY)
    except FileNotFoundError:
        return
    try:
        _remove(parent, folder.name)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise HostFault(f"cannot remove {folder}: {exc.strerror}", hint="remove it by hand") from exc
    finally:
        os.close(parent)


def _remove(parent: int, name: str) -> None:
    # Not shutil.rmtree: it recurses, and an agent can nest folders deeper than Python's stack. Deeper folders are
    # moved up beside the first, so that neither the stack nor the open files grow.
    if not _unlinked(parent, name):
        return
    _make_ours(parent, name)
    top = os.open(name, DIRECTORY, dir_fd=parent)
    # Names that the agent cannot have taken beforehand.
    names = (f".gone-{secrets.token_hex(8)}-{number}" for number in itertools.count())
    try:
        while entries := os.listdir(top):  # noqa: PTH208 pathlib takes no descriptor
            for entry in entries:
                if not _unlinked(top, entry):
                    continue
                _make_ours(top, entry)
                inner = os.open(entry, DIRECTORY, dir_fd=top)
                try:
                    _lift(inner, top, names)
                finally:
                    os.close(inner)
                os.rmdir(entry, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _lift(inner: int, top: int, names: Iterator[str]) -> None:
    for entry in os.listdir(inner):
        if _unlinked(inner, entry):
            _make_ours(inner, entry)  # its own mode decides whether a folder may be moved to another parent
            os.rename(entry, next(names), src_dir_fd=inner, dst_dir_fd=top)


def _unlinked(parent: int, name: str) -> bool:
    """Unlink what is no folder; True where it is one and is still there."""
    if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
        return True
    os.unlink(name, dir_fd=parent)
    return False


def _make_ours(parent: int, name: str) -> None:
    # An agent may have left folders that not even their owner may enter. Nobody else writes here now, so that what
    # was seen to be a folder is still one.
    if stat.S_IMODE(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode) & 0o700 != 0o700:
        os.chmod(name, 0o700, dir_fd=parent)
