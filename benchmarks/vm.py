"""How fast guests begin, and what they cost: `python benchmarks/vm.py [--quick] [--json]`.

Nothing else should run meanwhile.

Each figure is a median; beside it stands the boot of a plain QEMU with the same kernel and agent in the same run: no
tuning of the kernel, no snapshot, no walls.
"""

import argparse
import json
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import anyio

from luminaguard.vm.base import VmConfig
from luminaguard.vm.qemu import Qemu, QemuSnapshot
from luminaguard.vm.qemu_blueprint import blueprint
from luminaguard.vm.qemu_command import Memory
from luminaguard.vm.qemu_instance import QemuInstance
from luminaguard.vm.qemu_origins import booted

CONFIG = VmConfig(boot_timeout_s=120.0)
AIMS = {
    "restore_to_first_reply_ms": 25.0,
    "restore_to_first_process_ms": 60.0,
    "pool_to_answered_exec_ms": 10.0,
    "memory_per_clone_mib": 22.0,
    "clones_all_answering_s": 10.0,
    "cold_boot_ms": 700.0,
    "move_downtime_ms": 5.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    name: str
    value: float
    samples: int
    least: float
    most: float


def figure(name: str, values: list[float]) -> Figure:
    return Figure(name=name, value=statistics.median(values), samples=len(values), least=min(values), most=max(values))


def static_program(folder: Path) -> Path:
    """A program that does nothing, with nothing to load: what it takes to make a process, and no more."""
    source, made = folder / "nothing.c", folder / "nothing"
    source.write_text("int main(void) { return 0; }\n")
    compiler = shutil.which("musl-gcc") or shutil.which("gcc") or "cc"
    subprocess.run([compiler, "-static", "-Os", "-s", "-o", str(made), str(source)], check=True)
    return made


async def timed(do: Callable[[], Awaitable[float]], count: int) -> list[float]:
    return [await do() for _ in range(count)]


class Bench:
    def __init__(self, qemu: Qemu, *, count: int, clones: int) -> None:
        self.qemu, self.count, self.clones = qemu, count, clones
        self.warm: QemuSnapshot

    async def prepare(self) -> None:
        """A guest in which the program has run once: what a user who wants speed does."""
        with tempfile.TemporaryDirectory() as folder:
            async with await self.qemu.spawn(CONFIG) as vm:
                await vm.put(static_program(Path(folder)), "/bin/nothing")
                assert (await vm.exec(["/bin/nothing"])).exit_code == 0
                self.warm = await self.qemu.snapshot(vm)

    async def plain_boot(self) -> float:
        plan = blueprint(await self.qemu.program(), CONFIG)
        clock = re.findall(r"tsc_early_khz=\d+", plan.boot.command_line)  # without it the boot may hang
        line = " ".join(["quiet", "reboot=t", "panic=-1", *clock])
        program = replace(plan.program, bwrap=None)
        plain = replace(blueprint(program, CONFIG), program=program)
        plain = replace(plain, boot=replace(plain.boot, command_line=line))
        machine = await booted(plain, Memory(), (), began=time.monotonic())
        await machine.stop()
        return machine.spawn_time_ms

    async def cold_boot(self) -> float:
        async with await self.qemu.boot(CONFIG) as vm:
            return vm.spawn_time_ms

    async def first_reply(self) -> float:
        async with await self.qemu.spawn(CONFIG) as vm:
            assert vm.spawned_from == "snapshot"
            return vm.spawn_time_ms

    async def first_process(self) -> float:
        begin = time.monotonic()
        async with await self.qemu.restore(self.warm) as vm:
            assert (await vm.exec(["/bin/nothing"])).exit_code == 0
            return (time.monotonic() - begin) * 1000

    async def pool(self) -> list[float]:
        found = []
        async with self.qemu.pool(CONFIG, size=4) as pool:
            for _ in range(self.count):
                await pool.full()
                await anyio.sleep(0.3)  # the refill is over and nothing else runs: we measure the checkout alone
                begin = time.monotonic()
                vm = await self.qemu.spawn(CONFIG)
                assert (await vm.exec(["/proc/self/exe"])).exit_code == 0  # the agent: a static program that ends
                found.append((time.monotonic() - begin) * 1000)
                assert vm.spawned_from == "pool"
                await vm.stop()
        return found

    async def downtime(self) -> float:
        async with await self.qemu.restore(self.warm) as vm:
            moved = await self.qemu.migrate(vm, to="here")
            async with moved:
                assert (await moved.exec(["/bin/nothing"])).exit_code == 0
                return moved.machine.downtime_ms

    async def many(self) -> tuple[Figure, Figure, Figure]:
        guests: list[QemuInstance] = []
        before = available_mib()
        begin = time.monotonic()

        async def one() -> None:
            vm = await self.qemu.restore(self.warm)
            guests.append(vm)
            assert (await vm.exec(["/bin/nothing"])).exit_code == 0

        try:
            async with anyio.create_task_group() as tasks:
                for _ in range(self.clones):
                    tasks.start_soon(one)
            took = time.monotonic() - begin
            await anyio.sleep(1)
            each = (before - available_mib()) / self.clones
            shares = [pss_mib(vm.pid) for vm in guests]
        finally:
            for vm in guests:
                await vm.stop()
        return (
            figure("clones_all_answering_s", [took]),
            figure("memory_per_clone_mib", [each]),
            figure("pss_per_clone_mib", shares),
        )


def available_mib() -> float:
    found = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())
    assert found
    return int(found[1]) / 1024


def pss_mib(pid: int) -> float:
    found = re.search(r"Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text())
    assert found
    return int(found[1]) / 1024


async def measure(*, quick: bool) -> list[Figure]:
    bench = Bench(Qemu(), count=3 if quick else 20, clones=5 if quick else 100)
    await bench.prepare()
    found = [
        figure("plain_qemu_boot_ms", await timed(bench.plain_boot, bench.count)),
        figure("cold_boot_ms", await timed(bench.cold_boot, bench.count)),
        figure("restore_to_first_reply_ms", await timed(bench.first_reply, bench.count)),
        figure("restore_to_first_process_ms", await timed(bench.first_process, bench.count)),
        figure("pool_to_answered_exec_ms", await bench.pool()),
    ]
    found.append(figure("move_downtime_ms", await timed(bench.downtime, bench.count)))
    found += await bench.many()
    shutil.rmtree(bench.warm.template.folder)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three of each: does it run?")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    load = Path("/proc/loadavg").read_text().split()[0]
    found = anyio.run(lambda: measure(quick=options.quick))
    if options.json:
        figures = {one.name: {"median": one.value, "samples": one.samples, "aim": AIMS.get(one.name)} for one in found}
        print(json.dumps({"load_before": float(load), "figures": figures}, indent=1))
        return
    print(f"load before: {load}")
    for one in found:
        aim = f"aim {AIMS[one.name]:g}" if one.name in AIMS else ""
        print(f"{one.name:30} {one.value:8.1f}  ({one.least:.1f} to {one.most:.1f}, n={one.samples})  {aim}")


if __name__ == "__main__":
    main()
