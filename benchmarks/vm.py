"""How fast guests begin, and what they cost: `python benchmarks/vm.py [--quick] [--json]`.

Nothing else should run meanwhile. Each figure is a median; beside it stands how it compares with the boot of a plain
QEMU with the same kernel and agent in the same run: no tuning of the kernel, no snapshot, no walls.
"""

import argparse
import json
from dataclasses import asdict

import anyio

from luminaguard.vm.bench import Figure, bench, described


def line_of(one: Figure) -> str:
    aim = f"aim {one.aim:g}" if one.aim is not None else ""
    part = f"1/{one.plain_boot_ms / one.median:.0f} of a plain boot" if one.name.endswith("_ms") and one.median else ""
    return f"{one.name:30} {one.median:8.1f}  ({one.least:.1f} to {one.most:.1f}, n={one.samples})  {aim:8}  {part}"


async def measure(*, samples: int, clones: int, is_json: bool) -> None:
    machine = await described()
    if not is_json:
        print(machine)
    found = await bench(
        samples=samples, clones=clones, report=lambda one: None if is_json else print(line_of(one), flush=True)
    )
    if is_json:
        print(json.dumps({"machine": machine, "clones": clones, "figures": [asdict(one) for one in found]}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three of each, and five clones: does it run?")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    samples, clones = (3, 5) if options.quick else (20, 100)
    anyio.run(lambda: measure(samples=samples, clones=clones, is_json=options.json))


if __name__ == "__main__":
    main()
