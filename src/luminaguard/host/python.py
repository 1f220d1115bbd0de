"""The Python that programs of ours run on behind walls, and where it lies."""

import sys
from pathlib import Path


def interpreter() -> Path:
    """Give the base interpreter.

    Not sys.executable: the virtual environment that we are installed in need not be on PATH, and then walls hide it.
    What runs on it needs the standard library, and what is mounted for it.
    """
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    return base if base.exists() else Path(sys.executable).resolve()


def installation() -> tuple[Path, ...]:
    """Give the folder that must be shown for it; none for the system's Python, which walls show anyway."""
    base = Path(sys.base_prefix)
    return () if base.is_relative_to("/usr") else (base,)
