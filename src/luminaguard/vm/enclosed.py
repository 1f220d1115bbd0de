"""Runs one program in a guest of its own: `python -I -m luminaguard.vm.enclosed SPEC PROGRAM...`.

Standard input, output and error are the program's, and so is the exit code (128 and the number for a signal). TERM is
handed on to the program and all that it started. The guest ends with us, however we end. The program's variables come
as ours, each with `IN_` before its name, so that none of them means anything to us.

Where the guest itself fails, the file that $LUMINAGUARD_CAUSE names says what became of it, for whoever waits for us.
"""

import os
import pkgutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import anyio
import anyio.to_thread

from luminaguard.model.faults import Fault, Transient
from luminaguard.vm.base import Chunk, Execution, Hypervisor, VmInstance
from luminaguard.vm.enclosed_files import begin
from luminaguard.vm.enclosed_parts import ON_DISK, Parts, config_of, orders_of, parts_of
from luminaguard.vm.enclosed_spec import PREFIX, Spec, Tree, spec_of

CAUSE = "LUMINAGUARD_CAUSE"
AGENT_ITSELF = "/proc/self/exe"
FAILED = 125
ASK_S = 3.0
FINISH_WITHIN_S = 60.0
BLOCK_BYTES = 65536
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
FULL_BYTES = 1 << 20


def main() -> int:
    """Run what the command line says."""
    try:
        return anyio.run(_main, spec_of(sys.argv[1]), sys.argv[2:])
    except Fault as fault:
        _tell("lost")
        sys.stderr.write(f"luminaguard: {fault.message}{f' ({fault.hint})' if fault.hint else ''}\n")
        return FAILED
    except BaseException:
        _tell("lost")
        raise


async def _main(spec: Spec, argv: Sequence[str]) -> int:
    with ExitStack() as files:
        parts = await anyio.to_thread.run_sync(parts_of, spec, files)
        # By its name: each run pays for what it imports, and of all drivers it needs one.
        driver: Hypervisor = pkgutil.resolve_name(spec.driver)()
        guest = await driver.spawn(config_of(spec, parts))
        try:
            return await _enclosed(guest, spec, parts, argv)
        finally:
            with anyio.CancelScope(shield=True):
                await guest.stop()


async def _enclosed(guest: VmInstance, spec: Spec, parts: Parts, argv: Sequence[str]) -> int:
    if parts.is_new:
        await _prepare(guest, spec)
    for place, shown in parts.copied.items():
        await guest.put(shown.source.resolve(), place)
    orders = [*orders_of(spec, parts), "run", spec.uid, spec.tree.at, *argv]
    variables = {name.removeprefix(PREFIX): value for name, value in os.environ.items() if name.startswith(PREFIX)}
    async with guest.start([AGENT_ITSELF, *orders], env=variables) as program:
        exit_code = await _followed(program)
    return await _finished(guest, spec, exit_code)


async def _prepare(guest: VmInstance, spec: Spec) -> None:
    """Put on the disk what the tree begins with. It is all there before anything works on it."""
    await guest.put(spec.tree.upper, f"{ON_DISK}/upper")
    await _obey(guest, "own", spec.uid, f"{ON_DISK}/upper", "sync")
    if spec.tree.work is not None:
        begin(spec.tree.work)


async def _obey(guest: VmInstance, *orders: str) -> bytes:
    ran = await guest.exec([AGENT_ITSELF, *orders], timeout_s=FINISH_WITHIN_S)
    if ran.exit_code != 0:
        raise Transient(f"the guest refused '{orders[0]}': {ran.err.decode(errors='replace').strip()[:300]}")
    return ran.out


async def _followed(program: Execution) -> int:
    """Hand on what goes in and comes out, and signals; gives the exit code as a shell would."""
    with anyio.open_signal_receiver(*SIGNALS) as asked:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_feed, program)
                tasks.start_soon(_hand_on, asked, program)
                async for chunk in program:
                    _write(chunk)
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
    code = program.exit_code
    assert code is not None
    return code if code >= 0 else 128 - code


def _write(chunk: Chunk) -> None:
    left = memoryview(chunk.data)
    while left:
        left = left[os.write(1 if chunk.stream == "out" else 2, left) :]


async def _feed(program: Execution) -> None:
    while block := await anyio.to_thread.run_sync(os.read, 0, BLOCK_BYTES, abandon_on_cancel=True):
        await program.write(block)
    await program.close_input()


async def _hand_on(asked: AsyncIterator[signal.Signals], program: Execution) -> None:
    async for number in asked:
        await program.signal(number)
        await anyio.sleep(ASK_S)
        # Whoever asked kills us soon, and what the program wrote last should be on the disk by then.
        await program.signal(signal.SIGKILL)


async def _finished(guest: VmInstance, spec: Spec, exit_code: int) -> int:
    """See to it that all is on the disk, and tell what ran out."""
    ran_out, left = map(int, (await _obey(guest, "sync", "told", spec.tree.at)).split())
    if exit_code and ran_out:
        _tell("memory")
        sys.stderr.write(f"luminaguard: the guest ran out of its {spec.memory_mib} MiB of memory\n")
    elif exit_code and left < FULL_BYTES:
        _tell("disk")
        sys.stderr.write("luminaguard: the disk of the guest is full\n")
    if spec.tree.lower is None and spec.tree.writable:
        await _bring_back(guest, spec.tree)
    return exit_code


async def _bring_back(guest: VmInstance, tree: Tree) -> None:
    """Put the tree as it is in the guest in the place of ours. The disk never leaves the guest: its files do."""
    with tempfile.TemporaryDirectory(dir=tree.upper.parent, prefix=".new-") as scratch:
        made, old = Path(scratch) / "made", Path(scratch) / "old"
        await guest.get(tree.at, made)
        tree.upper.rename(old)
        made.rename(tree.upper)


def _tell(cause: str) -> None:
    if path := os.environ.get(CAUSE):
        Path(path).write_text(cause, encoding="ascii")


if __name__ == "__main__":
    sys.exit(main())
