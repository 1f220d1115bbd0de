"""The gateway's own process: `python -I -m luminaguard.gateway.serve`, the configuration as a line on standard input.

Standard input stays open as long as somebody holds this gateway: when it is closed, the gateway goes on while it is
called, for agents outlive the orchestrator, and ends `IDLE_S` after the last call. Told to end (TERM) it lets go of its
socket and lock at once, so that a successor can take over, and finishes the calls under way; told twice it cuts them.
"""

import argparse
import asyncio
import contextlib
import ctypes
import functools
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.abc

from luminaguard.gateway.accounts import Accounts
from luminaguard.gateway.base import GatewayConfig
from luminaguard.gateway.book import Book
from luminaguard.gateway.configuration import from_json
from luminaguard.gateway.conversation import Conversation, GoneError, RefusedError, Request, Room
from luminaguard.gateway.counting import prices_with
from luminaguard.gateway.forge_road import ForgeRoad, is_for_forge
from luminaguard.gateway.forward import Forwarder, RefusalError
from luminaguard.gateway.inside import PREFIX, Inside
from luminaguard.gateway.keys import spellings, without_keys
from luminaguard.gateway.link import GONE, Link
from luminaguard.gateway.transcripts import Transcripts
from luminaguard.gateway.tunnel import Tunnels
from luminaguard.gateway.wires import error_body
from luminaguard.host.locks import try_lock
from luminaguard.model.faults import Fault, HostFault

LOG = logging.getLogger(__name__)
IDLE_S = 600.0
DRAIN_S = 120.0
LOCK_ASKED_S, LOCK_FORCED_S = 10.0, 5.0
CONNECTIONS = 2000
LONGEST_CONFIG = 4 * 1024 * 1024
PR_SET_DUMPABLE = 4
READY = b"ready\n"
JSON = (b"content-type", b"application/json")


class Server:
    """All that is behind the socket."""

    def __init__(self, config: GatewayConfig, book: Book, accounts: Accounts) -> None:
        keys = spellings(provider.key for provider in config.providers)
        transcripts = Transcripts(folder=config.transcripts, keys=keys) if config.transcripts else None
        self._models = Forwarder(config.providers, book=book, accounts=accounts, transcripts=transcripts)
        self._tunnels = Tunnels(config.hosts, book)
        self._inside = Inside(book)
        self._forge = ForgeRoad(config.forge, book) if config.forge else None
        self._room = Room()
        self._waiting: set[anyio.CancelScope] = set()
        self.connections = 0
        self.is_told = anyio.Event()
        self.is_cut = anyio.Event()
        self.is_draining = False
        self.busy = 0
        self.last_busy = time.monotonic()

    async def close(self) -> None:
        """Close the connections to the providers."""
        await self._models.close()

    def drain(self) -> None:
        """Take no further request, on no connection."""
        self.is_draining = True
        for scope in self._waiting:
            scope.cancel()

    async def drained(self) -> None:
        """Wait until no call is under way, or all are to be cut."""
        while self.busy and not self.is_cut.is_set():
            with anyio.move_on_after(0.05):
                await self.is_cut.wait()

    def take(self, link: Link, group: anyio.abc.TaskGroup) -> None:
        """Take a connection, unless there are too many."""
        if self.connections >= CONNECTIONS or self.is_draining:
            return link.abort()
        self.connections += 1
        group.start_soon(self.converse, link)
        return None

    async def converse(self, link: Link) -> None:
        """Serve one connection to its end."""
        talk = Conversation(link, self._room)
        try:
            await self._converse(talk)
        except (GoneError, *GONE):
            pass
        except Exception:  # what one caller brings about must not end the calls of all others
            LOG.exception("A connection ended by a bug of ours.")
        finally:
            self.connections -= 1
            talk.forget()
            link.close()

    async def _converse(self, talk: Conversation) -> None:
        try:
            while not self.is_draining and (request := await self._next(talk)) is not None:
                with self._at_work():
                    await self._serve(talk, request)
                if not talk.next():
                    return
        except RefusedError as exc:
            await _last_words(talk, exc.status, exc.message)
        except Fault as exc:
            LOG.error("A call could not be served: %s", exc.message)  # noqa: TRY400 a fault says it all
            await _last_words(talk, 500, "the gateway cannot write to its ledger")

    async def _next(self, talk: Conversation) -> Request | None:
        with anyio.CancelScope() as scope:
            self._waiting.add(scope)
            try:
                return await talk.request()
            finally:
                self._waiting.discard(scope)
        return None

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1
            self.last_busy = time.monotonic()

    async def _serve(self, talk: Conversation, request: Request) -> None:
        if self._forge is not None and is_for_forge(request):
            return await self._forge.serve(talk, request)
        if request.method == "CONNECT" or not request.target.startswith("/"):
            return await self._tunnels.serve(talk, request)
        if request.path.startswith(PREFIX):
            try:
                holder = self._models.holder_of(request)
            except RefusalError:
                holder = None
            return await self._inside.serve(talk, request, holder)
        return await self._models.serve(talk, request)


async def _last_words(talk: Conversation, status: int, message: str) -> None:
    if talk.may_answer:
        await talk.answer(status, [JSON, (b"connection", b"close")], error_body(None, status, message))


