"""What of the hypervisor layer works on this machine, found out by trying."""

from dataclasses import asdict, dataclass

import anyio.to_thread

from luminaguard.model.faults import Fault
from luminaguard.vm.agent_binary import missing_agent
from luminaguard.vm.all import DRIVERS
from luminaguard.vm.base import Hypervisor
from luminaguard.vm.images import missing as missing_images
from luminaguard.vm.kernel import PINNED_SHA256, machine, missing_kernel
from luminaguard.vm.qemu import Qemu


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Something that guests need. `why_not` "" where it is here; `said` tells what there is."""

    name: str
    why_not: str
    said: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """A hypervisor. `why_not` "" where it works; `said` how; `abilities` by name, only where it works."""

    name: str
    why_not: str
    said: str
    abilities: dict[str, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Everything that was tried. `auto`: the hypervisor that is taken unless another is asked for, "" for none."""

    drivers: tuple[Probed, ...]
    parts: tuple[Part, ...]
    auto: str

    @property
    def works(self) -> bool:
        """Whether a guest can run here."""
        return bool(self.auto)


async def probe() -> Probe:
    """Try every hypervisor, and look for all else that guests need."""
    drivers = tuple([await _tried(make()) for make in DRIVERS.values()])
    works = [driver for driver in drivers if not driver.why_not]
    first = next((driver for driver in works if driver.abilities["hardware"]), works[0] if works else None)
    parts = await anyio.to_thread.run_sync(_parts)
    return Probe(drivers=drivers, parts=parts, auto=first.name if first else "")


async def _tried(driver: Hypervisor) -> Probed:
    if (why := await driver.missing()) is not None:
        return Probed(name=driver.name, why_not=why, said="", abilities={})
    try:
        abilities = asdict(await driver.abilities())
        return Probed(name=driver.name, why_not="", said=await _said(driver), abilities=abilities)
    except Fault as fault:
        return Probed(name=driver.name, why_not=f"{fault.message}: {fault.hint}", said="", abilities={})


async def _said(driver: Hypervisor) -> str:
    if not isinstance(driver, Qemu):
        return "guest code runs on the processor"
    program = await driver.program()
    version = ".".join(map(str, program.version))
    by = program.accelerator.name
    how = f"by emulation ({by}): {program.why_emulated}" if program.why_emulated else f"on the processor ({by})"
    walls = "in bubblewrap" if program.bwrap else "without bubblewrap: only its own system call filter holds it"
    return f"QEMU {version}, {walls}; guest code runs {how}"


def _parts() -> tuple[Part, ...]:
    arch = machine()
    pinned = f"the pinned one for {arch}, sha256 {PINNED_SHA256.get(arch, '')[:16]}"
    return (
        Part(name="kernel", why_not=missing_kernel() or "", said=pinned),
        Part(name="agent", why_not=missing_agent() or "", said="built, or a compiler is here to build it"),
        Part(name="images", why_not=missing_images() or "", said="mkfs.erofs is here"),
    )
