"""The Firecracker driver: a micro-VM for machines with KVM, configured over its API, reached over its vsock.

A snapshot ends the guest that it was taken of: Firecracker cuts its vsock connections at that moment anyway. Guests
that are restored map the snapshot's memory and copy what they write.
"""

import asyncio
import functools
import os
import platform
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from luminaguard.host.process import run
from luminaguard.model.faults import Fault, HostFault, UserFault
from luminaguard.vm.agent_binary import agent_initrd, missing_agent
from luminaguard.vm.answering import (
    AGENT_PORT,
    MUX_PORT,
    Attach,
    GuestSide,
    Instance,
    attach,
    channel_variables,
    settle,
)
from luminaguard.vm.base import Abilities, SpawnedFrom, VmConfig, VmInstance
from luminaguard.vm.base import Snapshot as AnySnapshot
from luminaguard.vm.firecracker_api import (
    INITRD,
    KERNEL,
    MEMORY,
    STATE,
    VSOCK_SOCKET,
    Api,
    Call,
    boot_calls,
    freeze_calls,
    restore_calls,
)
from luminaguard.vm.firecracker_jail import Home, Programs
from luminaguard.vm.kernel import kernel_for, missing_kernel
from luminaguard.vm.kvm_probe import kvm_missing
from luminaguard.vm.minded import start, while_it_runs
from luminaguard.vm.mux import checked
from luminaguard.vm.running import Place

