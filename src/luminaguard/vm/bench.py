"""How fast guests begin, and what they cost: measured with the driver as anybody uses it.

Every round measures one of each, and the boot of a plain QEMU with the same kernel and agent beside them: no tuning of
the kernel, no snapshot, no walls. So whatever else the machine does meets them all alike.
"""

import contextlib
import os
import platform
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import anyio.to_thread

from luminaguard.model.faults import HostFault
from luminaguard.vm.agent_binary import compilers
from luminaguard.vm.base import VmConfig
from luminaguard.vm.guest_vm import AGENT_ITSELF
from luminaguard.vm.kernel import machine
from luminaguard.vm.qemu import Qemu, QemuSnapshot
from luminaguard.vm.qemu_blueprint import blueprint
from luminaguard.vm.qemu_instance import QemuInstance
from luminaguard.vm.qemu_origins import booted

CONFIG = VmConfig(boot_timeout_s=120.0)
EMPTY = "/bin/empty"
EMPTY_SOURCE = """\
#if defined(__x86_64__)
void _start(void) { __asm__("mov $60, %eax; xor %edi, %edi; syscall"); }
#else
void _start(void) { __asm__("mov x8, 93; mov x0, 0; svc 0"); }
#endif
"""
"""A process and nothing else: it ends, without a C library's start."""
BUILD_WITHIN_S = 600.0
POOL_SIZE = 4
LULL_S = 0.3
"""The refill is over by then, and nothing else runs: a checkout is measured alone."""
AIMS = {
    "restore_to_first_reply_ms": 25.0,
    "restore_to_first_process_ms": 60.0,
    "pool_to_answered_exec_ms": 10.0,
    "move_downtime_ms": 5.0,
    "memory_per_clone_mib": 22.0,
    "clones_all_answering_s": 10.0,
    "cold_boot_ms": 700.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What was measured; the name ends with the unit. `aim` is None where there is none.

    `plain_boot_ms` is the median of a plain QEMU's boot in the same run.
    """

    name: str
    median: float
    least: float
    most: float
    samples: int
    aim: float | None
    plain_boot_ms: float


def figure(name: str, values: Sequence[float], *, plain_boot_ms: float) -> Figure:
    """Make a figure of what was measured."""
    return Figure(
        name=name,
        median=statistics.median(values),
        least=min(values),
        most=max(values),
        samples=len(values),
        aim=AIMS.get(name),
        plain_boot_ms=plain_boot_ms,
    )


async def bench(*, samples: int, clones: int, report: Callable[[Figure], None]) -> tuple[Figure, ...]:
    """Measure all there is to measure.

    Args:
        samples: of each figure.
        clones: how many guests to begin at once for the last ones.
        report: is told each figure as soon as it is known.

    Raises:
        HostFault: QEMU cannot be used here.
    """
    qemu = Qemu()
    if (why := await qemu.missing()) is not None:
        raise HostFault(why)
    found: list[Figure] = []
    async with _prepared(qemu) as warm:
        rounds = _Rounds(qemu, warm)
        values = await rounds.run(samples)
        plain = statistics.median(values["plain_qemu_boot_ms"])

        def known(figures: Iterable[tuple[str, Sequence[float]]]) -> None:
            for name, several in figures:
                found.append(figure(name, several, plain_boot_ms=plain))
                report(found[-1])

        known(values.items())
        known([("pool_to_answered_exec_ms", await _checkouts(qemu, samples))])
        known(await _crowd(qemu, warm, clones))
    return tuple(found)


async def described() -> str:
    """Say on what machine this is, in a line."""
    program = await Qemu().program()
    how = program.accelerator.name + (f" ({program.why_emulated})" if program.why_emulated else "")
    version = ".".join(map(str, program.version))
    load = f", load {os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{os.cpu_count()} x {_processor()}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, QEMU {version} by {how}{load}"
    )


def _processor() -> str:
    with contextlib.suppress(OSError):
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
        return found[1] if found else platform.machine()
    return platform.processor() or platform.machine()


@contextlib.asynccontextmanager
async def _prepared(qemu: Qemu) -> AsyncIterator[QemuSnapshot]:
    """Give a guest in which the empty program has run once: what a user who wants speed does."""
    with tempfile.TemporaryDirectory() as folder:
        empty = await anyio.to_thread.run_sync(_empty_program, Path(folder))
        async with await qemu.spawn(CONFIG) as vm:
            await vm.put(empty, EMPTY)
            await _runs(vm, EMPTY)
            snapshot = await qemu.snapshot(vm)
    try:
        yield snapshot
    finally:
        shutil.rmtree(snapshot.template.folder, ignore_errors=True)


def _empty_program(folder: Path) -> Path:
    source, made = folder / "empty.c", folder / "empty"
    source.write_text(EMPTY_SOURCE, encoding="ascii")
    for compiler in compilers(machine()):
        argv = [*compiler, "-static", "-nostdlib", "-Os", "-s", "-o", str(made), str(source)]
        ran = subprocess.run(argv, capture_output=True, timeout=BUILD_WITHIN_S, check=False)
        if ran.returncode == 0:
            return made
    raise HostFault("the empty program cannot be built", hint="install a C compiler")


async def _runs(vm: QemuInstance, program: str) -> None:
    done = await vm.exec([program])
    if done.exit_code != 0:
        raise HostFault(f"{program} ended with {done.exit_code} in the guest")


class _Rounds:
    """One of each, one after the other."""

    def __init__(self, qemu: Qemu, warm: QemuSnapshot) -> None:
        self._qemu = qemu
        self._warm = warm

    async def run(self, count: int) -> dict[str, list[float]]:
        ways: dict[str, Callable[[], Awaitable[float]]] = {
            "plain_qemu_boot_ms": self._plain_boot,
            "cold_boot_ms": self._cold_boot,
            "restore_to_first_reply_ms": self._first_reply,
            "restore_to_first_process_ms": self._first_process,
            "restore_to_first_c_program_ms": self._first_c_program,
            "move_downtime_ms": self._downtime,
        }
        values: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(count):
            for name, way in ways.items():
                values[name].append(await way())
        return values

    async def _plain_boot(self) -> float:
        program = await self._qemu.program()
        plan = await anyio.to_thread.run_sync(blueprint, replace(program, bwrap=None), CONFIG)
        clock = re.findall(r"tsc_early_khz=\d+", plan.boot.command_line)  # without it the boot may hang
        line = " ".join(["quiet", "reboot=t", "panic=-1", *clock])
        plain = replace(plan, boot=replace(plan.boot, command_line=line))
        made = await booted(plain, began=time.monotonic())
        await made.stop()
        return made.spawn_time_ms

    async def _cold_boot(self) -> float:
        async with await self._qemu.boot(CONFIG) as vm:
            return vm.spawn_time_ms

    async def _first_reply(self) -> float:
        async with await self._qemu.spawn(CONFIG) as vm:
            assert vm.spawned_from == "snapshot"
            return vm.spawn_time_ms

    async def _first_process(self) -> float:
        begin = time.monotonic()
        async with await self._qemu.restore(self._warm) as vm:
            await _runs(vm, EMPTY)
            return _since(begin)

    async def _first_c_program(self) -> float:
        begin = time.monotonic()
        async with await self._qemu.spawn(CONFIG) as vm:
            await _runs(vm, AGENT_ITSELF)
            return _since(begin)

    async def _downtime(self) -> float:
        config = replace(CONFIG, movable=True)
        async with await self._qemu.migrate(await self._qemu.spawn(config), to="here") as moved:
            await _runs(moved, AGENT_ITSELF)
            return moved.machine.downtime_ms


def _since(begin: float) -> float:
    return (time.monotonic() - begin) * 1000


async def _checkouts(qemu: Qemu, count: int) -> list[float]:
    found = []
    async with qemu.pool(CONFIG, size=POOL_SIZE) as pool:
        for _ in range(count):
            await pool.full()
            await anyio.sleep(LULL_S)
            begin = time.monotonic()
            async with await qemu.spawn(CONFIG) as vm:
                await _runs(vm, AGENT_ITSELF)
                found.append(_since(begin))
                assert vm.spawned_from == "pool"
    return found


async def _crowd(qemu: Qemu, warm: QemuSnapshot, clones: int) -> list[tuple[str, list[float]]]:
    """Begin many guests at once, each of which runs a program, and look at what they take together."""
    guests: list[QemuInstance] = []
    before, begin = _available_mib(), time.monotonic()

    async def one() -> None:
        guests.append(vm := await qemu.restore(warm))
        await _runs(vm, EMPTY)

    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(clones):
                tasks.start_soon(one)
        took = time.monotonic() - begin
        await anyio.sleep(1)  # the kernel counts what was freed a little later
        each = (before - _available_mib()) / clones
        shares = [_share_mib(vm.pid) for vm in guests]
    finally:
        with anyio.CancelScope(shield=True):
            for vm in guests:
                await vm.stop()
    found = [("clones_all_answering_s", [took])]
    return [*found, ("memory_per_clone_mib", [each]), ("share_per_clone_mib", shares)] if before else found


def _available_mib() -> float:
    """Give what programs can still have here; 0 where the system does not tell."""
    return _mib("MemAvailable", Path("/proc/meminfo"))


def _share_mib(pid: int) -> float:
    """Give what a process has, with its part of what it shares."""
    return _mib("Pss", Path(f"/proc/{pid}/smaps_rollup"))


def _mib(name: str, path: Path) -> float:
    try:
        found = re.search(rf"^{name}:\s+(\d+)", path.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0
