"""Guests under QEMU: by KVM, HVF or WHPX where that works, by emulation everywhere else.

A guest of a configuration boots once. Its memory and state are kept as a template, and every later one is a
copy-on-write clone of it that answers in tens of milliseconds: from a pool if one is open, else restored on the spot.
"""

import contextlib
import functools
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from luminaguard.model.faults import Fault, HostFault, UserFault
from luminaguard.vm.base import Abilities, Snapshot, VmConfig, VmInstance
from luminaguard.vm.named import unlike
from luminaguard.vm.pool import Pool, pool_of
from luminaguard.vm.qemu_blueprint import Blueprint, blueprint
from luminaguard.vm.qemu_command import AcceleratorName
from luminaguard.vm.qemu_instance import QemuInstance
from luminaguard.vm.qemu_machine import Machine
from luminaguard.vm.qemu_moving import moved
from luminaguard.vm.qemu_named import made_with, put_away
from luminaguard.vm.qemu_origins import booted, booted_template, cloned, frozen, stopped_at_failure
from luminaguard.vm.qemu_program import Program, missing_parts
from luminaguard.vm.qemu_receiving import QemuReceiver, receiver
from luminaguard.vm.qemu_remembered import remembered
from luminaguard.vm.qemu_sending import sent
from luminaguard.vm.qemu_templates import Template, one_at_a_time, template_of, tidy
from luminaguard.vm.running import clear_orphans

MAKE_WITHIN_S = 300.0
WARM_TIMES = 3
"""An emulator has translated all that a new process needs only after some; the first from a pool gains by it."""
HERE = "here"


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuSnapshot:
    """A guest frozen at a moment, in files."""

    id: str
    plan: Blueprint
    template: Template

    @property
    def config(self) -> VmConfig:
        """What its guests are."""
        return self.plan.config


