"""Guests begun for the command line: spawned, restored, taken from another machine."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import anyio

from luminaguard.app.vms import Begun, Program
from luminaguard.vm.all import DRIVERS
from luminaguard.vm.base import VmConfig
from luminaguard.vm.choosing import AUTO, chosen
from luminaguard.vm.kept import Kept
from luminaguard.vm.moving_key import made_key


async def spawn(config: VmConfig, *, driver: str = AUTO) -> Begun:
    """Start a guest that goes on without us.

    Raises:
        UserFault: the configuration cannot be, or there is no such driver.
        HostFault: no hypervisor works here, or it fails.
        Transient: the guest did not answer in time.
    """
    return (await Kept(DRIVERS, driver).spawn(config)).about


@contextlib.asynccontextmanager
async def program_in_new(
    config: VmConfig, argv: Sequence[str], *, env: Mapping[str, str], cwd: str, driver: str = AUTO
) -> AsyncIterator[Program]:
    """Run a program in a guest of its own, which ends with the block.

    Raises:
        UserFault: the configuration cannot be, or there is no such driver.
        HostFault: no hypervisor works here, or it fails.
        Transient: the guest did not answer in time.
    """
    vm = await (await chosen(DRIVERS, driver)).spawn(config)
    try:
        async with vm.start(argv, env=env, cwd=cwd) as running:
            yield running
    finally:
        with anyio.CancelScope(shield=True):
            await vm.stop()


async def restore(name: str) -> Begun:
    """Begin a guest from a snapshot; it goes on without us.

    Raises:
        UserFault: there is none of this name, or what it was made with has changed.
        HostFault: the hypervisor does not work here, or fails.
    """
    return (await Kept(DRIVERS).restore_named(name)).about


async def receive(
    config: VmConfig, listen: str, *, key: Path, told: Callable[[str], None], driver: str = AUTO
) -> Begun:
    """Wait at HOST:PORT for a guest of another machine; it goes on here without us.

    Args:
        config: what it is there, for it must be the same here.
        listen: HOST:PORT; port 0 is any.
        key: the file with the key that both sides have; made where there is none.
        told: hears the address.
        driver: which hypervisor takes it.

    Raises:
        UserFault: the address or the configuration cannot be.
        HostFault: the hypervisor does not work here, or fails.
    """
    kept = await Kept(DRIVERS, driver).receive(config, listen=listen, key=made_key(key), told=told)
    return kept.about
