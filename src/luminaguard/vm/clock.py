"""How fast this machine's time stamp counter goes: an emulated guest counts with it."""

import ctypes
import functools
import mmap
import platform
import time
from collections.abc import Callable

MEASURE_S = 0.05
TRIES = 5
RDTSC = b"\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0\xc3"  # rdtsc; shl rdx, 32; or rax, rdx; ret


@functools.cache
def tsc_khz() -> int:
    """Measure it, to about 0.01 %; 0 where it cannot be read. /proc/cpuinfo tells another clock's frequency."""
    if platform.machine() not in {"x86_64", "AMD64"} or not hasattr(mmap, "PROT_EXEC"):
        return 0
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return 0  # a policy forbids memory that is written and executed
    page.write(RDTSC)
    place = ctypes.c_char.from_buffer(page)
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(place))
    began, ticks_before = _both(read)
    time.sleep(MEASURE_S)
    ended, ticks_after = _both(read)
    return int((ticks_after - ticks_before) * 1_000_000 // (ended - began))


def _both(read: Callable[[], int]) -> tuple[int, int]:
    """Read both clocks, of several tries when they were closest: on a busy machine something else runs in between."""
    found = []
    for _ in range(TRIES):
        before, ticks, after = time.perf_counter_ns(), read(), time.perf_counter_ns()
        found.append((after - before, before, ticks))
    _, at, ticks = min(found)
    return at, ticks
