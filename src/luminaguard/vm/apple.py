"""The driver for Apple's Virtualization.framework: through vfkit where it is on PATH, else through our signed helper.

A process needs the entitlement com.apple.security.virtualization to start a guest, and a stock Python has none. vfkit
is distributed signed. For the helper, a copy of this Python is signed once, for this machine alone.

Nothing of this was run on a Mac yet. What is built here is tested everywhere; what runs there is not.
"""

import asyncio
import importlib.util
import json
import os
import platform
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from luminaguard.host.process import run, run_blocking
from luminaguard.model.faults import HostFault, UserFault
from luminaguard.vm.agent_binary import agent_initrd, missing_agent
from luminaguard.vm.answering import (
    Attach,
    GuestSide,
    Instance,
    attach,
    channel_variables,
    disks_of,
    settle,
)
from luminaguard.vm.apple_config import Files, codesign_command, entitlements, helper_spec, vfkit_command
from luminaguard.vm.base import Abilities, VmConfig
from luminaguard.vm.minded import start, while_it_runs
from luminaguard.vm.mux import checked
from luminaguard.vm.places import cache_folder
from luminaguard.vm.running import Place

LOOK_AGAIN_S = 0.005
SIGN_WITHIN_S = 60.0
NEWEST_TOO_OLD = 12
"""Older macOS has the framework, but this was written against the interfaces of 13."""
HELPER = Path(__file__).with_name("apple_helper.py")
IMAGE_MAGIC = b"ARMd"
IMAGE_MAGIC_AT = 56


@dataclass(slots=True, kw_only=True)
class Apple:
    """Guests in Virtualization.framework.

    Args:
        attach: begins to talk with the agent.
        initrd: gives the initial file system with the guest agent.
        kernel: the kernel of guests that name none: uncompressed, with virtio over PCI built in.
        vfkit: where vfkit is; looked up on PATH if None.
    """

    attach: Attach = attach
    initrd: Callable[[], Path] = agent_initrd
    kernel: Path | None = None
    vfkit: Path | None = None
    name: str = "apple"
    _found: list[str | None] = field(default_factory=list)

    async def missing(self) -> str | None:
        """Say why it cannot be used here and what to do about it, or None; found out once."""
        if not self._found:
            self._found.append(await anyio.to_thread.run_sync(self._missing))
        return self._found[0]

    async def abilities(self) -> Abilities:
        """Say what it can do here."""
        return Abilities(snapshot=False, cow_clone=False, live_migrate=False, live_mount=False, hardware=True)

    async def spawn(self, config: VmConfig) -> Instance:
        """Boot a guest and wait for its first answer."""
        since = time.monotonic()
        checked(config.forwards)
        if why := await self.missing():
            raise HostFault(why)
        kernel = fitting_kernel(config.kernel or self.kernel)
        initrd = await anyio.to_thread.run_sync(self.initrd)
        place = Place()
        folder = Path(tempfile.mkdtemp(prefix="lg-"))
        try:
            disks = await self._disks(config, folder)
            sockets = {"agent_socket": folder / "agent.sock", "mux_socket": folder / "mux.sock"}
            files = Files(kernel=kernel, initrd=initrd, disks=disks, **sockets)
            command = await anyio.to_thread.run_sync(self._command, config, files)
            env = helper_environment()
            minded = await start(command, folder=folder, life_s=config.deadline_s, cwd=folder, env=env)
            place.write(pid=minded.pid, hypervisor=self.name, spawned_from="boot")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            place.close()
            raise

        async def answer() -> GuestSide:
            variables = {**config.environment, **channel_variables(config.channels)}
            guest = await self.attach(await greeted(files.agent_socket), variables)
            await settle(guest, config, lambda: greeted(files.mux_socket))
            return guest

        try:
            guest = await while_it_runs(minded, answer, what="the guest", within_s=config.boot_timeout_s)
        except BaseException:
            await minded.stop()
            place.close()
            raise
        return Instance(
            place=place,
            socket_path=files.agent_socket,
            spawn_time_ms=(time.monotonic() - since) * 1000,
            spawned_from="boot",
            config=config,
            minded=minded,
            guest=guest,
        )

    def _missing(self) -> str | None:
        if platform.system() != "Darwin":
            return "Virtualization.framework is a part of macOS (use the driver 'qemu')"
        if int(platform.mac_ver()[0].partition(".")[0] or 0) <= NEWEST_TOO_OLD:
            return f"macOS {platform.mac_ver()[0]} is too old (13 is needed; or use the driver 'qemu')"
        if self._vfkit() is None and importlib.util.find_spec("Virtualization") is None:
            return (
                "there is neither vfkit nor PyObjC (`brew install vfkit`, or install pyobjc-framework-Virtualization)"
            )
        if self.kernel is None:
            return "the pinned kernel has no virtio over PCI, which Apple's guests need (name another one)"
        return missing_agent()

    def _vfkit(self) -> Path | None:
        found = shutil.which("vfkit")
        return self.vfkit or (Path(found) if found else None)

    def _command(self, config: VmConfig, files: Files) -> tuple[str, ...]:
        if (vfkit := self._vfkit()) is not None:
            return vfkit_command(vfkit, config, files)
        spec = json.dumps(helper_spec(config, files))
        return (str(signed_python()), "-s", "-P", str(HELPER), spec)

    async def _disks(self, config: VmConfig, folder: Path) -> dict[str, Path]:
        """Give the disks' files. vfkit knows no read-only ones: it gets a copy that goes with the guest."""
        disks = disks_of(config)
        if self._vfkit() is None:
            return {name: disk.path.resolve() for name, disk in disks.items()}
        return {
            name: disk.path.resolve() if disk.writable else await _cloned(disk.path, folder / name)
            for name, disk in disks.items()
        }


