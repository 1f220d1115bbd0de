"""Where a guest's memory is: nowhere else, private to it over a template's file, or in a file that can be passed on.

The last is a file without a name, which the system forgets with the last process that has it. QEMU opens what it
inherits only by a path; so it sees its own descriptors, and no others, as a folder in its jail.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import anyio.to_thread

from luminaguard.model.faults import HostFault
from luminaguard.vm.jail import Bind
from luminaguard.vm.qemu_blueprint import INSIDE, Blueprint
from luminaguard.vm.qemu_command import Memory
from luminaguard.vm.qemu_templates import Template

OWN_DESCRIPTORS = "/proc/self/fd"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestMemory:
    """What QEMU is told, what it sees for that, and the open files that it inherits: memory and state, -1 for none."""

    backend: Memory = field(default_factory=Memory)
    binds: tuple[Bind, ...] = ()
    fd: int = -1
    state: int = -1


def can_be_passed_on() -> bool:
    """Tell whether this system has files without a name."""
    return hasattr(os, "memfd_create")


@contextlib.contextmanager
def shared_memory(plan: Blueprint) -> Iterator[GuestMemory]:
    """Give memory of zeros that can be passed on; plain memory where the system cannot.

    Raises:
        HostFault: it cannot be made.
    """
    if not can_be_passed_on():
        yield GuestMemory()
        return
    fd = _nameless(plan.config.memory_mib << 20)
    try:
        yield memory_at(plan, fd)
    finally:
        os.close(fd)


def memory_at(plan: Blueprint, fd: int) -> GuestMemory:
    """Give the memory that is in an open file."""
    folder = f"{INSIDE}/fd" if plan.program.bwrap else OWN_DESCRIPTORS
    bind = Bind(source=Path(OWN_DESCRIPTORS), inside=f"{INSIDE}/fd")
    return GuestMemory(backend=Memory(file=f"{folder}/{fd}", is_shared=True), binds=(bind,), fd=fd)


@contextlib.asynccontextmanager
async def cloned_memory(plan: Blueprint, template: Template) -> AsyncIterator[GuestMemory]:
    """Give the memory and the state of a template to a guest: a view of them, or a copy that can be passed on.

    Raises:
        HostFault: it cannot be copied.
    """
    if not (plan.config.movable and can_be_passed_on()):
        read_only = plan.program.reads_only
        bind = Bind(source=template.memory, inside=f"{INSIDE}/memory", is_writable=not read_only)
        backend = Memory(file=plan.inside(template.memory, "memory"), is_read_only=read_only)
        with _open(template.state) as state:
            yield GuestMemory(backend=backend, binds=(bind,), state=state)
        return
    with shared_memory(plan) as memory:
        await anyio.to_thread.run_sync(_copy, template.memory, memory.fd)
        # A copy too: through the folder of descriptors what was opened to be read can be opened to be written.
        state = _nameless(0)
        try:
            _copy(template.state, state)
            os.lseek(state, 0, os.SEEK_SET)
            yield GuestMemory(backend=memory.backend, binds=memory.binds, fd=memory.fd, state=state)
        finally:
            os.close(state)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _nameless(size: int) -> int:
    try:
        fd = os.memfd_create("luminaguard", os.MFD_CLOEXEC)
        os.truncate(fd, size)
    except OSError as exc:
        raise HostFault(f"no memory for a guest: {exc.strerror}", hint="free some, or give it less") from exc
    return fd


def _copy(source: Path, target: int) -> None:
    """Copy what a file holds; what was never written in it stays unwritten."""
    try:
        with _open(source) as fd:
            for begin, end in _written(fd):
                os.lseek(target, begin, os.SEEK_SET)
                while begin < end and (done := os.sendfile(target, fd, begin, end - begin)):
                    begin += done  # noqa: PLW2901 there is no rest of it to look at
    except OSError as exc:
        raise HostFault(f"{source} cannot be copied: {exc.strerror}", hint="is memory short?") from exc


def _written(fd: int) -> Iterator[tuple[int, int]]:
    end, size = 0, os.fstat(fd).st_size
    while end < size:
        try:
            begin = os.lseek(fd, end, os.SEEK_DATA)
        except OSError:
            return  # nothing but a hole is left
        end = os.lseek(fd, begin, os.SEEK_HOLE)
        yield begin, end
