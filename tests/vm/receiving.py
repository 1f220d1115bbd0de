"""A process that waits for a guest, says where, and asks the guest what it is told to when it is there."""

import sys

import anyio
import anyio.to_thread

from luminaguard.vm.base import VmConfig
from luminaguard.vm.qemu import Qemu


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def main() -> None:
    qemu, config = Qemu(), VmConfig(memory_mib=128, boot_timeout_s=120, movable=True)
    async with await qemu.receive(config, listen="127.0.0.1:0", key=bytes.fromhex(sys.argv[1])) as receiver:
        say(receiver.address)
        vm = await receiver.arrived()
    async with vm:
        say(f"arrived {vm.id} {vm.spawned_from}")
        while words := (await anyio.to_thread.run_sync(sys.stdin.readline)).split():
            result = await vm.exec(words)
            say(f"{result.exit_code} {result.out.decode().strip()}")


anyio.run(main)