OLDEST = (1, 7)
"""Older ones have long been out of support; nobody should put strangers behind them."""
LOOK_AGAIN_S = 0.002
LONGEST_LINE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class FirecrackerSnapshot:
    """A frozen guest: a folder with its memory and the state of its devices, read-only."""

    id: str
    config: VmConfig
    folder: Path

    def remove(self) -> None:
        """Remove it; guests that began from it keep what they have mapped."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _seal(path: Path) -> None:
    # The user inside the jail made it. A clone that broke out would be that user too, and could write to what it owns.
    os.chown(path, os.getuid(), os.getgid())
    path.chmod(0o444)


def _kernel(chosen: Path | None) -> Path:
    return kernel_for(chosen).path


@dataclass(slots=True, kw_only=True)
class Firecracker:
    """Guests in Firecracker.

    Args:
        attach: begins to talk with the agent.
        kernel: gives the kernel to boot, uncompressed: the one named, or the pinned one for None.
        initrd: gives the initial file system with the guest agent.
        programs: where Firecracker and its jailer are; looked up on PATH if None.
        folder: a short path for the guests' folders; the system's folder for temporary files if None.
    """

    attach: Attach = attach
    kernel: Callable[[Path | None], Path] = _kernel
    initrd: Callable[[], Path] = agent_initrd
    programs: Programs | None = None
    folder: Path | None = None
    name: str = "firecracker"
    _found: list[str | None] = field(default_factory=list)

    async def missing(self) -> str | None:
        """Say why it cannot be used here and what to do about it, or None; found out once."""
        if not self._found:
            self._found.append(await self._missing())
        return self._found[0]

    async def abilities(self) -> Abilities:
        """Say what it can do here."""
        return Abilities(snapshot=True, cow_clone=True, live_migrate=False, live_mount=False, hardware=True)

    async def spawn(self, config: VmConfig) -> Instance:
        """Boot a guest and wait for its first answer."""
        calls = boot_calls(config)
        checked(config.forwards)
        kernel = await anyio.to_thread.run_sync(self.kernel, config.kernel)
        files = {KERNEL: kernel, INITRD: await anyio.to_thread.run_sync(self.initrd)}
        begun = await self._begin(config, files, calls, spawned_from="boot")
        try:
            work = functools.partial(settle, begun.guest, config, _way_out(begun))
            await while_it_runs(begun.minded, work, what="the guest", within_s=config.boot_timeout_s)
        except BaseException:
            await begun.stop()
            raise
        return begun

    async def snapshot(self, instance: VmInstance) -> FirecrackerSnapshot:
        """Freeze a guest; it ends.

        Raises:
            UserFault: it has a writable disk, which all that begin from the snapshot would write at once.
        """
        assert isinstance(instance, Instance), "an instance of this driver"
        if any(disk.writable for disk in instance.config.disks):
            raise UserFault("a guest with a writable disk cannot be frozen", hint="give it read-only disks")
        folder = Path(tempfile.mkdtemp(prefix="lg-snapshot-", dir=self.folder))
        try:
            await instance.guest.aclose()
            await Api(socket_path=instance.socket_path).send(freeze_calls())
            for name in (STATE, MEMORY):
                await anyio.to_thread.run_sync(shutil.move, instance.socket_path.parent / name, folder / name)
                _seal(folder / name)
        except BaseException:
            shutil.rmtree(folder)
            raise
        finally:
            await instance.stop()
        return FirecrackerSnapshot(id=instance.id, config=instance.config, folder=folder)

    async def restore(self, snapshot: AnySnapshot) -> Instance:
        """Begin a guest from the snapshot: fresh entropy and the right time before anything runs in it."""
        assert isinstance(snapshot, FirecrackerSnapshot), "a snapshot of this driver"
        files = {name: snapshot.folder / name for name in (STATE, MEMORY)}
        begun = await self._begin(snapshot.config, files, restore_calls(), spawned_from="snapshot")

        async def refresh() -> None:
            await begun.guest.refresh()
            if snapshot.config.forwards:
                await begun.guest.forward(snapshot.config.forwards, _way_out(begun))

        try:
            within_s = snapshot.config.boot_timeout_s
            await while_it_runs(begun.minded, refresh, what="the guest", within_s=within_s)
        except BaseException:
            await begun.stop()
            raise
        return begun

    async def _begin(
        self, config: VmConfig, files: Mapping[str, Path], calls: Sequence[Call], *, spawned_from: SpawnedFrom
    ) -> Instance:
        since = time.monotonic()
        place = Place()
        base = Path(tempfile.mkdtemp(prefix="lg-", dir=self.folder))
        try:
            home = Home(id=place.id, base=base, programs=self.programs or found_programs())
            await anyio.to_thread.run_sync(home.furnish, config, files)
            minded = await start(home.command(), folder=base, life_s=config.deadline_s, cwd=home.root)
            place.write(pid=minded.pid, hypervisor=self.name, spawned_from=spawned_from)
        except BaseException:
            shutil.rmtree(base, ignore_errors=True)
            place.close()
            raise

        async def answer() -> GuestSide:
            api = Api(socket_path=home.api_socket)
            await api.ready()
            await api.send(calls)
            variables = {**config.environment, **channel_variables(config.channels)}
            return await self.attach(await connected(home.vsock_socket, port=AGENT_PORT), variables)

        try:
            guest = await while_it_runs(minded, answer, what="Firecracker", within_s=config.boot_timeout_s)
        except BaseException:
            await minded.stop()
            place.close()
            raise
        return Instance(
            place=place,
            socket_path=home.api_socket,
            spawn_time_ms=(time.monotonic() - since) * 1000,
            spawned_from=spawned_from,
            config=config,
            minded=minded,
            guest=guest,
        )

    async def _missing(self) -> str | None:
        if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
            return "Firecracker runs on Linux only, on x86-64 and arm64 (use the driver 'qemu')"
        try:
            programs = self.programs or found_programs()
            ran = await run((str(programs.firecracker), "--version"), timeout_s=10.0)
        except Fault as fault:
            return f"{fault.message} ({fault.hint})" if fault.hint else fault.message
        return too_old(ran.out) or missing_kernel() or missing_agent() or await anyio.to_thread.run_sync(kvm_missing)


def found_programs() -> Programs:
    """Find Firecracker on PATH, and its jailer where we are root, for only root can build a jail.

    Raises:
        HostFault: there is no Firecracker, or it has a name that its jailer does not take.
    """
    firecracker, jailer = shutil.which("firecracker"), shutil.which("jailer")
    if firecracker is None:
        raise HostFault(
            "there is no program firecracker",
            hint="put a release from github.com/firecracker-microvm/firecracker on PATH",
        )
    if jailer is None or os.getuid() != 0:
        return Programs(firecracker=Path(firecracker))
    program = Path(firecracker).resolve()
    if "firecracker" not in program.name:
        raise HostFault(
            f"the jailer runs no program named '{program.name}', which {firecracker} leads to",
            hint="let the name contain 'firecracker'",
        )
    return Programs(firecracker=program, jailer=Path(jailer))


def too_old(said: bytes) -> str | None:
    """Say why the Firecracker that says this of its version cannot be used, or None."""
    version = re.search(rb"Firecracker v(\d+)\.(\d+)", said)
    if version is None:
        return "the program firecracker does not say its version (is it another program of that name?)"
    if (int(version[1]), int(version[2])) < OLDEST:
        older = f"{int(version[1])}.{int(version[2])}"
        return f"Firecracker {older} is too old (install {OLDEST[0]}.{OLDEST[1]} or newer)"
    return None


async def connected(vsock: Path, *, port: int) -> socket.socket:
    """Connect to a port of the guest through Firecracker's socket; waits for a listener, the caller holds the deadline.

    Raises:
        HostFault: what answers is not Firecracker.
    """
    loop = asyncio.get_running_loop()
    while True:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(0)
        try:
            await loop.sock_connect(connection, str(vsock))
            await loop.sock_sendall(connection, f"CONNECT {port}\n".encode())
            answer = await _line(connection)
        except OSError:
            answer = b""
        except BaseException:
            connection.close()
            raise
        if re.fullmatch(rb"OK \d+\n", answer):
            return connection
        connection.close()
        if answer:
            raise HostFault(f"{vsock} answers {answer!r} where Firecracker says 'OK' and a port")
        await anyio.sleep(LOOK_AGAIN_S)  # nobody listens in the guest yet


def _way_out(instance: Instance) -> Callable[[], Awaitable[socket.socket]]:
    return functools.partial(connected, instance.socket_path.with_name(VSOCK_SOCKET), port=MUX_PORT)


async def _line(connection: socket.socket) -> bytes:
    # Byte by byte: what follows the line is the guest's already, and not ours to read.
    line = b""
    while not line.endswith(b"\n") and len(line) < LONGEST_LINE:
        byte = await asyncio.get_running_loop().sock_recv(connection, 1)
        if not byte:
            return b""
        line += byte
    return line
