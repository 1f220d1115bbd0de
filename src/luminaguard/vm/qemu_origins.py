"""How a guest under QEMU comes to be: by a boot, as a clone of a template, or frozen from one that runs."""

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio

from luminaguard.model.ids import Json
from luminaguard.vm.frames import Say
from luminaguard.vm.jail import Bind
from luminaguard.vm.qemu_blueprint import INSIDE, Blueprint
from luminaguard.vm.qemu_command import Boot, Memory
from luminaguard.vm.qemu_machine import Machine, Start
from luminaguard.vm.qemu_memory import GuestMemory, cloned_memory, shared_memory
from luminaguard.vm.qemu_templates import SAVE_WITHIN_S, Template, keep, new_folder, save
from luminaguard.vm.qmp import Qmp, capabilities


@contextlib.asynccontextmanager
async def stopped_at_failure(machine: Machine) -> AsyncIterator[None]:
    """Stop a machine if the block does not end well."""
    try:
        yield
    except BaseException:
        with anyio.CancelScope(shield=True):
            await machine.stop()
        raise


async def booted(plan: Blueprint, *, began: float) -> Machine:
    """Boot a guest from nothing, with its root and all of its disks.

    Raises:
        HostFault: QEMU cannot.
        UserFault: a disk is not what the configuration says.
        Transient: it did not boot in time.
    """
    with shared_memory(plan) if plan.config.movable else contextlib.nullcontext(GuestMemory()) as memory:
        machine = await Machine.begin(start_of(plan, memory, boot=plan.boot), began=began)
    async with stopped_at_failure(machine):
        await machine.guest.link.greeted(within_s=plan.config.boot_timeout_s)
        machine.answered("boot")
        await machine.guest.refresh()
        await _settle(machine, plan)
        await _mount(machine, plan, late=True)
        await machine.forward(plan.config.forwards)
    return machine


async def booted_template(plan: Blueprint) -> Template:
    """Boot a guest once, and keep it as the template of all that are like it. Nothing but the agent has run in it."""
    with new_folder("templates") as folder:
        start = replace(start_of(plan, _in_file(folder, plan), boot=plan.boot), is_template=True)
        machine = await Machine.begin(start, began=time.monotonic())
        try:
            await machine.guest.link.greeted(within_s=plan.config.boot_timeout_s)
            await _settle(machine, plan)
            await machine.guest.warm()
            await machine.guest.watch()
            await save(machine.qmp, folder / "state", with_memory=False)
        finally:
            await machine.stop()
        return keep(folder, plan.key)


def _in_file(folder: Path, plan: Blueprint) -> GuestMemory:
    path = folder / "memory"
    with path.open("wb") as file:
        file.truncate(plan.config.memory_mib << 20)
    bind = Bind(source=path, inside=f"{INSIDE}/memory", is_writable=True)
    return GuestMemory(backend=Memory(file=plan.inside(path, "memory"), is_shared=True), binds=(bind,))


async def cloned(plan: Blueprint, template: Template, *, began: float, is_frozen: bool = False) -> Machine:
    """Begin a guest from a template. Everything is said ahead: there is no waiting for one answer before the next word.

    Args:
        plan: what the guest is.
        template: of such a guest; one that sits there untouched.
        began: when the caller was asked for it.
        is_frozen: whether programs stand still in it.

    Raises:
        HostFault: QEMU cannot.
        Transient: it does not answer in time.
    """
    async with cloned_memory(plan, template) as memory:
        machine = await Machine.begin(start_of(plan, memory, boot=None), began=began)
        async with stopped_at_failure(machine):
            answers = incoming(machine.qmp, memory.state, ignore_shared=True)
            first, refreshed = machine.guest.link.ask_ahead(Say.PING), machine.guest.link.refresh()
            await machine.guest.link.answer(first, within_s=plan.config.boot_timeout_s)
            machine.answered("snapshot")
            await machine.guest.refreshed(refreshed)
            for command, answer in answers:
                await machine.qmp.answer(command, answer)
            await machine.forward(plan.config.forwards)  # before anything runs
            if is_frozen:
                await machine.guest.freeze(is_frozen=False)
            await _mount(machine, plan, late=True)
    return machine


