"""The levels of isolation that exist, and which one is taken."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from luminaguard.model.faults import HostFault
from luminaguard.model.isolation import Isolation
from luminaguard.sandboxes.base import Sandbox
from luminaguard.sandboxes.namespace import WAY_OUT, Namespace
from luminaguard.sandboxes.none import NoWalls
from luminaguard.sandboxes.vm import WAY_OUT as VM_WAY_OUT
from luminaguard.sandboxes.vm import MicroVm

LEVELS: Mapping[Isolation, type[MicroVm] | type[Namespace] | type[NoWalls]] = {
    Isolation.VM: MicroVm,
    Isolation.NAMESPACE: Namespace,
    Isolation.NONE: NoWalls,
}
AUTO = (Isolation.VM, Isolation.NAMESPACE)
"""What `auto` takes, in this order; never `none`."""
WAYS_OUT = {Isolation.VM: VM_WAY_OUT, Isolation.NAMESPACE: WAY_OUT}
NOT_YET = "this version has no driver for it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The sandbox in force and why it is this one."""

    sandbox: Sandbox
    reason: str


def choose(asked: Literal["auto"] | Isolation, levels: Mapping[Isolation, Sandbox]) -> Chosen:
    """Take the sandbox that was asked for, or for "auto" the thickest walls that work here.

    Raises:
        HostFault: what was asked for does not work here; never falls back to less.
    """
    if asked != "auto":
        if (why := _missing(asked, levels)) is not None:
            raise HostFault(f"isolation '{asked}' does not work here: {why}", hint=_way_out(asked))
        return Chosen(sandbox=levels[asked], reason=f"'{asked}' was asked for")
    passed: list[str] = []
    for level in AUTO:
        why = _unasked_missing(level, levels)
        if why is None:
            return Chosen(sandbox=levels[level], reason="; ".join([*passed, f"'{level}' works here"]))
        passed.append(f"no '{level}': {why}")
    raise HostFault(f"no isolation works here: {'; '.join(passed)}", hint=_way_out(Isolation.NAMESPACE))


def _missing(level: Isolation, levels: Mapping[Isolation, Sandbox]) -> str | None:
    sandbox = levels.get(level)
    return NOT_YET if sandbox is None else sandbox.missing()


def _unasked_missing(level: Isolation, levels: Mapping[Isolation, Sandbox]) -> str | None:
    sandbox = levels.get(level)
    return sandbox.unasked_missing() if isinstance(sandbox, MicroVm) else _missing(level, levels)


def _way_out(level: Isolation) -> str:
    return WAYS_OUT.get(level, "set isolation = 'auto' to take the thickest walls that work")
