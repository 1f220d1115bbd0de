"""What a keeper does for those who call at its guest's control socket."""

import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import cast

import anyio
from anyio.abc import SocketListener, SocketStream, TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from luminaguard.model.faults import Fault, HostFault, Transient, UserFault
from luminaguard.model.ids import Json
from luminaguard.vm.base import Execution, Hypervisor, Migrating, Sending, VmConfig, VmInstance
from luminaguard.vm.config_json import config_json
from luminaguard.vm.control import (
    GREETING,
    GREETING_WITHIN_S,
    KEPT,
    VERSION,
    Gone,
    Message,
    Wire,
    fault_words,
    listen,
)
from luminaguard.vm.kernel import write_whole
from luminaguard.vm.named import Storing, name_snapshot
from luminaguard.vm.places import cache_folder
from luminaguard.vm.tasks import group_of_tasks

LOOK_EVERY_S = 0.2
LAST_WORDS_S = 2.0


class Service:
    """One guest, and all who call about it."""

    def __init__(self, driver: Hypervisor, instance: VmInstance, config: VmConfig, over: anyio.Event) -> None:
        """Take a guest that answers, the driver that began it, what it is, and what is set when it shall end."""
        self._driver = driver
        self._config = config
        self._until = time.time() + config.deadline_s
        self._callers = 0
        self._quiet = anyio.Event()
        self._doors: anyio.CancelScope | None = None
        self._moving = anyio.Lock()
        self._tasks: TaskGroup | None = None
        self.instance = instance
        self.over = over
        """Set by us, too, when there is nothing left to keep."""

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Answer callers for as long as the block lasts, and end the guest with it."""
        try:
            async with group_of_tasks() as tasks:
                self._tasks = tasks
                await self._open_door()
                yield
                with anyio.move_on_after(LAST_WORDS_S, shield=True):
                    await self._last_words()
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self.instance.stop()

    async def _last_words(self) -> None:
        """Let those who still wait hear how it ended."""
        assert self._doors is not None
        self._doors.cancel()
        await self.instance.stop()
        if self._callers:
            await self._quiet.wait()

    async def _open_door(self) -> None:
        """Listen where the guest lives now; who has called at its old place stays connected."""
        assert self._tasks is not None
        folder = cache_folder("running") / self.instance.id
        listener = await listen(folder)
        write_whole(folder / KEPT, json.dumps(self.words()).encode(), mode=0o600)
        old, self._doors = self._doors, anyio.CancelScope()
        self._tasks.start_soon(self._listen, listener, self._doors, self._tasks)
        self._tasks.start_soon(self._watch, self.instance.pid)
        if old is not None:
            old.cancel()

    async def _listen(self, listener: SocketListener, doors: anyio.CancelScope, tasks: TaskGroup) -> None:
        with doors:
            async with listener:
                await listener.serve(self._serve, tasks)

    async def _watch(self, pid: int) -> None:
        await ended(pid)
        async with self._moving:  # a guest that moves leaves a process behind that ends
            if self.instance.pid == pid:
                self.over.set()

    def words(self) -> dict[str, Json]:
        """Say what the guest is."""
        vm = self.instance
        return {
            "id": vm.id,
            "pid": vm.pid,
            "keeper": os.getpid(),
            "driver": self._driver.name,
            "socket_path": str(vm.socket_path),
            "spawn_time_ms": vm.spawn_time_ms,
            "spawned_from": vm.spawned_from,
            "until": self._until,
            "config": config_json(self._config),
        }

    async def _serve(self, stream: SocketStream) -> None:
        wire = Wire(stream)
        self._callers += 1
        try:
            await self._heard(wire)
        except Gone:
            pass  # whoever called has left, and what they asked for has ended with that
        finally:
            self._callers -= 1
            if not self._callers:
                self._quiet.set()
                self._quiet = anyio.Event()
            with anyio.CancelScope(shield=True):
                await wire.aclose()

    async def _heard(self, wire: Wire) -> None:
        try:
            await wire.say(GREETING, {"version": VERSION})
            with anyio.fail_after(GREETING_WITHIN_S):
                asked = await wire.hear()
            await self._answer(wire, asked)
        except Fault as fault:
            await wire.say("fault", fault_words(fault))
        except TimeoutError:
            return
        except OSError as exc:
            problem = HostFault(f"{exc.filename or 'the keeper of the guest'}: {exc.strerror}")
            await wire.say("fault", fault_words(problem))
        except Gone:
            raise
        except Exception as exc:  # a bug: whoever called hears of it, and the keeper ends
            await wire.say("fault", fault_words(HostFault(f"the keeper of the guest failed: {exc!r}")))
            raise

    async def _answer(self, wire: Wire, asked: Message) -> None:
        answers: Mapping[str, Callable[[Wire, Message], Awaitable[None]]] = {
            "info": self._info,
            "exec": self._exec,
            "put": self._put,
            "get": self._get,
            "snapshot": self._snapshot,
            "migrate": self._migrate,
            "send": self._send,
            "stop": self._stop,
        }
        if asked.what not in answers:
            raise UserFault(f"a guest's keeper cannot '{asked.what}'", hint="are both of the same version?")
        await answers[asked.what](wire, asked)

    async def _info(self, wire: Wire, _: Message) -> None:
        await wire.say("done", self.words())

    async def _stop(self, wire: Wire, _: Message) -> None:
        with anyio.CancelScope(shield=True):
            await self.instance.stop()
            self.over.set()
            await wire.say("done")

    async def _put(self, wire: Wire, asked: Message) -> None:
        await _while_called(wire, lambda: self.instance.put(Path(asked.text("source")), asked.text("target")))
        await wire.say("done")

    async def _get(self, wire: Wire, asked: Message) -> None:
        await _while_called(wire, lambda: self.instance.get(asked.text("source"), Path(asked.text("target"))))
        await wire.say("done")

    async def _snapshot(self, wire: Wire, asked: Message) -> None:
        driver = self._driver
        if not (await driver.abilities()).snapshot or not hasattr(driver, "store"):
            raise UserFault(f"'{driver.name}' keeps no snapshots here", hint="see `luminaguard vm probe`")
        async with self._moving:
            named = await name_snapshot(cast("Storing", driver), self.instance, asked.text("name"))
        await wire.say("done", {"name": named.name})

    async def _migrate(self, wire: Wire, asked: Message) -> None:
        driver = self._driver
        if not (await driver.abilities()).live_migrate:
            raise UserFault(f"'{driver.name}' moves no guests here", hint="see `luminaguard vm probe`")
        with anyio.CancelScope(shield=True):
            async with self._moving:
                self.instance = await cast("Migrating", driver).migrate(self.instance, to=asked.text("to"))
                await self._open_door()
            await wire.say("done", self.words())

    async def _send(self, wire: Wire, asked: Message) -> None:
        driver = self._driver
        if not (await driver.abilities()).live_migrate or not hasattr(driver, "send"):
            raise UserFault(f"'{driver.name}' sends no guests to other hosts", hint="see `luminaguard vm probe`")
        with anyio.CancelScope(shield=True):
            async with self._moving:
                await self._sent(cast("Sending", driver), asked.text("to"), bytes.fromhex(asked.text("key")))
                self.over.set()
            await wire.say("done")

    async def _sent(self, driver: Sending, to: str, key: bytes) -> None:
        name = self.instance.id
        try:
            await driver.send(self.instance, to=to, key=key)
        except Fault as fault:
            if self.instance.id == name:
                raise
            await self._open_door()  # it went to another process here first, to move from there
            raise type(fault)(f"{fault.message}; the guest goes on as {self.instance.id}", hint=fault.hint) from fault

    async def _exec(self, wire: Wire, asked: Message) -> None:
        argv, cwd = asked.texts("argv"), asked.text("cwd")
        code: int | None = None
        limit = asked.number("timeout_s") if asked.words.get("timeout_s") is not None else None
        try:
            with anyio.fail_after(limit):
                async with self.instance.start(argv, env=asked.pairs("env"), cwd=cwd) as running:
                    code = await _followed(wire, running)
        except TimeoutError:
            said = f"'{' '.join(argv)[:80]}' was still running in the guest after {limit:g} s"
            raise Transient(said) from None
        if code is not None:
            await wire.say("exit", {"code": code})


async def _followed(wire: Wire, running: Execution) -> int | None:
    """Pass on what a program writes, and what its caller says to it; it ends with the connection."""
    giving, taking = anyio.create_memory_object_stream[bytes](float("inf"))
    async with group_of_tasks() as tasks:
        tasks.start_soon(_hear_caller, wire, running, giving)
        tasks.start_soon(_feed, wire, running, taking)
        async for chunk in running:
            await wire.say(chunk.stream, data=chunk.data)
        tasks.cancel_scope.cancel()
    giving.close()
    return running.exit_code


async def _hear_caller(wire: Wire, running: Execution, giving: MemoryObjectSendStream[bytes]) -> None:
    # Input waits in a queue of its own, so that a signal gets past what a program does not read.
    while True:
        told = await wire.hear()
        if told.what == "input":
            giving.send_nowait(told.data)
        elif told.what == "close":
            giving.send_nowait(b"")
        elif told.what == "signal":
            await running.signal(int(told.number("number")))


async def _feed(wire: Wire, running: Execution, taking: MemoryObjectReceiveStream[bytes]) -> None:
    async with taking:
        async for data in taking:
            if not data:
                await running.close_input()
                continue
            await running.write(data)
            await wire.say("eaten", {"bytes": len(data)})


async def _while_called(wire: Wire, work: Callable[[], Awaitable[None]]) -> None:
    async with group_of_tasks() as tasks:
        tasks.start_soon(wire.hear)  # nothing is said any more: it ends when whoever called leaves
        await work()
        tasks.cancel_scope.cancel()


async def ended(pid: int) -> None:
    """Wait for the end of a process that may be somebody else's child."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):  # not Linux
        fd = -1
    if fd < 0:
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.kill(pid, 0)
                await anyio.sleep(LOOK_EVERY_S)
        return
    try:
        await anyio.wait_readable(fd)
    finally:
        os.close(fd)
