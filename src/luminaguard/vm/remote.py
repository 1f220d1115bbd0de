"""A guest that another process keeps, held as if it were ours."""

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import anyio

from luminaguard.model.faults import Fault, HostFault, Transient, UserFault
from luminaguard.model.ids import Json
from luminaguard.vm.base import Chunk, Result, SpawnedFrom, VmConfig
from luminaguard.vm.config_json import config_of
from luminaguard.vm.control import DATA_BYTES, INPUT_BYTES, Gone, Message, Wire, called, fault_of
from luminaguard.vm.guest_vm import COPY_WITHIN_S, OUTPUT_BYTES
from luminaguard.vm.places import cache_folder
from luminaguard.vm.running import ID_PREFIX, clear_orphans, stop
from luminaguard.vm.tasks import group_of_tasks

ANSWER_WITHIN_S = 30.0
FREEZE_WITHIN_S = 600.0
WINDOW_BYTES = 1 << 20
LOOK_EVERY_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a keeper says about its guest. `keeper`: its process; `until`: when the deadline comes, since the epoch."""

    id: str
    pid: int
    keeper: int
    driver: str
    socket_path: Path
    spawn_time_ms: float
    spawned_from: SpawnedFrom
    until: float
    config: VmConfig


def about_of(words: Mapping[str, Json]) -> About:
    """Read a keeper's words about its guest.

    Raises:
        HostFault: they are none.
    """
    try:
        return About(
            id=str(words["id"]),
            pid=int(cast("int", words["pid"])),
            keeper=int(cast("int", words["keeper"])),
            driver=str(words["driver"]),
            socket_path=Path(str(words["socket_path"])),
            spawn_time_ms=float(cast("float", words["spawn_time_ms"])),
            spawned_from=cast("SpawnedFrom", words["spawned_from"]),
            until=float(cast("float", words["until"])),
            config=config_of(words["config"]),
        )
    except (KeyError, TypeError, ValueError, UserFault) as exc:
        raise HostFault(
            f"the keeper of a guest is of another version of luminaguard: {exc}", hint="stop it, spawn anew"
        ) from exc


class RemoteExecution:
    """A program in a guest that another process keeps. What it writes waits here, at most a window of it."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._chunks: deque[Chunk] = deque()
        self._waiting_bytes = 0
        self._input = bytearray()
        self._room = INPUT_BYTES
        self._ends = False
        self._changed = anyio.Event()
        self._fault: Fault | None = None
        self.exit_code: int | None = None
        """None while it runs; negative for a signal."""

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        """Give output as it comes, until the program has ended and all of it is out."""
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                self._waiting_bytes -= len(chunk.data)
                self._wake()
                yield chunk
            if self.exit_code is not None:
                return
            await self._change()

    async def write(self, data: bytes) -> None:
        """Write to its standard input; what a program that has ended would have read is dropped."""
        self._input += data
        await self._push()
        while self._input and self.exit_code is None:
            await self._change()

    async def give_all(self, data: bytes) -> None:
        """Write to its standard input and end it, without waiting for it to read."""
        self._input += data
        self._ends = True
        await self._push()

    async def close_input(self) -> None:
        """End its standard input."""
        await self._say("close")

    async def signal(self, number: int) -> None:
        """Send a signal to it and all that it started."""
        await self._say("signal", {"number": number})

    async def _say(self, what: str, words: Mapping[str, Json] | None = None, *, data: bytes = b"") -> None:
        if self.exit_code is None:
            with contextlib.suppress(Gone):  # why it is gone is heard, not said
                await self._wire.say(what, words, data=data)

    async def _push(self) -> None:
        while self._input and self._room:
            block = bytes(self._input[: min(self._room, DATA_BYTES)])
            del self._input[: len(block)]
            self._room -= len(block)
            await self._say("input", data=block)
        if self._ends and not self._input:
            self._ends = False
            await self._say("close")

    async def hear(self) -> None:
        """Take in what the keeper says, until the program has ended or the guest is gone."""
        while self.exit_code is None and self._fault is None:
            try:
                self._take(await self._wire.hear())
            except Gone:
                self._fault = HostFault("the guest's keeper is gone, and the guest with it", hint="spawn another one")
            except HostFault as fault:
                self._fault = fault
            self._wake()
            await self._push()
            while self._waiting_bytes > WINDOW_BYTES:
                await self._changed.wait()

    def _take(self, told: Message) -> None:
        if told.what in {"out", "err"}:
            self._chunks.append(Chunk(stream=cast("Literal['out', 'err']", told.what), data=told.data))
            self._waiting_bytes += len(told.data)
        elif told.what == "eaten":
            self._room += int(told.number("bytes"))
        elif told.what == "exit":
            self.exit_code = int(told.number("code"))
        elif told.what == "fault":
            self._fault = fault_of(told.words)

    async def _change(self) -> None:
        if self._fault is None:
            await self._changed.wait()
        if self._fault is not None and not self._chunks:
            raise self._fault

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


