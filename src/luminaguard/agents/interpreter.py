"""The Python that programs of ours run on behind the walls, and how they are shown there."""

import importlib.util
import sys
from pathlib import Path

from luminaguard.sandboxes.base import Mount

PACKAGES_AT = Path("/run/luminaguard/lib")


def interpreter() -> Path:
    """Give the base interpreter."""
    # Not sys.executable: the virtual environment that we are installed in need not be on PATH, and then the walls hide
    # it. The programs need the standard library, and what is mounted for them.
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    return base if base.exists() else Path(sys.executable).resolve()


def installation() -> tuple[Mount, ...]:
    """Show the Python that is not the system's, which the walls show anyway."""
    base = Path(sys.base_prefix)
    return () if base.is_relative_to("/usr") else (Mount(source=base, at=base),)


def package(name: str) -> Mount | None:
    """Show an installed package, without importing it; None where it is not installed."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return None
    source = Path(spec.origin)
    if source.name == "__init__.py":
        source = source.parent
    return Mount(source=source, at=PACKAGES_AT / source.name)
