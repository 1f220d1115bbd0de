"""What programs of ours need to see behind the walls: their Python, and packages."""

import importlib.util
from pathlib import Path

from luminaguard.host import python as host_python
from luminaguard.sandboxes.base import Mount

PACKAGES_AT = Path("/run/luminaguard/lib")


def installation() -> tuple[Mount, ...]:
    """Show the Python that is not the system's, which the walls show anyway."""
    return tuple(Mount(source=folder, at=folder) for folder in host_python.installation())


def package(name: str) -> Mount | None:
    """Show an installed package, without importing it; None where it is not installed."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return None
    source = Path(spec.origin)
    if source.name == "__init__.py":
        source = source.parent
    return Mount(source=source, at=PACKAGES_AT / source.name)
