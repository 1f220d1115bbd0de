"""Guests that outlive who began them: each in the hands of a keeper, a process of its own."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import anyio

from luminaguard.model.faults import Fault, HostFault, Transient, UserFault
from luminaguard.model.ids import Json
from luminaguard.vm.base import Abilities, Snapshot, VmConfig, VmInstance
from luminaguard.vm.choosing import AUTO, Drivers, chosen
from luminaguard.vm.control import fault_of
from luminaguard.vm.keeper import KEEP, Order
from luminaguard.vm.named import new_name
from luminaguard.vm.remote import RemoteInstance, about_of

ANSWER_WITHIN_S = 900.0
"""A first guest of its kind boots, and may wait for another process that boots the same one."""
TAIL_BYTES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSnapshot:
    """A snapshot that was put away under its id."""

    id: str
    config: VmConfig


class Kept:
    """The driver: that of another, in processes of their own. Its guests run until they are stopped."""

    def __init__(self, drivers: Drivers, asked: str = AUTO) -> None:
        """Take the drivers to choose from, each a class or function of a module, and which one to take."""
        self._drivers = drivers
        self._asked = asked

    @property
    def name(self) -> str:
        """What it is called."""
        return "kept"

    async def missing(self) -> str | None:
        """Say why it cannot be used here and what to do about it, or None."""
        try:
            await chosen(self._drivers, self._asked)
        except Fault as fault:
            return fault.message
        return None

    async def abilities(self) -> Abilities:
        """Say what it can do here."""
        return await (await chosen(self._drivers, self._asked)).abilities()

    async def spawn(self, config: VmConfig) -> RemoteInstance:
        """Start a guest and wait for its first answer.

        Raises:
            UserFault: the configuration cannot be.
            HostFault: no hypervisor works here, or it fails.
            Transient: the guest did not answer in time.
        """
        return await self._begin(Order(drivers=self._names(), asked=self._asked, config=config))

    async def snapshot(self, instance: VmInstance) -> KeptSnapshot:
        """Freeze a guest and put the snapshot away under a made-up name."""
        remote = _remote(instance)
        return KeptSnapshot(id=await remote.snapshot(new_name()), config=remote.about.config)

    async def restore(self, snapshot: Snapshot) -> RemoteInstance:
        """Begin a guest from a snapshot that was put away."""
        return await self.restore_named(snapshot.id)

    async def restore_named(self, name: str) -> RemoteInstance:
        """Begin a guest from the snapshot of this name.

        Raises:
            UserFault: there is none, or what it was made with has changed.
            HostFault: the hypervisor does not work here, or fails.
        """
        return await self._begin(Order(drivers=self._names(), snapshot=name))

    async def receive(
        self, config: VmConfig, *, listen: str, key: bytes, told: Callable[[str], None]
    ) -> RemoteInstance:
        """Wait at HOST:PORT for a guest of this configuration from another host, and keep it.

        `told` hears the address where it listens.

        Raises:
            UserFault: the hypervisor takes no guests, or the address cannot be.
            HostFault: it fails.
        """
        order = Order(drivers=self._names(), asked=self._asked, config=config, listen=listen, key=key)
        with _keeper(order) as keeper:
            told(str((await keeper.hear("listening")).get("address")))
            return await keeper.guest(within_s=None)

    async def migrate(self, instance: VmInstance, *, to: str) -> RemoteInstance:
        """Move the guest to another process of the hypervisor; its keeper stays."""
        return await _remote(instance).migrate(to)

    def _names(self) -> dict[str, str]:
        return {
            name: f"{getattr(make, '__module__', '')}:{getattr(make, '__qualname__', '')}"
            for name, make in self._drivers.items()
        }

    async def _begin(self, order: Order) -> RemoteInstance:
        with _keeper(order) as keeper:
            return await keeper.guest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keeper:
    """A keeper that begins its guest. It ends unless it is told to keep it."""

    process: subprocess.Popen[bytes]
    said: IO[bytes]
    heard: bytearray = field(default_factory=bytearray)

    async def guest(self, *, within_s: float | None = ANSWER_WITHIN_S) -> RemoteInstance:
        """Wait for its word that the guest is here, and let it keep it: not before we know how to reach it."""
        found = RemoteInstance(about_of(await self.hear("here", within_s=within_s)))
        assert self.process.stdin is not None
        try:
            os.write(self.process.stdin.fileno(), KEEP)
        except BrokenPipeError:
            raise HostFault(f"the keeper ended: {self._tail()}", hint="try again") from None
        return found

    async def hear(self, what: str, *, within_s: float | None = ANSWER_WITHIN_S) -> dict[str, Json]:
        """Wait for its next word.

        Raises:
            Fault: what it says stands in the way.
            HostFault: it ended.
            Transient: it says nothing.
        """
        try:
            with anyio.fail_after(within_s):
                words = json.loads(await self._line() or b"{}")
        except TimeoutError:
            raise Transient(f"the keeper of the guest said nothing within {within_s:g} s") from None
        if words.get("say") == what:
            return dict(words)
        if words.get("say") == "fault":
            raise fault_of(words)
        raise HostFault(f"the keeper of the guest ended: {self._tail()}", hint="is luminaguard installed whole?")

    async def _line(self) -> bytes:
        assert self.process.stdout is not None
        while b"\n" not in self.heard:
            await anyio.wait_readable(self.process.stdout)
            if not (piece := os.read(self.process.stdout.fileno(), 1 << 16)):
                break
            self.heard.extend(piece)
        line, _, rest = bytes(self.heard).partition(b"\n")
        self.heard[:] = rest
        return line

    def _tail(self) -> str:
        size = self.said.seek(0, os.SEEK_END)
        self.said.seek(max(0, size - TAIL_BYTES))
        return self.said.read().decode(errors="replace").strip() or "it said nothing"


@contextlib.contextmanager
def _keeper(order: Order) -> Iterator[_Keeper]:
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                (sys.executable, "-P", "-m", "luminaguard.vm.keeper"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                bufsize=0,
                cwd=Path("/"),
                start_new_session=True,
            )
        except OSError as exc:
            raise HostFault(f"{sys.executable} cannot be started: {exc.strerror}") from exc
        with process:  # which leaves at once: the keeper is a child of it
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(order.line())
            yield _Keeper(process=process, said=said)


def _remote(instance: VmInstance) -> RemoteInstance:
    if not isinstance(instance, RemoteInstance):
        raise UserFault("this guest is kept by no keeper", hint="ask the driver that spawned it")
    return instance
