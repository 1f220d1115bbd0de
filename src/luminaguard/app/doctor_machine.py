"""What the doctor asks of the machine: which walls work here, by having tried them, what holds them, and room."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from luminaguard.app.doctor_check import Check, Who, no, note, refused, yes
from luminaguard.host.limits import what_holds
from luminaguard.model.faults import HostFault
from luminaguard.model.isolation import Isolation
from luminaguard.sandboxes.all import NOT_YET, WAYS_OUT, choose
from luminaguard.sandboxes.base import Sandbox
from luminaguard.sandboxes.namespace import Namespace
from luminaguard.sandboxes.vm import MicroVm

Levels = Mapping[Isolation, Sandbox]
GIB = 1024**3
LEAST_BYTES = GIB // 4
ENOUGH_BYTES = 2 * GIB


def isolation(levels: Levels, asked: Isolation | None) -> Iterator[Check]:
    """Try every level, and tell which one a run would take and why."""
    group = "isolation"
    for level in (Isolation.VM, Isolation.NAMESPACE):
        sandbox = levels.get(level)
        if sandbox is None:
            yield note(group, level, NOT_YET)
        elif (why := sandbox.missing()) is not None:
            yield note(group, level, why, WAYS_OUT[level])
        else:
            yield yes(group, level, "works: a program was run inside")
    yield from _guests(levels.get(Isolation.VM))
    yield from _checkouts(levels.get(Isolation.NAMESPACE))
    yield note(group, Isolation.NONE, "works, without any walls; it is never taken by itself")
    yield _taken(levels, asked)
    yield yes(group, "limits", f"memory and processes are held by {what_holds()}")


def _guests(sandbox: Sandbox | None) -> Iterator[Check]:
    """Tell what one would like to know before the first guest; a level that does not work is told already."""
    if not isinstance(sandbox, MicroVm) or sandbox.missing() is not None:
        return
    if (why := sandbox.unasked_missing()) is not None:
        yield note("isolation", "speed of guests", why)
    if (why := sandbox.image_missing()) is not None:
        yield note("isolation", "image of guests", why, "luminaguard vm image build, and [run] vm_image")
    else:
        yield yes("isolation", "image of guests", "is there")


def _checkouts(sandbox: Sandbox | None) -> Iterator[Check]:
    if not isinstance(sandbox, Namespace) or sandbox.missing() is not None:
        return
    why = sandbox.overlay_missing()
    if why is None:
        yield yes("isolation", "checkouts", "overlays: an attempt costs what it changes")
    else:
        yield note("isolation", "checkouts", f"in full for each attempt, which takes longer; no overlays: {why}")


def _taken(levels: Levels, asked: Isolation | None) -> Check:
    try:
        chosen = choose(asked or "auto", levels)
    except HostFault as fault:
        return refused("isolation", "taken", fault)
    return yes("isolation", "taken", f"a run takes '{chosen.sandbox.level}': {chosen.reason}")


def room(state: Path) -> Iterator[Check]:
    """Tell how much of the disk is free where checkouts, logs and the journal lie."""
    folder = next(folder for folder in (state, *state.parents) if folder.exists())
    free = shutil.disk_usage(folder).free
    said = f"{free / GIB:.1f} GiB free in {state}"
    if free < LEAST_BYTES:
        yield no("disk", "room", said, "make room: a run needs checkouts, logs and a journal", who=Who.MACHINE)
    elif free < ENOUGH_BYTES:
        yield note("disk", "room", said, "make room, or take fewer slots")
    else:
        yield yes("disk", "room", said)
