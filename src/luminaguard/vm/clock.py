"""How fast this machine's time stamp counter goes: an emulated guest counts with it."""

import ctypes
import functools
import mmap
import platform
import time

MEASURE_S = 0.05
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
    begin, ticks = time.perf_counter_ns(), read()
    time.sleep(MEASURE_S)
    ticks, spent = read() - ticks, time.perf_counter_ns() - begin
    return int(ticks * 1_000_000 // spent)