def incoming(qmp: Qmp, state: int, *, ignore_shared: bool) -> list[tuple[str, "asyncio.Future[Json]"]]:
    """Tell a new QEMU what to begin from, without waiting; gives what to wait for."""
    said: dict[str, dict[str, Json]] = {
        "migrate-set-capabilities": capabilities({"x-ignore-shared": ignore_shared, "events": True}),
        "migrate-incoming": {"uri": f"fd:{state}"},
    }
    return [(command, qmp.tell(command, arguments)) for command, arguments in said.items()]


async def frozen(machine: Machine, plan: Blueprint) -> Template:
    """Freeze a guest that runs, and keep it as a template; the guest goes on.

    What it wrote is in no file of its own. So its memory goes through a stream into a second QEMU with a memory file,
    which says nothing to it and writes down the state again.
    """
    with new_folder("snapshots") as folder:
        await _write_down(machine, plan, folder / "stream")
        state = os.open(folder / "stream", os.O_RDONLY | os.O_CLOEXEC)
        try:
            memory = replace(_in_file(folder, plan), state=state)
            start = replace(start_of(plan, memory, boot=None), is_template=True)
            second = await Machine.begin(start, began=time.monotonic())
        except BaseException:
            os.close(state)
            raise
        try:
            for command, answer in incoming(second.qmp, state, ignore_shared=False):
                await second.qmp.answer(command, answer)
            await second.qmp.migrated(within_s=SAVE_WITHIN_S)
            if stands_still(plan):
                await second.qmp.resume()
            await second.guest.link.ask(Say.PING, within_s=plan.config.boot_timeout_s)
            await second.guest.watch()
            await save(second.qmp, folder / "state", with_memory=False)
        finally:
            os.close(state)
            await second.stop()
        (folder / "stream").unlink()
        return keep(folder, f"snap-{secrets.token_hex(6)}")


async def _write_down(machine: Machine, plan: Blueprint, path: Path) -> None:
    await machine.guest.freeze(is_frozen=True)
    try:
        if stands_still(plan):
            await machine.qmp.ask("stop")
        await save(machine.qmp, path, with_memory=True)
    finally:
        with anyio.CancelScope(shield=True):
            await machine.qmp.resume()
        with anyio.CancelScope(shield=True):
            await machine.guest.freeze(is_frozen=False)


def stands_still(plan: Blueprint) -> bool:
    """Tell whether a guest must be stopped while its memory is read.

    Under emulation QEMU marks a page as changed before it changes it: what is read in between is old, and is not read
    again. We saw guests arrive with such pages.
    """
    return not plan.program.accelerator.is_hardware


def start_of(plan: Blueprint, memory: GuestMemory, *, boot: Boot | None) -> Start:
    """Give what a QEMU of this guest is started from: a boot, or the state beside its memory."""
    return Start(
        program=plan.program.path,
        bwrap=plan.program.bwrap,
        hardware=plan.hardware,
        memory=memory.backend,
        boot=boot,
        binds=(*plan.binds, *(plan.boot_binds if boot else ()), *memory.binds),
        config=plan.config,
        starter=plan.starter,
        state=memory.state,
        memory_fd=memory.fd,
    )


async def _settle(machine: Machine, plan: Blueprint) -> None:
    if plan.root:
        await machine.guest.enter_root(plan.root, plan.root_filesystem)
    await _mount(machine, plan, late=False)


async def _mount(machine: Machine, plan: Blueprint, *, late: bool) -> None:
    for device, disk in plan.mounts(late=late):
        assert disk.mount_at is not None
        await machine.guest.mount(device, disk.mount_at, disk.filesystem, writable=disk.writable)
