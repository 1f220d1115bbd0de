"""The server: sockets that only we open, and how `gh` is pointed at them."""

import os
import shlex
import socket
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from luminaguard.forges.face.site import Site
from luminaguard.forges.face.tokens import Tokens
from luminaguard.model.faults import HostFault, UserFault

HOST = "luminaguard.localhost"
"""The name under which `gh` knows us; it is never looked up, because `gh` goes through the socket."""

LONGEST_SOCKET = 100
AT_ONCE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A host and a port to listen on; port 0 is any."""

    host: str
    port: int


def unix_socket(path: Path) -> socket.socket:
    """Open a Unix socket that only its owner reaches; what a killed server left is replaced.

    Raises:
        UserFault: the path is too long, somebody listens there, or something else lies there.
        HostFault: the folder cannot be written.
    """
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        raise UserFault(f"{path} is too long for a socket", hint="name a shorter one: --socket /tmp/forge.sock")
    _clear(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        listener.bind(str(path))
    except OSError as exc:
        listener.close()
        raise HostFault(f"cannot listen on {path}: {exc.strerror}", hint="name another with --socket PATH") from exc
    finally:
        os.umask(before)
    return listener


def _clear(path: Path) -> None:
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise UserFault(f"{path} is there and is no socket", hint="name another with --socket PATH")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise UserFault(f"somebody listens on {path} already", hint="stop that server, or name another with --socket PATH")


def tcp_socket(address: Address) -> socket.socket:
    """Open a TCP socket.

    Raises:
        UserFault: there is no such address here, or it is taken.
    """
    try:
        family, kind, _, _, place = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
    except OSError as exc:
        what = f"cannot listen on {address.host}:{address.port}: {exc.strerror}"
        raise UserFault(what, hint="name another with --listen HOST:PORT") from exc
    return listener


async def serve(app: ASGIApp, sockets: Sequence[socket.socket], *, started: Callable[[], None]) -> None:
    """Serve until a signal comes; `started` is called when connections are taken."""

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started()

    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=AT_ONCE,
        timeout_graceful_shutdown=5,
    )
    try:
        await Server(config).serve(sockets=list(sockets))
    finally:
        for listener in sockets:
            _close(listener)


def _close(listener: socket.socket) -> None:
    if listener.fileno() < 0:
        return
    name = listener.getsockname() if listener.family == socket.AF_UNIX else ""
    listener.close()
    if name:
        Path(name).unlink(missing_ok=True)


def write_gh_environment(site: Site, tokens: Tokens, *, socket_path: Path, folder: Path) -> Path:
    """Write what points `gh` at us: its settings, and a file for a shell to read. Returns that file.

    The token itself is not written into it: the shell reads it from where it lies.
    """
    settings = folder / "gh"
    settings.mkdir(parents=True, exist_ok=True, mode=0o700)
    (settings / "config.yml").write_text(f'version: "1"\nprompt: disabled\nhttp_unix_socket: {socket_path}\n', "utf-8")
    tokens.full(login=site.owner)
    lines = {
        "GH_CONFIG_DIR": shlex.quote(str(settings)),
        "GH_HOST": HOST,
        "GH_ENTERPRISE_TOKEN": f'"$(cat {shlex.quote(str(tokens.full_path))})"',
        "GH_REPO": f"{HOST}/{site.owner}/{site.name}",
        "GH_NO_UPDATE_NOTIFIER": "1",
    }
    path = folder / "env"
    path.write_text("".join(f"export {name}={value}\n" for name, value in lines.items()), "utf-8")
    return path