class RemoteInstance:
    """A running guest that another process keeps. Leaving it lets it run; `stop` ends it."""

    def __init__(self, about: About) -> None:
        """Take what its keeper says."""
        self.about = about

    @property
    def id(self) -> str:
        """Its name, unique on this machine."""
        return self.about.id

    @property
    def pid(self) -> int:
        """The process that is the virtual machine."""
        return self.about.pid

    @property
    def socket_path(self) -> Path:
        """The hypervisor's own control socket; its keeper's is `control` in the guest's folder."""
        return self.about.socket_path

    @property
    def spawn_time_ms(self) -> float:
        """What the keeper measured: from its call of `spawn` to the first answer of the guest."""
        return self.about.spawn_time_ms

    @property
    def spawned_from(self) -> SpawnedFrom:
        """How it came to be."""
        return self.about.spawned_from

    @property
    def folder(self) -> Path:
        """Its folder, gone with it."""
        return folder_of(self.id)

    async def exec(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        timeout_s: float = 60.0,
    ) -> Result:
        """Run a program to its end; it is killed and `Transient` raised at the deadline."""
        async with self.start(argv, env=env, cwd=cwd) as running:
            try:
                with anyio.fail_after(timeout_s):
                    await running.give_all(stdin)
                    return await _collected(running)
            except TimeoutError:
                raise Transient(
                    f"'{' '.join(argv)[:80]}' was still running in the guest after {timeout_s:g} s"
                ) from None

    @contextlib.asynccontextmanager
    async def start(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str = "/"
    ) -> AsyncIterator[RemoteExecution]:
        """Run a program and follow it; it is killed when the block is left, or we are killed.

        Raises:
            HostFault: the guest is gone.
        """
        async with called(self.folder) as wire:
            running = RemoteExecution(wire)
            await _ask(wire, "exec", {"argv": [*argv], "env": {**(env or {})}, "cwd": cwd, "timeout_s": None})
            async with group_of_tasks() as tasks:
                tasks.start_soon(running.hear)
                yield running
                tasks.cancel_scope.cancel()

    async def put(self, source: Path, target: str) -> None:
        """Copy a file or a tree into the guest. The keeper reads it: it is of this user and machine."""
        await self.ask("put", within_s=COPY_WITHIN_S, source=str(source.absolute()), target=target)

    async def get(self, source: str, target: Path) -> None:
        """Copy a file or a tree out of the guest into the new path `target`."""
        await self.ask("get", within_s=COPY_WITHIN_S, source=source, target=str(target.absolute()))

    async def snapshot(self, name: str) -> str:
        """Freeze it and put the snapshot away under a name; it goes on, where the hypervisor can do that."""
        return (await self.ask("snapshot", within_s=FREEZE_WITHIN_S, name=name)).text("name")

    async def migrate(self, to: str) -> "RemoteInstance":
        """Move it to another process, as `Migrating.migrate` does. It has another id then."""
        return RemoteInstance(about_of((await self.ask("migrate", within_s=FREEZE_WITHIN_S, to=to)).words))

    async def send(self, to: str, *, key: bytes) -> None:
        """Move it to another host, as `Sending.send` does; it lives there alone then."""
        await self.ask("send", within_s=FREEZE_WITHIN_S, to=to, key=key.hex())
        await gone(self.folder)

    async def stop(self) -> None:
        """End the guest at once and remove all that belongs to it. A second call does nothing.

        Raises:
            Transient: something of it is still there.
        """
        try:
            await self.ask("stop")
        except (HostFault, Transient):
            stop(self.id)  # the keeper is gone, or does not do its work
        await gone(self.folder)

    async def ask(self, what: str, *, within_s: float = ANSWER_WITHIN_S, **words: Json) -> Message:
        """Ask the keeper for something, and wait until it is done.

        Raises:
            Fault: what the keeper says stands in the way.
            HostFault: the guest is gone.
            Transient: no answer came.
        """
        try:
            async with called(self.folder) as wire:
                with anyio.fail_after(within_s):
                    await _ask(wire, what, words)
                    told = await wire.hear()
        except TimeoutError:
            raise Transient(f"the keeper of {self.id} did not '{what}' within {within_s:g} s") from None
        except Gone:
            raise HostFault(f"the guest {self.id} is gone", hint="`luminaguard vm list` shows what runs") from None
        if told.what == "fault":
            raise fault_of(told.words)
        return told

    async def __aenter__(self) -> "RemoteInstance":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