async def serve(config: GatewayConfig, *, idle_s: float) -> None:
    """Serve until told to end, or until nobody has needed us for `idle_s`.

    Raises:
        HostFault: the socket or the ledger cannot be had.
    """
    lock = await _taken_over(config.ledger.with_suffix(".held"))
    book = Book(config.ledger)
    accounts = Accounts(book, prices_with(config.prices))
    server = Server(config, book, accounts)
    try:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with anyio.create_task_group() as group, anyio.create_task_group() as besides:
                listener = await _listening(config.socket, lambda link: server.take(link, group))
                besides.start_soon(accounts.write_progress)
                besides.start_soon(_until_idle, server, idle_s)
                besides.start_soon(_until_told, server, signals)
                _say_ready()
                await server.is_told.wait()
                listener.close()
                server.drain()
                # From here on a successor may listen.
                config.socket.unlink(missing_ok=True)
                os.close(lock)
                with anyio.move_on_after(DRAIN_S):
                    await server.drained()
                besides.cancel_scope.cancel()
                group.cancel_scope.cancel()
    finally:
        with anyio.move_on_after(2.0, shield=True):
            await server.close()
        book.close()


async def _taken_over(path: Path) -> int:
    """Take the lock of the ledger's gateway; whoever has it is asked to let go, then made to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for number, within_s in ((signal.SIGTERM, LOCK_ASKED_S), (signal.SIGKILL, LOCK_FORCED_S)):
        until = time.monotonic() + within_s
        asked = False
        while time.monotonic() < until:
            if (lock := try_lock(path)) is not None:
                os.ftruncate(lock, 0)
                os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
                return lock
            asked = asked or _signal_holder(path, number)
            await anyio.sleep(0.01)
    raise HostFault(f"another gateway holds {path} and does not end", hint="end it: its process id is in the file")


def _signal_holder(path: Path, number: int) -> bool:
    said = path.read_text(encoding="ascii", errors="replace").strip()
    if not said.isdigit():
        return False  # it has just taken the lock: the next look finds its number
    try:
        if Path("/proc/self").exists() and b"luminaguard" not in (Path("/proc") / said / "cmdline").read_bytes():
            return False
        os.kill(int(said), number)
    except (FileNotFoundError, ProcessLookupError):  # it has ended, or ends at this very moment
        return False
    return True


async def _listening(path: Path, take: Callable[[Link], None]) -> asyncio.AbstractServer:
    """Listen; renamed into its place, so that there is never a moment without a socket."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        server = await asyncio.get_running_loop().create_unix_server(lambda: Link(take), new, backlog=1000)
        new.chmod(0o600)
        new.rename(path)
    except OSError as exc:
        raise HostFault(f"cannot listen on {path}: {exc.strerror or exc}", hint="is its folder ours?") from exc
    return server


async def _until_told(server: Server, signals: AsyncIterator[signal.Signals]) -> None:
    """Stop taking connections at the first signal, and cut the calls under way at the second."""
    async for _ in signals:
        if server.is_told.is_set():
            server.is_cut.set()
        server.is_told.set()


async def _until_idle(server: Server, idle_s: float) -> None:
    """End the gateway when nobody holds its standard input and nobody has called for a while."""
    while True:
        await anyio.wait_readable(0)
        if not os.read(0, 4096):
            break
    left_s = idle_s
    while left_s > 0:
        await anyio.sleep(min(left_s, 5.0))
        left_s = idle_s if server.busy else server.last_busy + idle_s - time.monotonic()
    LOG.info("Ending: nobody has called for %.0f s.", idle_s)
    server.is_told.set()


def _say_ready() -> None:
    with contextlib.suppress(OSError):
        os.write(1, READY)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


class _WithoutKeys(logging.Formatter):
    """Lines of the log, whatever they come from, without keys."""

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._keys = keys

    def format(self, record: logging.LogRecord) -> str:
        """Give the line, tracebacks included."""
        return without_keys(super().format(record).encode(errors="replace"), self._keys).decode(errors="replace")


def _log_without(keys: tuple[bytes, ...]) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_WithoutKeys(keys))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("luminaguard").setLevel(logging.INFO)


def _shut_in() -> None:
    """Keep what is in our memory to ourselves: no core file, and no process of this user may look in."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _read_line(fd: int) -> bytes:
    """Read one line, unbuffered: what is read lies nowhere but in what is returned."""
    parts = bytearray()
    while not parts.endswith(b"\n") and len(parts) < LONGEST_CONFIG:
        chunk = os.read(fd, 65536)
        if not chunk:
            break
        parts += chunk
    return bytes(parts)


def main() -> int:
    """Run the gateway; 0 when it ended as it should, 3 where it could not serve."""
    parser = argparse.ArgumentParser(prog="python -m luminaguard.gateway.serve")
    parser.add_argument("--idle-s", type=float, default=IDLE_S)
    arguments = parser.parse_args()
    os.chdir("/")
    _shut_in()
    # httpcore 1.0 imports sniffio anew at each call; where it is not installed, that looked through all folders each
    # time and was a seventh of what a call cost. None: known not to be there.
    sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]
    config = from_json(_read_line(0))
    _log_without(spellings(provider.key for provider in config.providers))
    try:
        anyio.run(functools.partial(serve, config, idle_s=arguments.idle_s))
    except Fault as exc:
        LOG.error("%s (%s)", exc.message, exc.hint)  # noqa: TRY400 a fault says it all
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
