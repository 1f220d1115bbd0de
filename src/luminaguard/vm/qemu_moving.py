"""A running guest moves to another QEMU on this machine.

On hardware its memory goes while it runs, and it stands still for the rest alone. Under emulation it stands still.
"""

import os
import socket
import time

import anyio

from luminaguard.model.faults import Fault
from luminaguard.vm.qemu_blueprint import Blueprint
from luminaguard.vm.qemu_command import Memory
from luminaguard.vm.qemu_machine import Machine
from luminaguard.vm.qemu_origins import incoming, stands_still, start_of, stopped_at_failure
from luminaguard.vm.qemu_templates import FAST
from luminaguard.vm.qmp import Qmp

DOWNTIME_MS = 5
MOVE_WITHIN_S = 120.0


async def moved(machine: Machine, plan: Blueprint) -> Machine:
    """Move a guest, with all that runs in it and all that waits for it here.

    Raises:
        HostFault: QEMU cannot; the guest goes on where it was.
        Transient: it takes too long; the guest goes on where it was.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        start = start_of(plan, Memory(), (), boot=None, state=theirs.fileno())
        target = await Machine.begin(start, began=0.0)
        async with stopped_at_failure(target):
            target.guest.link.be_deaf()
            for command, answer in incoming(target.qmp, theirs.fileno(), ignore_shared=False):
                await target.qmp.answer(command, answer)
            theirs.close()
            downtime_ms = await _sent(machine, plan, target.qmp, os.dup(ours.fileno()))
            with anyio.CancelScope(shield=True):  # the guest is in neither process for this moment
                await machine.leave()
                target.arrived(machine, downtime_ms=downtime_ms)
    return target


async def _sent(machine: Machine, plan: Blueprint, target: Qmp, fd: int) -> float:
    """Give the milliseconds for which the guest stood still."""
    await machine.guest.link.hold()
    try:
        if not stands_still(plan):
            return await _migrated(machine.qmp, fd)
        began = time.monotonic()
        await machine.qmp.ask("stop")
        await _migrated(machine.qmp, fd)
        await target.migrated(within_s=MOVE_WITHIN_S)
        await target.resume()
        return (time.monotonic() - began) * 1000
    except BaseException:
        with anyio.CancelScope(shield=True):
            await _go_on(machine)
        raise


async def _go_on(machine: Machine) -> None:
    try:
        await machine.qmp.ask("migrate_cancel")
        await machine.qmp.resume()
    except Fault:
        return
    finally:
        machine.guest.link.go_on()


async def _migrated(qmp: Qmp, fd: int) -> float:
    try:
        await qmp.ask("getfd", {"fdname": "move"}, fd=fd)
    finally:
        os.close(fd)
    await qmp.set_capabilities({"x-ignore-shared": False, "events": True})
    await qmp.ask("migrate-set-parameters", {"max-bandwidth": FAST, "downtime-limit": DOWNTIME_MS})
    await qmp.ask("migrate", {"uri": "fd:move"})
    await qmp.migrated(within_s=MOVE_WITHIN_S)
    said = await qmp.ask("query-migrate")
    downtime = said.get("downtime") if isinstance(said, dict) else None
    return float(downtime) if isinstance(downtime, int | float) else 0.0
