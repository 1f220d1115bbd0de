"""Where the hypervisor layer keeps what can be made again, and what runs now."""

import os
import stat
from pathlib import Path

from luminaguard.model.faults import HostFault

HINT = "set XDG_CACHE_HOME to a folder of your own"


def cache_folder(*parts: str) -> Path:
    """Give a folder of ours in the user's cache, made for nobody but them.

    Whoever can write there chooses the kernel, the agent and the memory that guests begin with. So what another user
    made is not taken, and what a group may write is taken from it.

    Raises:
        HostFault: it cannot be made, or is another user's.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 Path's raises without a home
    folder = Path(base)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("luminaguard", "vm", *parts):
            folder /= name
            _make_ours(folder)
    except OSError as exc:
        raise HostFault(f"cannot make {folder}: {exc.strerror}", hint=HINT) from exc
    return folder


def _make_ours(folder: Path) -> None:
    folder.mkdir(exist_ok=True, mode=0o700)
    found = folder.stat()
    if found.st_uid != os.geteuid() or folder.lstat().st_uid != os.geteuid():
        raise HostFault(f"{folder} belongs to another user (number {found.st_uid})", hint=HINT)
    if stat.S_IMODE(found.st_mode) & 0o022:
        folder.chmod(stat.S_IMODE(found.st_mode) & ~0o022)