class Qemu:
    """The driver. Cheap to make; it looks at the machine when it is first asked."""

    def __init__(self, *, program: Path | None = None, accelerator: AcceleratorName | None = None) -> None:
        """Take a QEMU and an accelerator to use; None finds them."""
        self._chosen = program
        self._accelerator = accelerator
        self._program: Program | None = None
        self._fault: Fault | None = None
        self._lock = anyio.Lock()
        self._pools: dict[str, Pool[Machine]] = {}

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return "qemu"

    async def missing(self) -> str | None:
        """Say why it cannot be used here and what to do about it, or None; found out by trying, and kept."""
        try:
            await self.program()
        except Fault as fault:
            return f"{fault.message}: {fault.hint}" if fault.hint else fault.message
        return missing_parts()

    async def program(self) -> Program:
        """Give the QEMU that is used, with what runs guest code here.

        Raises:
            HostFault: there is none that works.
        """
        async with self._lock:
            if self._program is None and self._fault is None:
                try:
                    find = functools.partial(remembered, self._chosen, self._accelerator)
                    self._program = await anyio.to_thread.run_sync(find)
                    await anyio.to_thread.run_sync(_tidy)
                except Fault as fault:
                    self._fault = fault
        if self._program is None:
            assert self._fault is not None
            raise self._fault
        return self._program

    async def abilities(self) -> Abilities:
        """Say what it can do here."""
        accelerator = (await self.program()).accelerator
        can = accelerator.can_migrate
        return Abilities(
            snapshot=can, cow_clone=can, live_migrate=can, live_mount=False, hardware=accelerator.is_hardware
        )

    async def spawn(self, config: VmConfig) -> QemuInstance:
        """Start a guest and wait for its first answer: from an open pool, a snapshot, or by a boot that makes one.

        Raises:
            UserFault: the configuration cannot be.
            HostFault: this machine or QEMU cannot.
            Transient: the guest did not answer in time.
        """
        began = time.monotonic()
        plan = await self._plan(config)
        pool = self._pools.get(_pool_key(plan))
        if pool is not None and (machine := pool.take()) is not None:
            async with stopped_at_failure(machine):
                await machine.guest.refresh()
                await machine.forward(config.forwards)
            machine.handed_out("pool", began=began)
            return QemuInstance(machine, plan)
        return QemuInstance(await self._made(plan, began), plan)

    async def boot(self, config: VmConfig) -> QemuInstance:
        """Start a guest from nothing, whatever snapshots there are.

        Raises:
            UserFault: the configuration cannot be.
            HostFault: this machine or QEMU cannot.
            Transient: the guest did not answer in time.
        """
        began = time.monotonic()
        plan = await self._plan(config)
        return QemuInstance(await booted(plan, began=began), plan)

    @contextlib.asynccontextmanager
    async def pool(self, config: VmConfig, *, size: int) -> AsyncIterator[Pool[Machine]]:
        """Hold guests ready for `spawn` while the block lasts; as many again come as are taken.

        Raises:
            UserFault: guests with channels cannot wait in a pool, or there is a pool of this guest already.
        """
        plan = await self._plan(config)
        if config.channels:
            raise UserFault("a guest with channels cannot wait in a pool", hint="its channels belong to one user")
        key = _pool_key(plan)
        if key in self._pools:
            raise UserFault("there is a pool of this guest already", hint="make that one larger")
        make = functools.partial(self._fresh, plan)
        async with pool_of(make, size=size, is_good=lambda it: it.is_alive, end=lambda it: it.stop()) as pool:
            self._pools[key] = pool
            try:
                yield pool
            finally:
                del self._pools[key]

    async def snapshot(self, instance: VmInstance) -> QemuSnapshot:
        """Freeze a guest; it goes on after it.

        Raises:
            UserFault: it is not a guest of ours, or has disks that it can write to.
            HostFault: this QEMU cannot, or fails.
        """
        if not isinstance(instance, QemuInstance):
            raise UserFault("this guest does not run under QEMU", hint="ask the driver that spawned it")
        plan = instance.plan
        if not plan.program.accelerator.can_migrate:
            raise HostFault("QEMU saves no state under WHPX", hint="use accelerator='tcg', or a pool")
        if any(disk.writable for disk in plan.config.disks):
            raise UserFault(
                "a guest with a writable disk cannot be frozen", hint="its clones would all write to that disk"
            )
        template = await frozen(instance.machine, plan)
        return QemuSnapshot(id=template.folder.name, plan=plan, template=template)

    async def restore(self, snapshot: Snapshot) -> QemuInstance:
        """Begin a guest from the snapshot: fresh entropy and the right time before anything runs in it.

        Raises:
            UserFault: it is not a snapshot of ours, or is gone or was written to.
            HostFault: QEMU fails.
        """
        began = time.monotonic()
        if not isinstance(snapshot, QemuSnapshot):
            raise UserFault("this snapshot was not made by QEMU", hint="ask the driver that made it")
        if not snapshot.template.is_sound:
            raise UserFault(f"the snapshot {snapshot.id} is gone or was written to", hint="make it again")
        machine = await cloned(snapshot.plan, snapshot.template, began=began, is_frozen=True)
        machine.handed_out("snapshot", began=began)
        return QemuInstance(machine, snapshot.plan)

    async def store(self, snapshot: Snapshot, folder: Path) -> Mapping[str, str]:
        """Move a snapshot to `folder`, which is empty. Gives what has to be the same when it is recalled, by name."""
        if not isinstance(snapshot, QemuSnapshot):
            raise UserFault("this snapshot was not made by QEMU", hint="ask the driver that made it")
        put_away(snapshot.template, folder)
        return await anyio.to_thread.run_sync(made_with, snapshot.plan)

    async def recall(self, folder: Path, config: VmConfig, were: Mapping[str, str]) -> QemuSnapshot:
        """Give the snapshot whose files are in `folder`.

        Raises:
            UserFault: QEMU, kernel, agent, image or disk is not the one that it was made with.
        """
        plan = await self._plan(config)
        unlike(were, await anyio.to_thread.run_sync(made_with, plan), name=folder.name)
        return QemuSnapshot(id=folder.name, plan=plan, template=Template(folder=folder))

    async def migrate(self, instance: VmInstance, *, to: str = HERE) -> QemuInstance:
        """Move the guest to another process on this machine; the programs in it go on, and so does who follows them.

        Raises:
            UserFault: it is not a guest of ours, or `to` is not "here".
            HostFault: this QEMU cannot, or fails.
        """
        if not isinstance(instance, QemuInstance) or to != HERE:
            raise UserFault(f"a guest of QEMU cannot be moved to '{to}'", hint=f"the one place is '{HERE}', so far")
        if not instance.plan.program.accelerator.can_migrate:
            raise HostFault("QEMU moves no guest under WHPX", hint="use accelerator='tcg'")
        return QemuInstance(await moved(instance.machine, instance.plan), instance.plan)

    async def receive(self, config: VmConfig, *, listen: str, key: bytes) -> QemuReceiver:
        """Listen at HOST:PORT, port 0 for any, for a guest of this configuration from a sender with the same key.

        Raises:
            UserFault: it cannot be listened there, the key is too short, or such a guest cannot move.
            HostFault: this machine or QEMU cannot.
        """
        return await receiver(await self._plan(config), listen=listen, key=key)

    async def send(self, instance: VmInstance, *, to: str, key: bytes) -> None:
        """Move the guest to the receiver at HOST:PORT, and end it here when it lives there; else it goes on here.

        Raises:
            UserFault: nobody waits there, for another guest or with another key, or the guest cannot move.
            HostFault: a QEMU or the way between fails; where the guest is lost by that, it says so.
            Transient: it takes too long.
        """
        if not isinstance(instance, QemuInstance):
            raise UserFault("this guest does not run under QEMU", hint="ask the driver that spawned it")
        await sent(instance.machine, instance.plan, to=to, key=key)

    async def _plan(self, config: VmConfig) -> Blueprint:
        program = await self.program()
        if (why := missing_parts()) is not None:
            raise HostFault(why)
        return await anyio.to_thread.run_sync(blueprint, program, config)

    async def _fresh(self, plan: Blueprint) -> Machine:
        machine = await self._made(plan, time.monotonic())
        async with stopped_at_failure(machine):
            for _ in range(WARM_TIMES):
                await machine.guest.warm()
            await machine.guest.refresh()
        return machine

    async def _made(self, plan: Blueprint, began: float) -> Machine:
        if not plan.program.accelerator.can_migrate:
            return await booted(plan, began=began)
        if (template := template_of(plan.key)) is not None:
            return await cloned(plan, template, began=began)
        async with one_at_a_time(plan.key, within_s=MAKE_WITHIN_S):
            template = template_of(plan.key) or await booted_template(plan)
        machine = await cloned(plan, template, began=began)
        machine.spawned_from = "boot"
        return machine


def _tidy() -> None:
    clear_orphans()
    tidy("templates")
    tidy("snapshots")


def _pool_key(plan: Blueprint) -> str:
    config = plan.config
    return f"{plan.key} {sorted(config.environment.items())} {config.deadline_s} {config.movable}"
