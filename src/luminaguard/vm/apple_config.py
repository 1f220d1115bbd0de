"""What a guest of Virtualization.framework is, as plain data: for vfkit's command line and for our own helper.

Both give the guest virtio over PCI, so the kernel must have that built in, and on Apple silicon it must be an
uncompressed Image. The pinned kernel has virtio over MMIO only and does not fit.
"""

import plistlib
from dataclasses import dataclass
from pathlib import Path

from luminaguard.model.faults import UserFault
from luminaguard.model.ids import Json
from luminaguard.vm.answering import AGENT_PORT, MUX_PORT, disks_of, port_of
from luminaguard.vm.base import VmConfig

ENTITLEMENT = "com.apple.security.virtualization"
COMMAND_LINE = f"console=hvc0 quiet panic=-1 luminaguard.channel=vsock:{AGENT_PORT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where a guest's files are: what it boots, and the sockets that lead to its agent and to its way out."""

    kernel: Path
    initrd: Path
    agent_socket: Path
    mux_socket: Path
    disks: dict[str, Path]


def vfkit_command(vfkit: Path, config: VmConfig, files: Files) -> tuple[str, ...]:
    """Give vfkit's command line.

    Raises:
        UserFault: a path has a comma or a quote in it, which vfkit's options cannot carry.
    """
    boot = f'linux,kernel={_plain(files.kernel)},initrd={_plain(files.initrd)},cmdline="{COMMAND_LINE}"'
    devices = [
        "virtio-rng",
        *(f"virtio-blk,path={_plain(files.disks[name])}" for name in disks_of(config)),
        *(f"virtio-vsock,port={port},socketURL={_plain(path)},connect" for port, path in _inward(config, files)),
        *(
            f"virtio-vsock,port={port_of(number)},socketURL={_plain(channel.socket)},listen"
            for number, channel in enumerate(config.channels)
        ),
    ]
    return (
        *(str(vfkit), "--cpus", str(config.vcpus), "--memory", str(config.memory_mib)),
        *("--restful-uri", "none://", "--bootloader", boot),
        *(word for device in devices for word in ("--device", device)),
    )


def helper_spec(config: VmConfig, files: Files) -> dict[str, Json]:
    """Give what our helper reads: JSON on its command line, as `apple_helper.Spec` says."""
    return {
        "kernel": str(files.kernel),
        "initrd": str(files.initrd),
        "command_line": COMMAND_LINE,
        "cpus": config.vcpus,
        "memory_bytes": config.memory_mib << 20,
        "disks": [
            {"path": str(files.disks[name]), "is_read_only": not disk.writable}
            for name, disk in disks_of(config).items()
        ],
        "inward": [{"port": port, "socket": str(path)} for port, path in _inward(config, files)],
        "channels": [
            {"port": port_of(number), "socket": str(channel.socket)} for number, channel in enumerate(config.channels)
        ],
    }


def _inward(config: VmConfig, files: Files) -> tuple[tuple[int, Path], ...]:
    """Give the ports of the guest that are called from here."""
    agent = (AGENT_PORT, files.agent_socket)
    return (agent, (MUX_PORT, files.mux_socket)) if config.forwards else (agent,)


def entitlements() -> bytes:
    """Give the property list that a program needs to be signed with to start virtual machines."""
    return plistlib.dumps({ENTITLEMENT: True})


def codesign_command(program: Path, entitlements_file: Path) -> tuple[str, ...]:
    """Give the command that signs a program for this machine alone, which needs no certificate."""
    return ("codesign", "--force", "--sign", "-", "--entitlements", str(entitlements_file), str(program))


def _plain(path: Path) -> str:
    text = str(path)
    if "," in text or '"' in text:
        raise UserFault(f"vfkit cannot be told of {path}", hint="use a path without a comma or a quote")
    return text
