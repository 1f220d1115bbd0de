"""All that QEMU needs for a configuration, and a key that is the same for the same guest."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from luminaguard.model.faults import UserFault
from luminaguard.vm.agent_binary import agent_binary, agent_initrd
from luminaguard.vm.base import Disk, VmConfig
from luminaguard.vm.clock import tsc_khz
from luminaguard.vm.jail import Bind
from luminaguard.vm.kernel import Kernel, kernel_for
from luminaguard.vm.mux import checked
from luminaguard.vm.qemu_command import MMIO_SLOTS, Boot, Drive, Hardware, command_line
from luminaguard.vm.qemu_program import Program

FORMAT = 1
INSIDE = "/vm"
LEAST_MIB, MOST_MIB = 64, 1 << 20
MOST_CPUS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """A configuration made concrete on this machine.

    `binds` has the drives; `boot_binds` what only a boot needs; `starter` is a program that binds others to our life.
    """

    program: Program
    config: VmConfig
    hardware: Hardware
    boot: Boot
    binds: tuple[Bind, ...]
    boot_binds: tuple[Bind, ...]
    key: str
    starter: Path | None = None

    def inside(self, path: Path, name: str) -> str:
        """Give the path by which QEMU sees a file."""
        return _inside(self.program, path, name)

    @property
    def root(self) -> str | None:
        """The guest's device of the root image."""
        return "/dev/vda" if self.config.root else None

    @property
    def root_filesystem(self) -> str:
        """What the root image is."""
        return "erofs"

    def mounts(self, *, late: bool) -> tuple[tuple[str, Disk], ...]:
        """Give device and disk of what is to be mounted before a template is made of the guest, or only in a clone."""
        first = 1 if self.config.root else 0
        pairs = ((f"/dev/vd{chr(ord('a') + first + number)}", disk) for number, disk in enumerate(self.config.disks))
        return tuple((device, disk) for device, disk in pairs if disk.mount_at and disk.is_late == late)


def blueprint(program: Program, config: VmConfig) -> Blueprint:
    """Make a configuration concrete.

    Raises:
        UserFault: it cannot be.
        HostFault: kernel or agent cannot be had here.
    """
    _check(config)
    kernel, agent = kernel_for(config.kernel), agent_binary()
    disks = (*((Disk(path=config.root),) if config.root else ()), *config.disks)
    named = [(f"d{number}", disk) for number, disk in enumerate(disks)]
    image = agent_initrd()
    hardware = Hardware(
        arch=program.arch,
        accelerator=program.accelerator,
        memory_mib=config.memory_mib,
        vcpus=config.vcpus,
        drives=tuple(
            Drive(file=_inside(program, disk.path.resolve(), name), is_writable=disk.writable) for name, disk in named
        ),
        channels=tuple(channel.name for channel in config.channels),
        has_seccomp=program.has_seccomp,
    )
    line = command_line(arch=program.arch, accelerator=program.accelerator, tsc_khz=_tsc_khz(program))
    return Blueprint(
        program=program,
        config=config,
        hardware=hardware,
        boot=Boot(
            kernel=_inside(program, kernel.path, "kernel"), initrd=_inside(program, image, "initrd"), command_line=line
        ),
        binds=tuple(
            Bind(source=disk.path.resolve(), inside=f"{INSIDE}/{name}", is_writable=disk.writable)
            for name, disk in named
        ),
        boot_binds=(
            Bind(source=kernel.path, inside=f"{INSIDE}/kernel"),
            Bind(source=image, inside=f"{INSIDE}/initrd"),
        ),
        key=_key(program, hardware, line, kernel, agent, disks),
        starter=agent,
    )


def _inside(program: Program, path: Path, name: str) -> str:
    return f"{INSIDE}/{name}" if program.bwrap else str(path)


def _check(config: VmConfig) -> None:
    checked(config.forwards)
    if not LEAST_MIB <= config.memory_mib <= MOST_MIB:
        raise UserFault(f"a guest cannot have {config.memory_mib} MiB", hint=f"give it {LEAST_MIB} or more")
    if not 1 <= config.vcpus <= MOST_CPUS:
        raise UserFault(f"a guest cannot have {config.vcpus} processors", hint=f"give it 1 to {MOST_CPUS}")
    if len(config.disks) + bool(config.root) > MMIO_SLOTS - 1:
        raise UserFault(f"a guest can have {MMIO_SLOTS - 1} disks with its root, not more", hint="put them into one")
    for disk in (*config.disks, *((Disk(path=config.root),) if config.root else ())):
        if not disk.path.is_file() or "," in str(disk.path):
            raise UserFault(f"the disk {disk.path} is not there, or has a comma in its name", hint="name a file")


def _tsc_khz(program: Program) -> int:
    # Rounded, for a measurement differs a little each time and the key must not.
    return 0 if program.accelerator.is_hardware else round(tsc_khz() / 1000) * 1000


def _key(  # noqa: PLR0917 called once, right above
    program: Program, hardware: Hardware, line: str, kernel: Kernel, agent: Path, disks: tuple[Disk, ...]
) -> str:
    found = program.path.stat()
    parts = (
        FORMAT,
        [str(program.path), found.st_size, found.st_mtime_ns, *program.version],
        asdict(hardware),
        line.split("tsc_early_khz", maxsplit=1)[0],
        [kernel.digest, agent.name],
        [_identity(disk) for disk in disks],
    )
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _identity(disk: Disk) -> list[object]:
    found = disk.path.stat()
    if disk.is_late:  # mounted after the restore; the guest remembers nothing of it but its size
        return [found.st_size, disk.writable]
    return [str(disk.path.resolve()), found.st_size, disk.mount_at, disk.filesystem, found.st_mtime_ns, found.st_ino]
