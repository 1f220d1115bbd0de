"""The gateway as the orchestrator holds it: a process of its own, started, waited for, started again when it dies.

An orchestrator that is killed leaves it running, for the agents that outlive it; the next one replaces it.
"""

import contextlib
import hashlib
import logging
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from luminaguard.gateway.base import GatewayConfig
from luminaguard.gateway.configuration import to_json
from luminaguard.model.faults import HostFault

LOG = logging.getLogger(__name__)
ARGV = (sys.executable, "-I", "-m", "luminaguard.gateway.serve")
PASSED = (
    *("LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
"""What the process sees of our environment: never a key."""
READY_WITHIN_S = 60.0
END_WITHIN_S = 3.0
AGAIN_S = (0.05, 0.2, 1.0, 5.0)
LOOK_EVERY_S = 0.1
LOG_BYTES = 4 * 1024 * 1024


@dataclass(slots=True, kw_only=True)
class Running:
    """A gateway that answers. `restarts` counts how often it had to be started again."""

    socket: Path
    log: Path
    pid: int = 0
    restarts: int = 0
    is_kept: bool = False

    def keep(self) -> None:
        """Leave it running at the end of the block: agents go on that outlive us."""
        self.is_kept = True


class _Child:
    """The process as ours. No event loop's subprocess: those kill what they leave behind."""

    def __init__(self, log: int) -> None:
        theirs, self.control = os.pipe2(os.O_CLOEXEC)
        self.words, told = os.pipe2(os.O_CLOEXEC)
        env = {name: os.environ[name] for name in PASSED if name in os.environ}
        actions = [(os.POSIX_SPAWN_DUP2, theirs, 0), (os.POSIX_SPAWN_DUP2, told, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        try:
            self.pid = os.posix_spawn(ARGV[0], ARGV, env, file_actions=actions, setsid=True)
        except OSError:
            self.close()
            raise
        finally:
            os.close(theirs)
            os.close(told)
        self._exit_code: int | None = None

    async def introduce(self, config: bytes) -> bool:
        """Give the configuration; True when it says that it listens, False when it has closed."""
        with contextlib.suppress(BrokenPipeError):
            await anyio.to_thread.run_sync(_write_all, self.control, config)
        await anyio.wait_readable(self.words)
        return bool(os.read(self.words, 64))

    async def wait(self) -> int:
        """Wait for its end."""
        pidfd = _open_pid(self.pid)
        try:
            while not self._has_ended():
                await (anyio.sleep(LOOK_EVERY_S) if pidfd is None else anyio.wait_readable(pidfd))
        finally:
            if pidfd is not None:
                os.close(pidfd)
        assert self._exit_code is not None
        return self._exit_code

    def _has_ended(self) -> bool:
        if self._exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._exit_code = os.waitstatus_to_exitcode(status) if pid else None
        return self._exit_code is not None

    def signal(self, number: int) -> None:
        """Send a signal, if it has not ended."""
        if not self._has_ended():
            os.kill(self.pid, number)

    def close(self) -> None:
        """Let go of it: it sees that nobody holds it any more."""
        os.close(self.control)
        os.close(self.words)


def _write_all(fd: int, text: bytes) -> None:
    while text:
        text = text[os.write(fd, text) :]


def _open_pid(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):  # gone already, or not Linux
        return None


def socket_path_for(state: Path, *, name: str = "gateway") -> Path:
    """Give a short path for a socket of a state folder, in a private folder of its own that is made.

    The path of a socket may be some 100 bytes long; state folders may lie deeper. The folder holds nothing else, so
    that the gateway's can be shown inside a sandbox: there a socket that is made anew is found again.

    Raises:
        HostFault: the folder is not ours alone.
    """
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent")
    home = Path(f"/tmp/luminaguard-{os.getuid()}")  # noqa: S108 private, and checked to be
    # What `su` or a container leaves in the variable may be somebody else's folder, or none.
    if runtime.is_dir() and runtime.stat().st_uid == os.getuid():
        home = runtime / "luminaguard"
    whose = hashlib.sha256(os.fsencode(state.resolve())).hexdigest()[:16]
    place = home / (whose if name == "gateway" else f"{whose}-{name}")
    for folder in (home, place):
        _make_private(folder)
    return place / f"{name}.sock"


def _make_private(folder: Path) -> None:
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
    except OSError as exc:
        raise HostFault(f"cannot make the folder {folder}: {exc.strerror}", hint="set XDG_RUNTIME_DIR") from exc
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise HostFault(f"the folder {folder} is not yours alone", hint="remove it, or set XDG_RUNTIME_DIR")


@asynccontextmanager
async def gateway(config: GatewayConfig) -> AsyncIterator[Running]:
    """Hold a gateway for the block: one that an earlier session left is replaced, one that dies is started again.

    At the end of the block it is ended. Where the block is left by an error or a cancellation, or `keep` was called, it
    is left to the agents that are still at work, and ends when none has called for ten minutes.

    Raises:
        HostFault: it does not start.
    """
    running = Running(socket=config.socket, log=config.ledger.with_name("gateway.log"))
    held = [await _started(config, running)]
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_supervise, config, running, held)
            yield running
            group.cancel_scope.cancel()
    except BaseExceptionGroup as exc:
        running.keep()
        # The supervision raises nothing: it is what the block raised, and is to be caught as that.
        raise exc.exceptions[0] from exc.exceptions[0].__cause__
    except BaseException:
        running.keep()
        raise
    finally:
        for child in held:
            await _let_go(child, is_kept=running.is_kept)


async def _supervise(config: GatewayConfig, running: Running, held: list[_Child]) -> None:
    """Start the process again whenever it dies."""
    while True:
        code = await held[0].wait()
        LOG.warning("The gateway ended with exit code %d and is started again.", code)
        held.pop().close()
        running.restarts += 1
        held.append(await _restarted(config, running))


async def _restarted(config: GatewayConfig, running: Running) -> _Child:
    tries = 0
    while True:
        await anyio.sleep(AGAIN_S[min(tries, len(AGAIN_S) - 1)])
        tries += 1
        with contextlib.suppress(HostFault):
            return await _started(config, running)


async def _started(config: GatewayConfig, running: Running) -> _Child:
    """Start the process, give it the configuration, and wait until it listens."""
    try:
        config.ledger.parent.mkdir(parents=True, exist_ok=True)
        log = _open_log(running.log)
        try:
            child = _Child(log)
        finally:
            os.close(log)
    except OSError as exc:
        raise HostFault(f"the gateway cannot be started: {exc.strerror}", hint=f"look at {running.log.parent}") from exc
    is_ready = False
    try:
        with anyio.move_on_after(READY_WITHIN_S):
            is_ready = await child.introduce(to_json(config))
    finally:
        if not is_ready:
            child.signal(signal.SIGKILL)
            with anyio.move_on_after(END_WITHIN_S, shield=True):
                await child.wait()
            child.close()
    if not is_ready:
        raise HostFault(f"the gateway does not start: {_last_line(running.log)}", hint=f"see {running.log}")
    running.pid = child.pid
    return child


def _open_log(path: Path) -> int:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    if os.fstat(fd).st_size > LOG_BYTES:
        os.ftruncate(fd, 0)
    return fd


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it says nothing"


async def _let_go(child: _Child, *, is_kept: bool) -> None:
    """End the process, or leave it to the agents."""
    with anyio.CancelScope(shield=True):
        for number in () if is_kept else (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            child.signal(number)
            with anyio.move_on_after(END_WITHIN_S) as waited:
                await child.wait()
            if not waited.cancelled_caught:
                break
    child.close()
