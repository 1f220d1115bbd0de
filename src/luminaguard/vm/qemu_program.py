"""Which QEMU this machine has, and what runs guest code on it: found out by trying."""

import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from luminaguard.model.faults import HostFault
from luminaguard.vm.agent_binary import missing_agent
from luminaguard.vm.jail import find_bwrap
from luminaguard.vm.kernel import machine, missing_kernel
from luminaguard.vm.kvm_probe import kvm_missing
from luminaguard.vm.qemu_command import Accelerator, AcceleratorName

ASK_WITHIN_S = 30.0
READ_ONLY_SINCE = (9, 0)
BY_SYSTEM: dict[str, AcceleratorName] = {"Linux": "kvm", "Darwin": "hvf", "Windows": "whpx"}
INSTALL = {
    "Linux": "install QEMU: qemu-system-x86 or qemu-system-arm, as your distribution calls it",
    "Darwin": "install QEMU: brew install qemu",
    "Windows": "install QEMU: winget install qemu",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A QEMU that can be used here. `why_emulated`: why there is no hardware acceleration, "" where there is."""

    path: Path
    version: tuple[int, int]
    arch: str
    accelerator: Accelerator
    why_emulated: str
    bwrap: Path | None
    has_seccomp: bool

    @property
    def reads_only(self) -> bool:
        """Whether a clone can do with a template that it may only read."""
        return self.version >= READ_ONLY_SINCE


def find_program(chosen: Path | None, accelerator: AcceleratorName | None) -> Program:
    """Find QEMU, and the fastest way to run guest code that really works.

    Raises:
        HostFault: there is none, it is broken, or the accelerator that was asked for does not work.
    """
    path = _path(chosen)
    version = _version(path)
    compiled = _ask(path, "-accel", "help").split()
    hardware, why = _hardware(compiled)
    name = accelerator or hardware or "tcg"
    if name not in compiled or (name not in {"tcg", hardware}):
        raise HostFault(f"QEMU cannot run guests by {name} here: {why or 'it was built without'}", hint="use tcg")
    return Program(
        path=path,
        version=version,
        arch=machine(),
        accelerator=Accelerator(name=name, version=version),
        why_emulated=why if name == "tcg" else "",
        bwrap=find_bwrap() if platform.system() == "Linux" else None,
        has_seccomp=platform.system() == "Linux" and "-sandbox on" in _ask(path, "--help"),
    )


def missing_parts() -> str | None:
    """Say what else than QEMU is missing for a guest, or None."""
    if platform.system() == "Windows":
        return "Python on Windows cannot pass sockets to QEMU, and the driver needs that; use WSL 2"
    return missing_kernel() or missing_agent()


def program_name(chosen: Path | None) -> str:
    """Give the name or path that QEMU is looked for under."""
    return str(chosen or f"qemu-system-{machine()}")


def _path(chosen: Path | None) -> Path:
    name = program_name(chosen)
    found = shutil.which(name)
    if found is None:
        raise HostFault(f"{name} is not installed", hint=INSTALL.get(platform.system(), "install QEMU"))
    return Path(found).resolve()


def _version(path: Path) -> tuple[int, int]:
    found = re.search(r"version (\d+)\.(\d+)", _ask(path, "--version"))
    if found is None:
        raise HostFault(f"{path} does not tell its version", hint="is it QEMU?")
    return int(found[1]), int(found[2])


def _ask(path: Path, *question: str) -> str:
    try:
        ran = subprocess.run([str(path), *question], capture_output=True, timeout=ASK_WITHIN_S, check=False, text=True)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise HostFault(f"{path} cannot be run: {exc}", hint="install QEMU anew") from exc
    return ran.stdout


def _hardware(compiled: list[str]) -> tuple[AcceleratorName | None, str]:
    """Give what runs guest code on the processor here, or None and why not."""
    name = BY_SYSTEM.get(platform.system())
    if name is None or name not in compiled:
        return None, f"this QEMU was built without {name or 'acceleration'}"
    why = kvm_missing() if name == "kvm" else _hvf_missing() if name == "hvf" else None
    return (None, why) if why else (name, "")


def _hvf_missing() -> str | None:
    ran = subprocess.run(
        ["sysctl", "-n", "kern.hv_support"], capture_output=True, timeout=ASK_WITHIN_S, check=False, text=True
    )
    return None if ran.stdout.strip() == "1" else "this Mac says that it cannot run virtual machines (kern.hv_support)"
