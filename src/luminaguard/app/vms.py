"""Guests that run, for the command line: programs in them, listed, stopped, frozen, moved."""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import anyio.to_thread

from luminaguard.model.faults import Fault, UserFault
from luminaguard.vm.base import Execution, VmConfig
from luminaguard.vm.config_json import config_of
from luminaguard.vm.control import KEPT
from luminaguard.vm.image_names import names
from luminaguard.vm.images import default_cache
from luminaguard.vm.moving_key import read_key
from luminaguard.vm.named import Named, named_snapshots, new_name, remove
from luminaguard.vm.places import cache_folder
from luminaguard.vm.remote import About, RemoteInstance, folder_of, gone, reached
from luminaguard.vm.running import Listed, clear_orphans, listed, stop

ID_CHARS = 12

Program: TypeAlias = Execution
"""A program that runs in a guest: iterate for its output, then `exit_code` tells how it ended."""
Snapshot: TypeAlias = Named
Begun: TypeAlias = About
"""What the keeper of a guest says about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A guest that runs. `config` is None where its owner is another process that lets nobody else at it.

    `image`: the name of its root image, or how its id begins; "" where it has none or that is not known.
    """

    listed: Listed
    config: VmConfig | None
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Guests:
    """What runs now, and the ids of what killed owners left, which is cleared by now."""

    running: tuple[Guest, ...]
    cleared: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The ids of guests that were stopped, and of those that other processes own, which were left alone."""

    stopped: tuple[str, ...]
    left: tuple[str, ...]


@contextlib.asynccontextmanager
async def program(guest: str, argv: Sequence[str], *, env: Mapping[str, str], cwd: str) -> AsyncIterator[Program]:
    """Run a program in a guest that is kept, and follow it; it is killed when the block is left.

    Raises:
        UserFault: there is no such guest.
        HostFault: it is gone.
    """
    vm = await reached(guest)
    async with vm.start(argv, env=env, cwd=cwd) as running:
        yield running


def guests() -> Guests:
    """List what runs, oldest first; what killed owners left is ended and removed first."""
    cleared = clear_orphans()
    names_by_id = {image: name for name, image in names(default_cache()).items()}
    running = tuple(_guest(one, names_by_id) for one in listed() if not one.is_orphan)
    return Guests(running=running, cleared=cleared)


def _guest(one: Listed, names_by_id: Mapping[str, str]) -> Guest:
    config = _config(one.id)
    image = config.root.stem if config is not None and config.root is not None else ""
    return Guest(listed=one, config=config, image=names_by_id.get(image, image[:ID_CHARS]))


def _config(name: str) -> VmConfig | None:
    try:
        return config_of(json.loads((cache_folder("running") / name / KEPT).read_bytes())["config"])
    except (OSError, ValueError, KeyError, Fault):
        return None


async def stop_guests(names: Sequence[str]) -> Stopped:
    """Stop guests, whoever owns them.

    Raises:
        UserFault: there is no guest of a name; those before it are stopped.
        Transient: one does not go away.
    """
    for name in names:
        await _stop(name)
    return Stopped(stopped=tuple(names), left=())


async def stop_all_kept() -> Stopped:
    """Stop all guests that `spawn` and `restore` began; those of other processes are theirs."""
    running = (await anyio.to_thread.run_sync(guests)).running
    kept = tuple(one.listed.id for one in running if one.config is not None)
    for name in kept:
        with contextlib.suppress(UserFault):  # it ended meanwhile
            await _stop(name)
    return Stopped(stopped=kept, left=tuple(one.listed.id for one in running if one.config is None))


async def _stop(name: str) -> None:
    folder = folder_of(name)
    if not folder.exists():
        raise UserFault(f"there is no guest '{name}'", hint="`luminaguard vm list` shows what runs")
    if _config(name) is None:
        await anyio.to_thread.run_sync(stop, name)
        await gone(folder)
        return
    try:
        vm: RemoteInstance = await reached(name)
    except Fault:
        await anyio.to_thread.run_sync(stop, name)  # its keeper does not answer: the machine is ended without it
        await gone(folder)
        return
    await vm.stop()


async def snapshot(guest: str, name: str | None) -> str:
    """Freeze a guest, put the snapshot away under a name, and give that; the guest goes on, where QEMU runs it.

    Raises:
        UserFault: there is no such guest, the name is taken, or the guest cannot be frozen.
        HostFault: the hypervisor fails.
    """
    return await (await reached(guest)).snapshot(name or new_name())


def snapshots() -> tuple[Snapshot, ...]:
    """List the snapshots that were put away, oldest first."""
    return named_snapshots()


def remove_snapshot(name: str) -> None:
    """Remove a snapshot; guests that began from it go on.

    Raises:
        UserFault: there is none of this name.
    """
    remove(name)


async def migrate_here(guest: str) -> Begun:
    """Move a guest to another process on this machine; it has another id then.

    Raises:
        UserFault: there is no such guest, or its hypervisor moves none.
        HostFault: it fails; the guest goes on where it was.
    """
    return (await (await reached(guest)).migrate("here")).about


async def send(guest: str, to: str, *, key: Path) -> None:
    """Move a guest to the receiver at HOST:PORT on another machine.

    Raises:
        UserFault: there is no such guest, no such key, or the other side refuses; the guest goes on here.
        HostFault: it fails; the guest goes on here.
    """
    await (await reached(guest)).send(to, key=read_key(key))
