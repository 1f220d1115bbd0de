"""`luminaguard serve`, without a face: what is needed for it, and the local forge before a project."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol, cast

from luminaguard.app.forge_door import ForgeDoor
from luminaguard.app.project import Project
from luminaguard.model.faults import HostFault, UserFault

NEEDED = ("graphql", "starlette", "uvicorn")
INSTALL = "pip install 'luminaguard[serve]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """Where to listen: a Unix socket (None: the usual one), and TCP where `host` is not ""."""

    socket: Path | None = None
    host: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a person wants to know of a forge that takes connections. `env` is for a shell to read."""

    repository: str
    socket: Path
    url: str
    env: Path
    token: Path


class Face(Protocol):
    """The module that is loaded only when it is needed: few programs need a web server."""

    async def serve_forge(self, project: Project, doors: Doors, started: Callable[[Served], None]) -> None:
        """Serve until a signal comes."""

    def forge_beside(self, project: Project) -> AbstractAsyncContextManager[ForgeDoor]:
        """Serve for agents while the block lasts."""

    def new_token(self, project: Project, issue: str | None) -> str:
        """Make a token that reads everything, and comments on an issue where one is named."""


def missing_packages() -> list[str]:
    """Name what the face needs and is not installed."""
    return [name for name in NEEDED if find_spec(name) is None]


def face() -> Face:
    """Load the face.

    Raises:
        HostFault: the packages that it needs are not installed.
    """
    if missing := missing_packages():
        raise HostFault(f"{', '.join(missing)} not installed", hint=INSTALL)
    return cast("Face", import_module("luminaguard.app.serving_forge"))


@asynccontextmanager
async def forge_for(project: Project) -> AsyncIterator[ForgeDoor | None]:
    """Let agents reach the forge while the block lasts, where [gateway] says so.

    Raises:
        HostFault: the packages that it needs are not installed.
    """
    if not project.settings.gateway.forge:
        yield None
        return
    async with face().forge_beside(project) as door:
        yield door


def doors_of(*, socket: Path | None, listen: str | None, anywhere: bool) -> Doors:
    """Read where to listen.

    Raises:
        UserFault: it is no HOST:PORT, or reaches beyond this machine without a word that says so.
    """
    path = None if socket is None else socket.absolute()
    if listen is None:
        return Doors(socket=path)
    host, colon, port = listen.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise UserFault(f"--listen {listen} is not HOST:PORT", hint="as in --listen 127.0.0.1:4710; port 0 is any")
    if not anywhere and not _is_loopback(host):
        raise UserFault(
            f"{host} can be reached from other machines, and nothing is encrypted",
            hint="listen on 127.0.0.1, or say --anywhere if the network is yours alone",
        )
    return Doors(socket=path, host=host, port=int(port))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
