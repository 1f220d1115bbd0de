"""A guest under QEMU, as its user holds it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from luminaguard.vm.base import Execution, Result, SpawnedFrom, VmConfig
from luminaguard.vm.qemu_blueprint import Blueprint
from luminaguard.vm.qemu_machine import Machine


class QemuInstance:
    """A running guest. `async with` it, or `stop` it."""

    def __init__(self, machine: Machine, plan: Blueprint) -> None:
        """Take a machine whose guest answers."""
        self.machine = machine
        self.plan = plan

    @property
    def id(self) -> str:
        """Its name, unique on this machine."""
        return self.machine.id

    @property
    def pid(self) -> int:
        """The process that is the virtual machine."""
        return self.machine.pid

    @property
    def socket_path(self) -> Path:
        """A path that does not exist: QEMU's control channel is inherited, nobody else can reach it."""
        return self.machine.folder / "qmp"

    @property
    def spawn_time_ms(self) -> float:
        """From the call of `spawn` to the first answer of the guest."""
        return self.machine.spawn_time_ms

    @property
    def spawned_from(self) -> SpawnedFrom:
        """How it came to be."""
        return self.machine.spawned_from

    @property
    def config(self) -> VmConfig:
        """What it is."""
        return self.plan.config

    @property
    def is_alive(self) -> bool:
        """Whether it can still be spoken to."""
        return self.machine.is_alive

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
        return await self.machine.guest.exec(argv, stdin=stdin, env=env, cwd=cwd, timeout_s=timeout_s)

    def start(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str = "/"
    ) -> AbstractAsyncContextManager[Execution]:
        """Run a program and follow it; it is killed when the block is left."""
        return self.machine.guest.start(argv, env=env, cwd=cwd)

    async def put(self, source: Path, target: str) -> None:
        """Copy a file or a tree into the guest."""
        await self.machine.guest.put(source, target)

    async def get(self, source: str, target: Path) -> None:
        """Copy a file or a tree out of the guest."""
        await self.machine.guest.get(source, target)

    async def stop(self) -> None:
        """End the guest at once and remove all that belongs to it. A second call does nothing."""
        await self.machine.stop()

    async def __aenter__(self) -> "QemuInstance":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
