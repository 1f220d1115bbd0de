"""The command line that opens the door to the gateway and then runs a program, and what must be seen inside for it."""

import sys
from collections.abc import Sequence
from pathlib import Path

from luminaguard.host.python import installation, interpreter
from luminaguard.sandboxes import door
from luminaguard.sandboxes.base import GATEWAY_PORT, Mount

DOOR_AT = Path("/run/luminaguard/door.py")
SOCKETS_AT = Path("/run/luminaguard/gateway")


def inside_door(argv: Sequence[str], gateway: Path) -> tuple[str, ...]:
    """Give the command line for behind walls that have a loopback of their own."""
    assert GATEWAY_PORT == door.USUAL_PORT
    return (*_python(interpreter(), DOOR_AT), str(SOCKETS_AT / gateway.name), str(GATEWAY_PORT), *argv)


def door_mounts(gateway: Path) -> tuple[Mount, ...]:
    """Give what that command line needs to see: the folder of the socket, in which one made anew is found again."""
    return (
        *(Mount(source=folder, at=folder) for folder in installation()),
        Mount(source=Path(door.__file__), at=DOOR_AT),
        Mount(source=gateway.parent, at=SOCKETS_AT),
    )


def open_door(argv: Sequence[str], gateway: Path) -> tuple[str, ...]:
    """Give the command line for where there are no walls: the door takes any free port, and tells the program."""
    return (*_python(Path(sys.executable), Path(door.__file__)), str(gateway), "0", *argv)


def _python(interpreter: Path, script: Path) -> tuple[str, ...]:
    return (str(interpreter), "-I", "-S", str(script))
