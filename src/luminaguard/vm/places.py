"""Where the hypervisor layer keeps what can be made again, and what runs now."""

import os
from pathlib import Path

from luminaguard.model.faults import HostFault


def cache_folder(*parts: str) -> Path:
    """Give a folder of ours in the user's cache, made for nobody but them.

    Raises:
        HostFault: it cannot be made.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 Path's raises without a home
    folder = Path(base, "luminaguard", "vm", *parts)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise HostFault(
            f"cannot make {folder}: {exc.strerror}", hint="set XDG_CACHE_HOME to a writable folder"
        ) from exc
    return folder
