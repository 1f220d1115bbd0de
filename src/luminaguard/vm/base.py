"""The seam of hypervisors: a configuration goes in, a running guest that answers comes out.

Raises `HostFault` where this machine or the hypervisor cannot, `UserFault` where the configuration cannot be,
`Transient` where a deadline passed.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

SpawnedFrom = Literal["pool", "snapshot", "boot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A file of this machine as a block device in the guest; `mount_at` None leaves it unmounted.

    `varies`: other guests of the same snapshot have another file of the same size in its place.
    """

    path: Path
    writable: bool = False
    mount_at: str | None = None
    filesystem: str = "erofs"
    varies: bool = False

    @property
    def is_late(self) -> bool:
        """Whether it is mounted in each guest by itself: what it holds is no part of a snapshot."""
        return self.writable or self.varies


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A byte stream between `name` in the guest and the Unix socket `socket` here, besides the agent's own."""

    name: str
    socket: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """A TCP port of the guest's own loopback that leads to the Unix socket `socket` here: a guest's one way out.

    `patience_s`: so long a connection waits for somebody to listen there, before it is reset.
    """

    port: int
    socket: Path
    patience_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VmConfig:
    """What a guest is.

    `kernel` None is the pinned one. `root` is a read-only image whose content becomes the guest's root, with a writable
    layer in memory over it; None leaves only the guest agent and an empty root. `environment` is that of every program
    started in it. `deadline_s` bounds the guest's whole life; it is killed then. `movable` gives it memory that can
    pass from one process to another: it moves within this machine in milliseconds, where others are copied as they
    move. For that it shares no memory with guests of its kind.
    """

    kernel: Path | None = None
    root: Path | None = None
    memory_mib: int = 256
    vcpus: int = 1
    disks: tuple[Disk, ...] = ()
    channels: tuple[Channel, ...] = ()
    forwards: tuple[Forward, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    deadline_s: float = 3600.0
    boot_timeout_s: float = 30.0
    movable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a driver can do here. `hardware`: guest code runs on the processor itself, as found out by running some."""

    snapshot: bool
    cow_clone: bool
    live_migrate: bool
    live_mount: bool
    hardware: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a program in the guest ended. `exit_code` is negative for a signal."""

    exit_code: int
    out: bytes
    err: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of what a program writes while it runs."""

    stream: Literal["out", "err"]
    data: bytes


class Execution(Protocol):
    """A program that runs in the guest. Iterate for its output; then `exit_code` tells how it ended."""

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""

    def __aiter__(self) -> AsyncIterator[Chunk]:
        """Give output as it comes, until the program has ended and all of it is out."""

    async def write(self, data: bytes) -> None:
        """Write to its standard input."""

    async def close_input(self) -> None:
        """End its standard input."""

    async def signal(self, number: int) -> None:
        """Send a signal to it and all that it started."""


class VmInstance(Protocol):
    """A running guest. `async with` it, or `stop` it; a guest never outlives the process that spawned it."""

    @property
    def id(self) -> str:
        """Its name, unique on this machine."""

    @property
    def pid(self) -> int:
        """The process that is the virtual machine."""

    @property
    def socket_path(self) -> Path:
        """The control socket (QMP, the REST API); a path that does not exist where the driver needs none."""

    @property
    def spawn_time_ms(self) -> float:
        """Measured from the call of `spawn` to the first answer of the guest."""

    @property
    def spawned_from(self) -> SpawnedFrom:
        """How it came to be."""

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

    def start(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str = "/"
    ) -> AbstractAsyncContextManager[Execution]:
        """Run a program and follow it; it is killed when the block is left."""

    async def put(self, source: Path, target: str) -> None:
        """Copy a file or a tree into the guest: modes, symlinks and times are kept, owners become root."""

    async def get(self, source: str, target: Path) -> None:
        """Copy a file or a tree out of the guest into the new path `target`; nothing is written outside of it."""

    async def stop(self) -> None:
        """End the guest at once and remove all that belongs to it. A second call does nothing."""


class Hypervisor(Protocol):
    """One way to run guests."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""

    async def missing(self) -> str | None:
        """Say why it cannot be used here and what to do about it, or None; found out by trying, and kept."""

    async def abilities(self) -> Abilities:
        """Say what it can do here."""

    async def spawn(self, config: VmConfig) -> VmInstance:
        """Start a guest and wait for its first answer; from a pool or a snapshot of the same configuration if any."""


class Snapshot(Protocol):
    """A guest frozen at a moment, from which any number of guests begin. It is never written again."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def config(self) -> VmConfig:
        """What its guests are."""


class Snapshotting(Hypervisor, Protocol):
    """A hypervisor that can freeze a guest and begin others from it."""

    async def snapshot(self, instance: VmInstance) -> Snapshot:
        """Freeze a guest; the guest goes on or ends, as the driver says in its abilities."""

    async def restore(self, snapshot: Snapshot) -> VmInstance:
        """Begin a guest from the snapshot: fresh entropy and the right time before anything runs in it."""


class Migrating(Hypervisor, Protocol):
    """A hypervisor that moves a running guest to another process on this machine."""

    async def migrate(self, instance: VmInstance, *, to: str) -> VmInstance:
        """Move the guest; the programs in it go on. Returns it where it lives now."""


class Receiver(Protocol):
    """A place where one guest from another host may arrive. `async with` it, or `aclose` it."""

    @property
    def address(self) -> str:
        """Where it listens, as HOST:PORT."""

    async def arrived(self) -> VmInstance:
        """Wait until the guest lives here. Whoever is refused or fails leaves it waiting for another."""

    async def aclose(self) -> None:
        """Listen no more. A second call does nothing."""


class Sending(Hypervisor, Protocol):
    """A hypervisor that moves a running guest to another host. Nobody between the two can read or change it."""

    async def receive(self, config: VmConfig, *, listen: str, key: bytes) -> Receiver:
        """Listen at HOST:PORT, port 0 for any, for a guest of this configuration from a sender with the same key."""

    async def send(self, instance: VmInstance, *, to: str, key: bytes) -> None:
        """Move the guest to the receiver at HOST:PORT, and end it here when it lives there; else it goes on here.

        The programs in it go on. Those who follow them here hear a fault.
        """
