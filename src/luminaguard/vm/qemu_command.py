"""QEMU's command line: what a guest is, as arguments. Pure; the jail decides which paths these are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

AcceleratorName = Literal["kvm", "hvf", "whpx", "tcg"]
AGENT_PORT = "luminaguard.agent"
MUX_PORT = "luminaguard.mux"
"""For the guest's one way out; every guest has it, so that one template serves whatever is forwarded."""
MMIO_SLOTS = 8
"""microvm without ACPI: one interrupt line for each transport."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """What runs the guest's code."""

    name: AcceleratorName
    version: tuple[int, int] = (0, 0)

    @property
    def is_hardware(self) -> bool:
        """Whether guest code runs on the processor itself."""
        return self.name != "tcg"

    @property
    def can_migrate(self) -> bool:
        """Whether state can be saved. QEMU blocks migration under WHPX."""
        return self.name != "whpx"

    def arguments(self) -> list[str]:
        """Give `-accel` and `-cpu`."""
        if self.name == "tcg":
            # A small translation buffer: clones are many, and what they run is short.
            return ["-accel", "tcg,thread=multi,tb-size=32", "-cpu", "max"]
        if self.name == "whpx":
            # Before QEMU 11 its interrupt injection fails with the irqchip in the kernel; "max" hangs on some hosts.
            return ["-accel", "whpx,kernel-irqchip=off" if self.version < (11, 0) else "whpx", "-cpu", "host"]
        return ["-accel", self.name, "-cpu", "host"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The guest's memory: anonymous, or a file that is shared with it or private to it."""

    file: str = ""
    is_shared: bool = False
    is_read_only: bool = False

    def arguments(self, mib: int) -> list[str]:
        """Give the memory backend."""
        if not self.file:
            return ["-object", f"memory-backend-ram,id=m,size={mib}M"]
        text = f"memory-backend-file,id=m,size={mib}M,mem-path={self.file},share={'on' if self.is_shared else 'off'}"
        # From QEMU 9 a private mapping of a file that may only be read can be written all the same.
        return ["-object", text + (",readonly=on,rom=off" if self.is_read_only else "")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """A block device; the order of drives is that of the guest's /dev/vda, /dev/vdb, ..."""

    file: str
    is_writable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What to start: paths as QEMU sees them. None for a guest that comes from elsewhere."""

    kernel: str
    initrd: str
    command_line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What stays the same between a snapshot and its clones."""

    arch: str
    accelerator: Accelerator
    memory_mib: int
    vcpus: int
    drives: tuple[Drive, ...]
    channels: tuple[str, ...]
    has_seccomp: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Descriptors of sockets that QEMU inherits."""

    agent: int
    mux: int
    qmp: int
    channels: tuple[int, ...]


def arguments(hardware: Hardware, memory: Memory, ends: Ends, *, boot: Boot | None) -> list[str]:
    """Give QEMU's arguments, without the program itself."""
    machine = "microvm,acpi=off" if hardware.arch == "x86_64" else "virt"
    # Not merged: pages that guests share because they are alike tell one what another holds.
    found = ["-M", f"{machine},memory-backend=m,mem-merge=off", *hardware.accelerator.arguments()]
    found += ["-m", f"{hardware.memory_mib}M", "-smp", str(hardware.vcpus), *memory.arguments(hardware.memory_mib)]
    found += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    if hardware.has_seccomp:
        found += ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
    found += ["-chardev", f"socket,id=q,fd={ends.qmp}", "-mon", "chardev=q,mode=control"]
    found += ["-chardev", f"socket,id=agent,fd={ends.agent}", "-device", "virtio-serial-device"]
    found += ["-device", f"virtserialport,chardev=agent,nr=1,name={AGENT_PORT}"]
    found += ["-chardev", f"socket,id=mux,fd={ends.mux}"]
    found += ["-device", f"virtserialport,chardev=mux,nr=2,name={MUX_PORT}"]
    for number, (name, fd) in enumerate(zip(hardware.channels, ends.channels, strict=True)):
        found += ["-chardev", f"socket,id=c{number},fd={fd}"]
        found += ["-device", f"virtserialport,chardev=c{number},nr={number + 3},name={name}"]
    found += _drives(hardware.drives)
    if boot is None:
        return [*found, "-incoming", "defer"]
    return [*found, "-kernel", boot.kernel, "-initrd", boot.initrd, "-append", boot.command_line]


def _drives(drives: Sequence[Drive]) -> list[str]:
    found: list[str] = []
    for number, drive in enumerate(drives):
        options = f"if=none,id=d{number},format=raw,file={drive.file},readonly={'off' if drive.is_writable else 'on'}"
        # Where the disk here is full, the guest is told; else QEMU would stop it, and nobody would hear of it.
        found += ["-drive", options, "-device", f"virtio-blk-device,drive=d{number},serial=d{number},werror=report"]
    return found


SKIPPED = "jent_mod_init,svm_init,vmx_init,init_btrfs_fs,cpuid_init,selinux_nf_ip_init,loop_init"
"""Self-tests and drivers that a guest has no use for: 240 ms of a start without hardware."""


def command_line(*, arch: str, accelerator: Accelerator, tsc_khz: int) -> str:
    """Give the kernel's command line.

    Args:
        arch: "x86_64" or "aarch64".
        accelerator: what runs the guest.
        tsc_khz: how fast this machine's time stamp counter goes; 0 where that is not known. On a busy machine the
            kernel's own measurement fails, and then it hangs.
    """
    found = ["quiet", "reboot=t", "panic=-1", "nokaslr", "mitigations=off", "random.trust_cpu=on", "cryptomgr.notests"]
    found += ["dummy.numdummies=0"]
    if arch == "x86_64":
        found += ["no_timer_check", "noreplace-smp", f"initcall_blacklist={SKIPPED}"]
        if tsc_khz and not accelerator.is_hardware:
            found += [f"tsc_early_khz={tsc_khz}", "tsc=reliable"]
    return " ".join(found)
