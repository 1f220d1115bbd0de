"""A place where a running guest from a QEMU on another host arrives; `vm.qemu_sending` has what is said, and why.

Whoever connects is a stranger until a message of theirs shows that they have the key. No QEMU is started for one.
"""

import asyncio
import contextlib
import logging
import socket
import time
from dataclasses import dataclass, field, replace
from typing import get_args

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from luminaguard.model.faults import Fault, HostFault, Transient, UserFault
from luminaguard.vm.base import SpawnedFrom
from luminaguard.vm.handover import (
    GREETING_WITHIN_S,
    Message,
    Wire,
    address_at,
    address_of,
    checked_key,
    greeted,
    listening,
)
from luminaguard.vm.qemu_blueprint import Blueprint
from luminaguard.vm.qemu_instance import QemuInstance
from luminaguard.vm.qemu_likeness import likeness, unlike
from luminaguard.vm.qemu_machine import Machine
from luminaguard.vm.qemu_memory import shared_memory
from luminaguard.vm.qemu_origins import start_of, stopped_at_failure
from luminaguard.vm.qemu_sending import SENT_WITHIN_S, checked, encrypted
from luminaguard.vm.tasks import group_of_tasks

LOG = logging.getLogger(__name__)
CONNECTED_WITHIN_S = 30.0
STRANGERS = 16
"""Connections at a time."""


@dataclass(slots=True, kw_only=True)
class Arrival:
    """A guest on its way. `memory` is the connection that its memory comes over; `is_taken` once QEMU has it."""

    memory: Wire | None = None
    has_come: anyio.Event = field(default_factory=anyio.Event)
    is_taken: anyio.Event = field(default_factory=anyio.Event)


class QemuReceiver:
    """A place where one guest may arrive. `async with` it, or `aclose` it; `receiver` makes one."""

    def __init__(self, sock: socket.socket, plan: Blueprint, alike: dict[str, str], key: bytes) -> None:
        """Take a socket that listens, and what the guest has to be."""
        self._socket = sock
        self._plan = plan
        self._alike = alike
        self._key = key
        self._address = str(address_at(sock))
        self._arrivals: dict[str, Arrival] = {}
        self._machine: Machine | None = None
        self._problem: Fault | None = None
        self._room = anyio.Semaphore(STRANGERS)

    @property
    def address(self) -> str:
        """Where it listens, as HOST:PORT."""
        return self._address

    async def arrived(self) -> QemuInstance:
        """Wait until the guest lives here. Whoever is refused or fails leaves it waiting for another.

        Raises:
            UserFault: the guest cannot be here: nobody listens at a channel's socket, for one.
            HostFault: QEMU cannot be started here.
        """
        try:
            async with group_of_tasks() as tasks:
                await self._listen(tasks)
        except BaseException:
            if self._machine is not None:
                with anyio.CancelScope(shield=True):
                    await self._machine.stop()
            raise
        finally:
            await self.aclose()
        if self._machine is None:
            assert self._problem is not None
            raise self._problem
        return QemuInstance(self._machine, self._plan)

    async def aclose(self) -> None:
        """Listen no more. A second call does nothing."""
        self._socket.close()

    async def __aenter__(self) -> "QemuReceiver":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _listen(self, tasks: TaskGroup) -> None:
        while True:
            await self._room.acquire()
            sock, _ = await asyncio.get_running_loop().sock_accept(self._socket)
            tasks.start_soon(self._serve, sock, tasks)

    async def _serve(self, sock: socket.socket, tasks: TaskGroup) -> None:
        with sock:
            try:
                wire = await greeted(sock, self._key, is_sender=False)
                await self._answer(wire, tasks)
            except Fault as fault:
                LOG.warning("A guest did not arrive: %s.", fault.message)
                if self._problem is not None:
                    tasks.cancel_scope.cancel()
            finally:
                self._room.release()

    async def _answer(self, wire: Wire, tasks: TaskGroup) -> None:
        try:
            message = await wire.hear(within_s=GREETING_WITHIN_S)
        except UserFault as fault:
            await wire.say("refused", why=fault.message)  # which they cannot check, and so they know
            raise
        if message.what == "memory":
            await self._bring(wire, message.text("of"))
        elif self._arrivals:
            await wire.say("refused", why="another guest arrives there at this moment", hint="try again")
        elif found := unlike(self._alike, message.texts("likeness")):
            await wire.say("refused", why=f"the receiver waits for another guest: {found}", hint="make both the same")
            raise UserFault(f"a guest that differs was refused: {found}")
        else:
            self._arrivals[wire.name] = Arrival()
            try:
                await self._receive(wire, message, self._arrivals[wire.name])
            finally:
                del self._arrivals[wire.name]
            tasks.cancel_scope.cancel()

    async def _bring(self, wire: Wire, name: str) -> None:
        """Bring the connection that a guest's memory comes over to where it is waited for, and keep it open."""
        arrival = self._arrivals.get(name)
        if arrival is None or arrival.memory is not None:
            raise HostFault("the memory of a guest came that nobody waits for")
        arrival.memory = wire
        arrival.has_come.set()
        await arrival.is_taken.wait()

    async def _receive(self, wire: Wire, offer: Message, arrival: Arrival) -> None:
        machine = await self._begun(wire)
        try:
            async with stopped_at_failure(machine):
                await _take(machine, wire, arrival)
                await self._live(machine, wire, offer)
        except Fault as fault:
            await _say_failed(wire, fault)
            raise
        finally:
            arrival.is_taken.set()
        self._machine = machine

    async def _begun(self, wire: Wire) -> Machine:
        """Start a QEMU that waits. What stands in the way here is told to whoever waits here, too."""
        try:
            with shared_memory(self._plan) as memory:
                start = replace(start_of(self._plan, memory, boot=None), waits=True)
                return await Machine.begin(start, began=time.monotonic())
        except Fault as fault:
            self._problem = fault
            await _say_failed(wire, fault)
            raise

    async def _live(self, machine: Machine, wire: Wire, offer: Message) -> None:
        """Let the guest go on when the sender has given it up."""
        adopted = machine.guest.link.adopt()
        await wire.say("here")
        word = await wire.expect("go on")
        heard = time.time()
        with anyio.CancelScope(shield=True):  # it lives nowhere for this moment
            await machine.qmp.ask("cont")
            await machine.guest.link.answer(adopted)
            await machine.guest.refresh()
            machine.answered(_origin(offer))
            machine.downtime_ms = word.number("stood_ms") + (machine.qmp.last_seen.get("RESUME", heard) - heard) * 1000
            await machine.forward(self._plan.config.forwards)
            with contextlib.suppress(Fault):
                await wire.say("lives")


