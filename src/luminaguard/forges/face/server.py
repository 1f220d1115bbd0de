"""The server: sockets that only we open, and how `gh` is pointed at them."""

import asyncio
import contextlib
import logging
import os
import shlex
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from luminaguard.forges.face.front import Front
from luminaguard.forges.face.site import Site
from luminaguard.forges.face.tokens import Tokens
from luminaguard.model.faults import HostFault, UserFault

HOST = "luminaguard.localhost"
"""The name under which `gh` knows us; it is never looked up, because `gh` goes through the socket."""

LONGEST_SOCKET = 100
CONNECTIONS = 512
SILENT_S = 20.0
"""Seconds that a caller may be connected and ask nothing."""

END_S, END_BESIDE_S, CUT_S = 5, 1, 10.0
"""Seconds that requests under way get at the end; and once they are cut off, to end their programs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A host and a port to listen on; port 0 is any."""

    host: str
    port: int


def unix_socket(path: Path) -> socket.socket:
    """Listen on a Unix socket that only its owner reaches; what a killed server left is replaced.

    Raises:
        UserFault: the path is too long, somebody listens there, or something else lies there.
        HostFault: the folder cannot be written.
    """
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        raise UserFault(f"{path} is too long for a socket", hint="name a shorter one: --socket /tmp/forge.sock")
    _clear(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        listener.bind(str(path))
        path.chmod(0o600)  # before it listens, so nobody else was ever let in; a umask would be that of all threads
        listener.listen()  # at once: one that does not listen yet looks to the next server as if it was left
    except OSError as exc:
        listener.close()
        raise HostFault(f"cannot listen on {path}: {exc.strerror}", hint="name another with --socket PATH") from exc
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
    """Listen on a TCP socket.

    Raises:
        UserFault: there is no such address here, or it is taken.
    """
    try:
        family, kind, _, _, place = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        return _bound(socket.socket(family, kind), place)
    except (OSError, UnicodeError, OverflowError) as exc:  # a name may be one that no name can be
        what = f"cannot listen on {address.host}:{address.port}: {getattr(exc, 'strerror', None) or exc}"
        raise UserFault(what, hint="name another with --listen HOST:PORT") from exc


def _bound(listener: socket.socket, place: tuple[str | int | bytes, ...]) -> socket.socket:
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen()  # at once: an address is taken from then on, not from the bind
    except BaseException:
        listener.close()
        raise
    return listener


async def serve(app: ASGIApp, sockets: Sequence[socket.socket], *, started: Callable[[], None]) -> None:
    """Serve until a signal comes; `started` is called when connections are taken."""
    await _Server(_config(app, end_s=END_S), started).serve(sockets=list(sockets))


@asynccontextmanager
async def served_beside(app: ASGIApp, listener: socket.socket) -> AsyncIterator[None]:
    """Serve while the block lasts; signals are its own to hear."""
    ready = anyio.Event()
    server = _QuietServer(_config(app, end_s=END_BESIDE_S), ready.set)

    async def run() -> None:
        # Told to end, not cancelled: what it has begun it ends, within its time.
        with anyio.CancelScope(shield=True):
            await server.serve(sockets=[listener])

    with opened(listener):
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(run)
                try:
                    await ready.wait()
                    yield
                finally:
                    server.should_exit = True
        except BaseExceptionGroup as exc:
            # The server raises nothing once it serves: it is what the block raised, and is to be caught as that.
            raise exc.exceptions[0] from exc.exceptions[0].__cause__


class _Server(uvicorn.Server):
    """Says when it takes connections."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        # A second Ctrl-C leaves what is under way as it is; and what was cut off has programs of its own to end.
        tasks = tuple(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CUT_S)


class _QuietServer(_Server):
    """Leaves the signals of the process alone."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return contextlib.nullcontext()


class _Connection(H11Protocol):
    """One of so many: where there are too many, those that ask nothing make room."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if len(self.connections) >= CONNECTIONS and not self._made_room():
            self.transport = transport
            transport.abort()
            return
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(SILENT_S, self.timeout_keep_alive_handler)

    def _made_room(self) -> bool:
        idle = [one for one in self.connections if isinstance(one, H11Protocol) and _is_idle(one)]
        for one in idle:
            one.transport.close()
        return bool(idle)


def _is_idle(one: H11Protocol) -> bool:
    return getattr(one.cycle, "response_complete", True)  # before the first request there is no cycle


def _config(app: ASGIApp, *, end_s: int) -> uvicorn.Config:
    return uvicorn.Config(
        Front(app),
        http=_Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        # It complains of callers that talk nonsense, and of what it cuts off itself; a bug of ours is told by `Front`.
        log_level=logging.CRITICAL,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=end_s,
    )


@contextmanager
def opened(listener: socket.socket) -> Iterator[socket.socket]:
    """Close it in the end, whoever closed it before; a Unix socket's file goes with it."""
    name = listener.getsockname() if listener.family == socket.AF_UNIX else ""
    try:
        yield listener
    finally:
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
