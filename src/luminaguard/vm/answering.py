"""A guest behind a stream of bytes, for drivers whose hypervisor is a program of its own: what they share.

Such a driver starts the program under `minded`, reaches the guest agent through a socket, hands it to an `Attach`, and
has an instance.
"""

import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import anyio

from luminaguard.vm.base import Disk, Execution, Result, SpawnedFrom, VmConfig
from luminaguard.vm.minded import Minded
from luminaguard.vm.running import Place

FAREWELL_S = 1.0


class GuestSide(Protocol):
    """The guest agent at the other end of a socket that this object has taken over."""

    async def exec(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        timeout_s: float = 60.0,
    ) -> Result:
        """Do as `VmInstance.exec` does."""

    def start(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str = "/"
    ) -> AbstractAsyncContextManager[Execution]:
        """Do as `VmInstance.start` does."""

    async def put(self, source: Path, target: str) -> None:
        """Do as `VmInstance.put` does."""

    async def get(self, source: str, target: Path) -> None:
        """Do as `VmInstance.get` does."""

    async def enter_root(self, device: str, filesystem: str) -> None:
        """Make a block device the guest's root, with a writable layer in memory over it."""

    async def mount(self, device: str, target: str, filesystem: str, *, writable: bool) -> None:
        """Mount a block device."""

    async def refresh(self) -> None:
        """Give the guest fresh entropy and the right time."""

    async def aclose(self) -> None:
        """Close the connection."""


Attach = Callable[[socket.socket, Mapping[str, str]], Awaitable[GuestSide]]
"""Takes a connected socket over, waits for the agent's greeting, and uses the variables for every program."""


@dataclass(slots=True, kw_only=True)
class Instance:
    """A running guest of a driver that has a program for each."""

    place: Place
    socket_path: Path
    spawn_time_ms: float
    spawned_from: SpawnedFrom
    config: VmConfig
    minded: Minded
    guest: GuestSide

    @property
    def id(self) -> str:
        """Its name, unique on this machine."""
        return self.place.id

    @property
    def pid(self) -> int:
        """The process that is the virtual machine."""
        return self.minded.pid

    async def exec(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        timeout_s: float = 60.0,
    ) -> Result:
        """Run a program to its end; it is killed and `Transient` raised at the deadline."""
        return await self.guest.exec(argv, stdin=stdin, env=env, cwd=cwd, timeout_s=timeout_s)

    def start(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str = "/"
    ) -> AbstractAsyncContextManager[Execution]:
        """Run a program and follow it; it is killed when the block is left."""
        return self.guest.start(argv, env=env, cwd=cwd)

    async def put(self, source: Path, target: str) -> None:
        """Copy a file or a tree into the guest."""
        await self.guest.put(source, target)

    async def get(self, source: str, target: Path) -> None:
        """Copy a file or a tree out of the guest."""
        await self.guest.get(source, target)

    async def stop(self) -> None:
        """End the guest at once and remove all that belongs to it. A second call does nothing."""
        with anyio.move_on_after(FAREWELL_S, shield=True):
            await self.guest.aclose()
        await self.minded.stop()
        self.place.close()

    async def __aenter__(self) -> "Instance":
        """Stop it when the block is left."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop it."""
        await self.stop()


async def settle(guest: GuestSide, *, root: str | None, disks: Sequence[tuple[str, Disk]]) -> None:
    """Give a guest that has just booted its root and its disks.

    Args:
        guest: it has only its agent so far.
        root: the device of the root image, None where there is none.
        disks: device and disk, for all that are more than the root.
    """
    if root is not None:
        await guest.enter_root(root, "erofs")
    for device, disk in disks:
        if disk.mount_at is not None:
            await guest.mount(device, disk.mount_at, disk.filesystem, writable=disk.writable)
