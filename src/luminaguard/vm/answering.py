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

from luminaguard.model.faults import UserFault
from luminaguard.vm.base import Channel, Disk, Execution, Forward, Result, SpawnedFrom, VmConfig
from luminaguard.vm.guest_vm import GREETING_WITHIN_S, linked
from luminaguard.vm.minded import Minded
from luminaguard.vm.running import Place

AGENT_PORT = 5000
"""The vsock port that the guest agent listens on; on the host, the channels have the ones after it."""
MUX_PORT = AGENT_PORT - 1
"""The one that it listens on for what goes through forwards."""
ROOT = "root"
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

    async def forward(self, forwards: Sequence[Forward], connect: Callable[[], Awaitable[socket.socket]]) -> None:
        """Let ports of its loopback lead to sockets here; `connect` calls its `MUX_PORT`."""

    async def aclose(self) -> None:
        """Close the connections."""


Attach = Callable[[socket.socket, Mapping[str, str]], Awaitable[GuestSide]]
"""Takes a connected socket over, waits for the agent's greeting, and uses the variables for every program."""


async def attach(connection: socket.socket, variables: Mapping[str, str]) -> GuestSide:
    """Talk with our guest agent; the `Attach` of every real guest.

    Raises:
        Transient: the agent did not greet.
        HostFault: the guest is gone, or its agent is not ours.
    """
    guest = await linked(connection, variables)
    await guest.link.greeted(within_s=GREETING_WITHIN_S)
    return guest


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


async def settle(guest: GuestSide, config: VmConfig, connect: Callable[[], Awaitable[socket.socket]]) -> None:
    """Give a guest that has just booted, and has only its agent so far, its root, its disks and its way out.

    `connect` calls the guest's `MUX_PORT`.
    """
    if config.root is not None:
        await guest.enter_root(device_of(config, ROOT), "erofs")
    for name, disk in disks_of(config).items():
        if name != ROOT and disk.mount_at is not None:
            device = device_of(config, name)
            await guest.mount(device, disk.mount_at, disk.filesystem, writable=disk.writable)
    if config.forwards:
        await guest.forward(config.forwards, connect)


def disks_of(config: VmConfig) -> dict[str, Disk]:
    """Name the block devices of a guest, the root first."""
    root = {} if config.root is None else {ROOT: Disk(path=config.root)}
    return {**root, **{f"disk{number}": disk for number, disk in enumerate(config.disks)}}


def device_of(config: VmConfig, name: str) -> str:
    """Tell what the guest calls a block device."""
    number = list(disks_of(config)).index(name)
    if number >= 26:
        raise UserFault(f"a guest has at most 26 disks here, and '{name}' is one more", hint="put several into one")
    return f"/dev/vd{chr(ord('a') + number)}"


def port_of(number: int) -> int:
    """Tell the port of the host that the guest calls for its channel `number`, from 0."""
    return AGENT_PORT + 1 + number


def channel_variables(channels: tuple[Channel, ...]) -> dict[str, str]:
    """Tell programs in the guest where their channels are: $LUMINAGUARD_CHANNEL_<NAME> is `vsock:2:PORT`."""
    return {
        f"LUMINAGUARD_CHANNEL_{channel.name.upper().replace('-', '_')}": f"vsock:2:{port_of(number)}"
        for number, channel in enumerate(channels)
    }
