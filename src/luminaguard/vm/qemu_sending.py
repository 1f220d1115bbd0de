"""A running guest moves to a QEMU on another host.

The two processes that own the QEMUs speak first: who they are, whether the guest can go on over there. Then they open a
second connection, and each hands its end to its QEMU, which has no network of its own. The QEMUs encrypt what they
send by TLS, with a key made for this one move; its file is gone when the move is over.

The guest stands still until the receiver has all of it and the sender has said "go on". Before that it can go on at the
sender, whatever happens; after that it never does: at no time are there two of it.
"""

import contextlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Literal

import anyio
import anyio.to_thread

from luminaguard.model.faults import Fault, HostFault, UserFault
from luminaguard.model.ids import Json
from luminaguard.vm.handover import Wire, address_of, called, checked_key
from luminaguard.vm.qemu_blueprint import Blueprint
from luminaguard.vm.qemu_likeness import likeness
from luminaguard.vm.qemu_machine import Machine
from luminaguard.vm.qemu_moving import Way, leaving
from luminaguard.vm.qemu_origins import stands_still

Endpoint = Literal["client", "server"]
NAME = "luminaguard"
KEYS_FILE = "keys.psk"
READY_WITHIN_S = 60.0
SENT_WITHIN_S = 900.0


def checked(plan: Blueprint) -> Blueprint:
    """Give the plan of a guest that can move between hosts.

    Raises:
        UserFault: it has a disk of one host alone.
        HostFault: this QEMU moves no guests.
    """
    if not plan.program.accelerator.can_migrate:
        raise HostFault("QEMU moves no guest under WHPX", hint="use accelerator='tcg'")
    if any(disk.writable for disk in plan.config.disks):
        raise UserFault(
            "a guest with a writable disk cannot move to another host: the disk stays here", hint="keep its files in it"
        )
    return plan


@contextlib.asynccontextmanager
async def encrypted(machine: Machine, key: bytes, endpoint: Endpoint) -> AsyncIterator[None]:
    """Let QEMU encrypt what it sends or takes, with this key; its file is there no longer than the block."""
    path = machine.keys / KEYS_FILE
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(f"{NAME}:{key.hex()}\n")
    try:
        await machine.qmp.ask(
            "object-add",
            {
                "qom-type": "tls-creds-psk",
                "id": NAME,
                "endpoint": endpoint,
                "dir": machine.keys_inside,
                **({"username": NAME} if endpoint == "client" else {}),
            },
        )
        await machine.qmp.ask("migrate-set-parameters", {"tls-creds": NAME})
        yield
    finally:
        path.unlink(missing_ok=True)
        with anyio.CancelScope(shield=True), contextlib.suppress(Fault):
            await machine.qmp.ask("migrate-set-parameters", {"tls-creds": ""})
            await machine.qmp.ask("object-del", {"id": NAME})


async def sent(machine: Machine, plan: Blueprint, *, to: str, key: bytes) -> None:
    """Send a guest away, and end it here when it lives there.

    Raises:
        UserFault: nobody waits there, for another guest or with another key; the guest goes on here.
        HostFault: a QEMU or the way between fails; the guest goes on here, unless it says that it is lost.
        Transient: it takes too long; the guest goes on here.
    """
    address = address_of(to)
    alike = await anyio.to_thread.run_sync(likeness, checked(plan))
    async with called(address, checked_key(key)) as wire:
        words: dict[str, Json] = {"likeness": {**alike}, "came_from": machine.spawned_from}
        await wire.say("guest", **words)
        await wire.expect("come", within_s=READY_WITHIN_S)
        await _left(machine, plan, wire, called(address, key))
        with anyio.CancelScope(shield=True):
            stood_ms = (time.time() - machine.qmp.last_seen.get("STOP", time.time())) * 1000
            await _let_live(machine, wire, to, stood_ms)


async def _left(machine: Machine, plan: Blueprint, wire: Wire, connecting: AbstractAsyncContextManager[Wire]) -> None:
    """Send it, and return when the other host has all of it and waits for the word."""
    async with connecting as memory:
        await memory.say("memory", of=wire.name)
        await memory.expect("come")
        way = Way(fd=memory.socket.fileno(), passes_memory_on=False, stands_still=stands_still(plan))
        async with encrypted(machine, wire.secret("tls"), "client"), leaving(machine, way, within_s=SENT_WITHIN_S):
            await wire.expect("here")


async def _let_live(machine: Machine, wire: Wire, to: str, stood_ms: float) -> None:
    try:
        await wire.say("go on", stood_ms=stood_ms)
        await wire.expect("lives")
    except Fault as fault:
        lost = HostFault(
            f"the guest {machine.id} was handed to {to}, which did not say that it lives: {fault.message}",
            hint="look for it there; it was ended here, for there must not be two of it",
        )
        await machine.leave(lost)
        raise lost from fault
    await machine.leave(HostFault(f"the guest {machine.id} moved to {to}", hint="ask that host"))
