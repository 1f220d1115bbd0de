"""A running guest moves to another QEMU on this machine.

A guest whose memory can be passed on stands still for what its devices and processors are, a millisecond or two. The
memory of any other is copied: on hardware while it runs, under emulation while it stands still. It can be passed on
after that.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

import anyio

from luminaguard.model.faults import Fault, HostFault, UserFault
from luminaguard.model.ids import Json
from luminaguard.vm.qemu_blueprint import Blueprint
from luminaguard.vm.qemu_machine import Machine
from luminaguard.vm.qemu_memory import GuestMemory, memory_at, shared_memory
from luminaguard.vm.qemu_origins import incoming, stands_still, start_of, stopped_at_failure
from luminaguard.vm.qemu_templates import FAST

DOWNTIME_MS = 5
MOVE_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a guest leaves: down which descriptor, without the memory that is passed on, standing still all the while."""

    fd: int
    passes_memory_on: bool
    stands_still: bool


async def moved(machine: Machine, plan: Blueprint) -> Machine:
    """Move a guest, with all that runs in it and all that waits for it here.

    Raises:
        HostFault: QEMU cannot; the guest goes on where it was.
        Transient: it takes too long; the guest goes on where it was.
    """
    ours, theirs = socket.socketpair()
    passes_on = machine.memory_fd >= 0
    way = Way(fd=ours.fileno(), passes_memory_on=passes_on, stands_still=stands_still(plan) and not passes_on)
    with ours, theirs, _memory(machine, plan) as memory:
        start = start_of(plan, replace(memory, state=theirs.fileno()), boot=None)
        target = await Machine.begin(replace(start, waits=True), began=0.0)
        async with stopped_at_failure(target):
            target.guest.link.be_deaf()
            for command, answer in incoming(target.qmp, theirs.fileno(), ignore_shared=passes_on):
                await target.qmp.answer(command, answer)
            theirs.close()
            async with leaving(machine, way):
                await target.qmp.migrated(within_s=MOVE_WITHIN_S)
            await _handed_over(machine, target)
            await target.forward(plan.config.forwards)
    return target


@contextlib.contextmanager
def _memory(machine: Machine, plan: Blueprint) -> Iterator[GuestMemory]:
    if machine.memory_fd >= 0:
        yield memory_at(plan, machine.memory_fd)
        return
    with shared_memory(plan) as memory:
        yield memory


@contextlib.asynccontextmanager
async def leaving(machine: Machine, way: Way, *, within_s: float = MOVE_WITHIN_S) -> AsyncIterator[None]:
    """Send a guest away; in the block it stands still here, and where it goes it does not run yet.

    It goes on here if the block does not end well, or if it cannot be sent. After a block that ended well it must not.

    Raises:
        UserFault: it moves already.
        HostFault: QEMU cannot.
        Transient: it takes too long.
    """
    if machine.is_moving:
        raise UserFault(f"the guest {machine.id} moves already", hint="wait until it has")
    machine.is_moving = True
    try:
        await machine.guest.link.hold()
        await _sent(machine, way, within_s)
        yield
    except BaseException:
        with anyio.CancelScope(shield=True):
            await _go_on(machine)
        raise


async def _sent(machine: Machine, way: Way, within_s: float) -> None:
    qmp = machine.qmp
    await qmp.ask("getfd", {"fdname": "move"}, fd=way.fd)
    await qmp.set_capabilities({"x-ignore-shared": way.passes_memory_on, "events": True})
    await qmp.ask("migrate-set-parameters", {"max-bandwidth": FAST, "downtime-limit": DOWNTIME_MS})
    if way.stands_still:
        await qmp.ask("stop")
    await qmp.ask("migrate", {"uri": "fd:move"})
    await qmp.migrated(within_s=within_s)


async def _go_on(machine: Machine) -> None:
    try:
        await machine.qmp.ask("migrate_cancel")
        await machine.qmp.resume()
    except Fault:
        return
    finally:
        machine.is_moving = False
        machine.guest.link.go_on()


async def _handed_over(machine: Machine, target: Machine) -> None:
    """Let the guest go on in its new process. There is no way back: both have the same memory."""
    with anyio.CancelScope(shield=True):
        began = target.qmp.tell("cont")
        await machine.guest.link.drained()
        target.take_over(machine)
        await machine.leave()
        await _began(target, began)
        stood, went = machine.qmp.last_seen.get("STOP", 0.0), target.qmp.last_seen.get("RESUME", 0.0)
        target.downtime_ms = (went - stood) * 1000


async def _began(target: Machine, began: "asyncio.Future[Json]") -> None:
    try:
        await target.qmp.answer("cont", began)
    except Fault as fault:
        raise HostFault(f"the guest was lost as it moved: {fault.message}", hint="start another one") from fault