async def _take(machine: Machine, wire: Wire, arrival: Arrival) -> None:
    """Let QEMU take all that the guest is."""
    async with encrypted(machine, wire.secret("tls"), "server"):
        await machine.qmp.set_capabilities({"x-ignore-shared": False, "events": True})
        await wire.say("come")
        memory = await _connected(arrival)
        await machine.qmp.ask("getfd", {"fdname": "memory"}, fd=memory.socket.fileno())
        await machine.qmp.ask("migrate-incoming", {"uri": "fd:memory"})
        await memory.say("come")
        arrival.is_taken.set()
        async with group_of_tasks() as tasks:
            tasks.start_soon(_hear_that_it_fails, wire)
            await machine.qmp.migrated(within_s=SENT_WITHIN_S)
            tasks.cancel_scope.cancel()


async def _connected(arrival: Arrival) -> Wire:
    with anyio.move_on_after(CONNECTED_WITHIN_S):
        await arrival.has_come.wait()
    if arrival.memory is None:
        raise Transient(f"the sender did not connect a second time within {CONNECTED_WITHIN_S:g} s")
    return arrival.memory


async def _hear_that_it_fails(wire: Wire) -> None:
    """Wait for the end of the connection: QEMU itself waits for ever for what never comes."""
    await wire.hear(within_s=2 * SENT_WITHIN_S)
    raise HostFault("the sender gave up")


async def _say_failed(wire: Wire, fault: Fault) -> None:
    with contextlib.suppress(Fault):
        await wire.say("failed", why=fault.message, hint=fault.hint)


def _origin(offer: Message) -> SpawnedFrom:
    return next((one for one in get_args(SpawnedFrom) if one == offer.text("came_from")), "boot")


async def receiver(plan: Blueprint, *, listen: str, key: bytes) -> QemuReceiver:
    """Listen for a guest.

    Raises:
        UserFault: it cannot be listened there, the key is too short, or such a guest cannot move.
        HostFault: this QEMU moves no guests.
    """
    alike = await anyio.to_thread.run_sync(likeness, checked(plan))
    return QemuReceiver(await listening(address_of(listen)), plan, alike, checked_key(key))
