"""The hypervisor layer's own measurement, for the command line."""

from collections.abc import Callable
from typing import TypeAlias

from luminaguard.vm.bench import Figure, bench, described

Measured: TypeAlias = Figure
"""What was measured; the name ends with the unit."""

SAMPLES, CLONES = 20, 100
QUICK_SAMPLES, QUICK_CLONES = 3, 10


async def measure(
    *, is_quick: bool, on: Callable[[str], None], report: Callable[[Measured], None]
) -> tuple[Measured, ...]:
    """Measure starts, restores, moves and memory of guests under QEMU here.

    Args:
        is_quick: few samples: the figures are rough.
        on: hears what machine this is, first.
        report: hears each figure as soon as it is known.

    Raises:
        HostFault: QEMU cannot be used here.
    """
    on(await described())
    samples, clones = (QUICK_SAMPLES, QUICK_CLONES) if is_quick else (SAMPLES, CLONES)
    return await bench(samples=samples, clones=clones, report=report)