def fitting_kernel(kernel: Path | None) -> Path:
    """Give the kernel if Virtualization.framework can boot it.

    Raises:
        UserFault: none is named, it is not there, or it is compressed, on which the framework hangs without a word.
    """
    if kernel is None:
        raise UserFault("Apple's guests need a kernel with virtio over PCI", hint="name one; the pinned one has none")
    try:
        with kernel.open("rb") as file:
            head = file.read(IMAGE_MAGIC_AT + len(IMAGE_MAGIC))
    except FileNotFoundError:
        raise UserFault(f"there is no kernel {kernel}") from None
    if platform.machine() == "arm64" and head[IMAGE_MAGIC_AT:] != IMAGE_MAGIC:
        raise UserFault(f"{kernel} is no uncompressed arm64 Image", hint="unpack it, for example with gunzip")
    return kernel


async def greeted(agent_socket: Path) -> socket.socket:
    """Connect until the guest's agent has said its first byte, which stays to be read; the caller holds the deadline.

    While nobody listens in the guest, both vfkit and the helper take a connection and close it again.
    """
    loop = asyncio.get_running_loop()
    while True:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(0)
        try:
            await loop.sock_connect(connection, str(agent_socket))
            await anyio.wait_readable(connection)
            if connection.recv(1, socket.MSG_PEEK):
                return connection
        except OSError:
            pass  # the socket is not there yet, or the connection was cut
        except BaseException:
            connection.close()
            raise
        connection.close()
        await anyio.sleep(LOOK_AGAIN_S)


def signed_python() -> Path:
    """Give a copy of this Python that may start guests, signed at the first call.

    Raises:
        HostFault: it cannot be signed, or the copy does not run; vfkit is the way out.
    """
    made = cache_folder("apple") / f"python-{platform.python_version()}"
    if made.exists():
        return made
    with tempfile.TemporaryDirectory(dir=made.parent, prefix=".making-") as name:
        program, wanted = Path(name) / "python", Path(name) / "entitlements"
        shutil.copy(_own_program(), program)
        wanted.write_bytes(entitlements())
        for command in (codesign_command(program, wanted), (str(program), "-s", "-P", "-c", "import Virtualization")):
            ran = run_blocking(command, env=helper_environment(), timeout_s=SIGN_WITHIN_S)
            if ran.exit_code != 0:
                raise HostFault(
                    f"`{' '.join(command[:2])} ...` failed: {ran.err.decode(errors='replace').strip()[-300:]}",
                    hint="install vfkit, which comes signed: `brew install vfkit`",
                )
        program.rename(made)
    return made


def helper_environment() -> dict[str, str]:
    """Give the environment of the helper: a copied Python finds neither its library nor PyObjC by itself."""
    spec = importlib.util.find_spec("objc")
    found = {"PYTHONPATH": str(Path(spec.origin).parent.parent)} if spec is not None and spec.origin else {}
    return {**os.environ, "PYTHONHOME": sys.base_prefix, **found}


def _own_program() -> Path:
    # A framework build's bin/python starts this one anew, and only that one counts for the signature.
    inner = Path(sys.base_prefix) / "Resources/Python.app/Contents/MacOS/Python"
    return inner if inner.exists() else Path(sys.executable).resolve()


async def _cloned(source: Path, target: Path) -> Path:
    # -c: APFS shares the blocks, so a copy of any size takes no time and no room.
    ran = await run(("cp", "-c", str(source), str(target)))
    if ran.exit_code != 0:
        raise HostFault(f"{source} cannot be cloned: {ran.err.decode(errors='replace').strip()}")
    target.chmod(0o600)
    return target
