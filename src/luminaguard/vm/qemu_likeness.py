"""What has to be the same on two hosts for a guest of QEMU to go on at the other: by content, not by path."""

import hashlib
import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from luminaguard.model.faults import HostFault
from luminaguard.vm.agent_binary import agent_binary
from luminaguard.vm.base import Disk
from luminaguard.vm.kernel import kernel_for
from luminaguard.vm.qemu_blueprint import Blueprint

DIGEST_CHARS = 16
CLOCK = "processor's counter, MHz"
CLOCK_MHZ = 1
"""How far two counters may be apart: what is measured differs that much."""


def likeness(plan: Blueprint) -> dict[str, str]:
    """Describe a guest. It reads all of its disks.

    Raises:
        HostFault: one cannot be read.
    """
    config, hardware = plan.config, plan.hardware
    disks = (*([Disk(path=config.root)] if config.root else []), *config.disks)
    return {
        "QEMU": ".".join(map(str, plan.program.version)),
        "machine": f"{hardware.arch} by {hardware.accelerator.name}",
        "processor": _processor() if hardware.accelerator.is_hardware else "QEMU's own",
        CLOCK: _counter(plan.boot.command_line),
        "memory": f"{hardware.memory_mib} MiB",
        "processors": str(hardware.vcpus),
        "guest kernel": kernel_for(config.kernel).digest[:DIGEST_CHARS],
        "guest agent": agent_binary().name,
        "disks": ", ".join(map(_disk, disks)) or "none",
        "channels": ", ".join(hardware.channels) or "none",
        "forwarded ports": ", ".join(str(one.port) for one in config.forwards) or "none",
    }


def unlike(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Say in what two guests differ, "" where they are alike."""
    return "; ".join(
        f"{name}: {there.get(name, 'unknown')} at the sender, {here.get(name, 'unknown')} at the receiver"
        for name in sorted({*here, *there})
        if not _same(name, here.get(name), there.get(name))
    )


def _same(name: str, one: str | None, other: str | None) -> bool:
    if name == CLOCK and one and other and one.isdecimal() and other.isdecimal():
        return abs(int(one) - int(other)) <= CLOCK_MHZ
    return one == other


def _counter(command_line: str) -> str:
    found = re.search(r"tsc_early_khz=(\d+)", command_line)
    return str(round(int(found[1]) / 1000)) if found else "not told"


def _disk(disk: Disk) -> str:
    try:
        with disk.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise HostFault(f"{disk.path} cannot be read: {exc.strerror}", hint="name a file that is there") from exc
    return f"{digest[:DIGEST_CHARS]} at {disk.mount_at or 'no folder'}"


def _processor() -> str:
    """Name what the guest sees of the processor: its model, and a hash of all that it can."""
    found = dict(_cpuinfo())
    flags = found.get("flags") or found.get("Features") or ""
    model = found.get("model name") or platform.processor() or platform.machine()
    return f"{model} {hashlib.sha256(flags.encode()).hexdigest()[:8]}"


def _cpuinfo() -> Iterator[tuple[str, str]]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines():
        name, _, value = line.partition(":")
        yield name.strip(), value.strip()