async def _ask(wire: Wire, what: str, words: Mapping[str, Json]) -> None:
    with contextlib.suppress(Gone):  # it may have said why before it went: that is heard next
        await wire.say(what, words)


async def _collected(running: RemoteExecution) -> Result:
    out, err = bytearray(), bytearray()
    async for chunk in running:
        (out if chunk.stream == "out" else err).extend(chunk.data)
        if len(out) + len(err) > OUTPUT_BYTES:
            raise UserFault("a program in the guest writes more than 256 MiB", hint="let it write to a file")
    assert running.exit_code is not None
    return Result(exit_code=running.exit_code, out=bytes(out), err=bytes(err))


async def gone(folder: Path) -> None:
    """Wait until a guest that was ended is gone, with its folder.

    Raises:
        Transient: it is still there.
    """
    with anyio.move_on_after(ANSWER_WITHIN_S):
        while folder.exists():
            clear_orphans()  # where its owner was killed, nobody else removes the folder
            await anyio.sleep(LOOK_EVERY_S)
        return
    raise Transient(f"the guest {folder.name} was ended, and its folder {folder} is still there")


def folder_of(name: str) -> Path:
    """Give the folder of a guest that runs.

    Raises:
        UserFault: the name is none.
    """
    if not name.startswith(ID_PREFIX) or not name.removeprefix(ID_PREFIX).isalnum():
        raise UserFault(f"'{name}' is not the id of a guest", hint="`luminaguard vm list` shows what runs")
    return cache_folder("running") / name


async def reached(name: str) -> RemoteInstance:
    """Reach a guest that another process keeps.

    Raises:
        UserFault: there is none of this name, or its owner lets nobody else at it.
        HostFault: it is gone, or its keeper is of another version.
        Transient: its keeper does not answer.
    """
    folder = folder_of(name)
    if not folder.exists():
        raise UserFault(f"there is no guest '{name}'", hint="`luminaguard vm list` shows what runs")
    if not (folder / "control").exists():
        raise UserFault(
            f"the guest '{name}' belongs to the process that spawned it, which lets nobody else at it",
            hint="`luminaguard vm stop` can end it; guests of `luminaguard vm spawn` can be reached",
        )
    async with called(folder) as wire:
        with anyio.fail_after(ANSWER_WITHIN_S):
            await _ask(wire, "info", {})
            return RemoteInstance(about_of((await wire.hear()).words))
