"""A process that owns guests and says how many, until somebody kills it."""

import sys

import anyio

from luminaguard.vm.base import VmConfig
from luminaguard.vm.qemu import Qemu


async def main() -> None:
    qemu = Qemu()
    config = VmConfig(memory_mib=128, boot_timeout_s=120)
    async with qemu.pool(config, size=2):
        while True:
            vm = await qemu.spawn(config)
            sys.stdout.write(f"{vm.id}\n")
            sys.stdout.flush()
            if sys.argv[1:] == ["stop"]:
                await vm.stop()


anyio.run(main)
