"""A guest that answers, whatever hypervisor runs it: everything of `VmInstance` that goes through the agent."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import ByteStream, SocketAttribute

from luminaguard.model.faults import HostFault, Transient, UserFault
from luminaguard.vm.base import Forward, Result
from luminaguard.vm.frames import Frame, Say, Told, exec_payload, listen_payload, mount_payload, words
from luminaguard.vm.link import Link, Running
from luminaguard.vm.mux import Mux, muxed
from luminaguard.vm.trees import HostileTree, Unpacker, records_of

OUTPUT_BYTES = 256 << 20
COMPLAINT_BYTES = 1000
COPY_WITHIN_S = 3600.0
GREETING_WITHIN_S = 30.0
MS_RDONLY = 1
AGENT_ITSELF = "/proc/self/exe"
WARM_WITHIN_S = 30.0
WATCH_S = 0.2
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}


class Guest:
    """Programs and files of one guest, over its link."""

    def __init__(self, link: Link, *, environment: Mapping[str, str]) -> None:
        """Take an open link, and the environment of every program."""
        self.link = link
        self._environment = {**ENVIRONMENT, **environment}
        self._mux: Mux | None = None

    @contextlib.asynccontextmanager
    async def start(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str = "/"
    ) -> AsyncIterator[Running]:
        """Run a program and follow it; it is killed when the block is left.

        Raises:
            UserFault: the command line cannot be given to a program.
            HostFault: the guest is gone.
        """
        payload = exec_payload(argv, {**self._environment, **(env or {})}, cwd)
        running = self.link.start(Say.EXEC, payload)
        try:
            yield running
        finally:
            running.abandon()

    async def exec(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        timeout_s: float = 60.0,
    ) -> Result:
        """Run a program to its end.

        Raises:
            UserFault: the command line cannot be given, or it writes more than 256 MiB.
            HostFault: the guest is gone.
            Transient: it was still running at the deadline; it has been killed.
        """
        async with self.start(argv, env=env, cwd=cwd) as running:
            try:
                with anyio.fail_after(timeout_s):
                    running.give_all(stdin)
                    return await _followed(running)
            except TimeoutError:
                raise Transient(
                    f"'{' '.join(argv)[:80]}' was still running in the guest after {timeout_s:g} s"
                ) from None

    async def put(self, source: Path, target: str) -> None:
        """Copy a file or a tree into the guest.

        Raises:
            UserFault: it cannot be read here, or not be written there.
            HostFault: the guest is gone.
        """
        records = records_of(source)
        running = self.link.start(Say.PUT, words(_absolute(target)))
        try:
            with anyio.fail_after(COPY_WITHIN_S):
                while (block := await anyio.to_thread.run_sync(_next_block, records)) and running.exit_code is None:
                    await running.write(block)
                await running.close_input()
                result = await _followed(running)
        except TimeoutError:
            raise Transient(f"{source} was not in the guest after {COPY_WITHIN_S:g} s") from None
        finally:
            running.abandon()
        _expect(result, f"{source} cannot be put into the guest")

    async def get(self, source: str, target: Path) -> None:
        """Copy a file or a tree out of the guest.

        Raises:
            UserFault: it cannot be read there, or the target is there already.
            HostFault: the guest is gone, sends what is no tree, or it cannot be written here.
        """
        unpacker = Unpacker(target)
        running = self.link.start(Say.GET, words(_absolute(source)))
        try:
            with anyio.fail_after(COPY_WITHIN_S):
                complaint = await _unpacked(running, unpacker)
            _expect(Result(exit_code=running.exit_code or 0, out=b"", err=complaint), f"{source} cannot be got")
            await anyio.to_thread.run_sync(unpacker.finish)
        except HostileTree as exc:
            raise HostFault(f"the guest sent {exc} in place of {source}", hint="do not trust this guest") from None
        except TimeoutError:
            raise Transient(f"{source} was not here after {COPY_WITHIN_S:g} s") from None
        finally:
            running.abandon()
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(unpacker.close)

    async def enter_root(self, device: str, filesystem: str) -> None:
        """Make a block device the root, with a writable layer in memory over it."""
        await self._done(Say.ROOT, words(device, filesystem), f"the root image cannot be mounted as {filesystem}")

    async def mount(self, device: str, target: str, filesystem: str, *, writable: bool) -> None:
        """Mount a block device."""
        flags = 0 if writable else MS_RDONLY
        payload = mount_payload(device, _absolute(target), filesystem=filesystem, flags=flags)
        await self._done(Say.MOUNT, payload, f"{device} cannot be mounted at {target} as {filesystem}")

    async def listen(self, token: bytes, ports: Sequence[int]) -> None:
        """Let these ports of its loopback, and no others, lead to the second channel.

        It opens with the token there, each time: what was said before on that channel concerns nobody any more.

        Raises:
            UserFault: a program in the guest has one of the ports.
            HostFault: it has no second channel, or is gone.
        """
        answer = await self.link.ask(Say.LISTEN, listen_payload(token, ports))
        if answer.number == errno.EADDRINUSE:
            raise UserFault(f"a program in the guest has one of the ports {list(ports)}", hint="forward another port")
        if answer.number:
            raise HostFault(f"the guest cannot listen on the ports {list(ports)} (errno {answer.number})")

    async def forward(self, forwards: Sequence[Forward], connect: Callable[[], Awaitable[socket.socket]]) -> None:
        """Let ports of its loopback lead to sockets here; `connect` calls it for the second channel once it listens."""
        mux = self._mux = Mux(self.link.end)
        await self.listen(mux.open(forwards), [forward.port for forward in forwards])
        await muxed(await connect(), mux)

    async def freeze(self, *, is_frozen: bool) -> None:
        """Stop all programs, or let them go on."""
        await self._done(Say.FREEZE, bytes([is_frozen]), "the guest's programs cannot be stopped")

    async def refresh(self) -> None:
        """Give it the right time and entropy of its own."""
        await self.refreshed(self.link.refresh())

    async def refreshed(self, future: "asyncio.Future[Frame[Told]]") -> None:
        """Wait for the answer to a refresh that was said ahead."""
        answer = await self.link.answer(future)
        if answer.number:
            raise HostFault(f"the guest did not take time and entropy (errno {answer.number})")

    async def warm(self) -> None:
        """Make a process once. The agent's own program, so that nothing of the user's runs.

        An emulator translates code when it first runs: the next process takes a tenth of the time.
        """
        await self.exec([AGENT_ITSELF], timeout_s=WARM_WITHIN_S)

    async def watch(self) -> None:
        """Let the agent wait for our next word without sleeping: a guest frozen so is awake when it is restored.

        Programs are not served until that word. Some time passes in it: what the kernel put off while nothing ran is
        done then once, and not in each clone.
        """
        await self._done(Say.WATCH, b"", "the agent cannot stay awake")
        await anyio.sleep(WATCH_S)

    async def aclose(self) -> None:
        """Close the link, and cut what goes through forwards."""
        if self._mux is not None:
            self._mux.close()
        self.link.end(HostFault("the guest was stopped"))

    async def _done(self, what: Say, payload: bytes, problem: str) -> None:
        answer = await self.link.ask(what, payload)
        if answer.number:
            raise UserFault(f"{problem} in the guest (errno {answer.number})", hint="is it of that kind?")


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise UserFault(f"'{path}' is not an absolute path in the guest", hint="begin it with '/'")
    return path


def _next_block(records: Iterator[bytes]) -> bytes:
    return next(records, b"")


async def _followed(running: Running) -> Result:
    out, err = bytearray(), bytearray()
    async for chunk in running:
        (out if chunk.stream == "out" else err).extend(chunk.data)
        if len(out) + len(err) > OUTPUT_BYTES:
            raise UserFault("a program in the guest writes more than 256 MiB", hint="let it write to a file")
    assert running.exit_code is not None
    return Result(exit_code=running.exit_code, out=bytes(out), err=bytes(err))


async def _unpacked(running: Running, unpacker: Unpacker) -> bytes:
    complaint = bytearray()
    await running.close_input()
    async for chunk in running:
        if chunk.stream == "err":
            complaint += chunk.data[: COMPLAINT_BYTES - len(complaint)]
        else:
            await anyio.to_thread.run_sync(unpacker.feed, chunk.data)
    return bytes(complaint)


def _expect(result: Result, problem: str) -> None:
    if result.exit_code:
        why = result.err.decode(errors="replace").strip()[:300] or f"exit code {result.exit_code}"
        raise UserFault(f"{problem}: {why}", hint="look at the path in the guest")


async def attach(stream: ByteStream, environment: Mapping[str, str]) -> Guest:
    """Take over a stream whose other end is a guest agent, and wait for its greeting.

    Raises:
        Transient: the agent did not greet.
        HostFault: the guest is gone, or its agent is not ours.
    """
    sock = stream.extra(SocketAttribute.raw_socket).dup()  # noqa: S610 anyio's, not Django's
    await stream.aclose()
    guest = await linked(sock, environment)
    await guest.link.greeted(within_s=GREETING_WITHIN_S)
    return guest


async def linked(
    sock: socket.socket, environment: Mapping[str, str], why_gone: Callable[[], str] = lambda: ""
) -> Guest:
    """Make a guest of a connected socket, without waiting."""
    sock.setblocking(False)  # noqa: FBT003 the standard library takes it by position
    _, link = await asyncio.get_running_loop().create_connection(lambda: Link(why_gone), sock=sock)
    return Guest(link, environment=environment)
