"""Which walls and which checkouts are used on this machine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from luminaguard.app.settings_tables import Settings
from luminaguard.host.git import Git, Places
from luminaguard.host.limits import MIB
from luminaguard.model.isolation import Isolation
from luminaguard.sandboxes.all import choose
from luminaguard.sandboxes.base import Sandbox
from luminaguard.sandboxes.namespace import Namespace
from luminaguard.sandboxes.none import NoWalls
from luminaguard.sandboxes.vm import MicroVm
from luminaguard.workspaces.base import Workspaces
from luminaguard.workspaces.checkout import CheckoutWorkspaces
from luminaguard.workspaces.overlay import OverlayWorkspaces

GUESTS = {
    "qemu": "luminaguard.vm.qemu:Qemu",
    "firecracker": "luminaguard.vm.firecracker:Firecracker",
    "apple": "luminaguard.vm.apple:Apple",
}
"""The hypervisors that guests may run under. By name: they are imported where they run, in processes of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walled:
    """The sandbox in force, why it is this one, and workspaces that fit it."""

    sandbox: Sandbox
    workspaces: Workspaces
    reason: str


def levels_in(state: Path, settings: Settings) -> dict[Isolation, Sandbox]:
    """Give every level of isolation, with `state` for its files."""
    image, memory_bytes = settings.run.vm_image, settings.limits.vm_memory_mib * MIB
    return {
        Isolation.VM: MicroVm(state, drivers=GUESTS, image=image, memory_bytes=memory_bytes),
        Isolation.NAMESPACE: Namespace(state),
        Isolation.NONE: NoWalls(),
    }


def walls_for(settings: Settings, *, git: Git, places: Places) -> Walled:
    """Choose walls: what was asked for, or the thickest that work here; never less than was asked for.

    Raises:
        HostFault: what was asked for does not work here.
    """
    chosen = choose(settings.run.isolation or "auto", levels_in(places.state, settings))
    workspaces = _workspaces(chosen.sandbox, git, places)
    return Walled(sandbox=chosen.sandbox, workspaces=workspaces, reason=chosen.reason)


def make_ready(walled: Walled, noticed: Callable[[Sequence[str]], None]) -> None:
    """Make what the walls stand on and what takes its time; `noticed` hears of it before.

    Raises:
        HostFault: it cannot be made, or there is none of the chosen name.
    """
    if isinstance(walled.sandbox, MicroVm):
        if (why := walled.sandbox.image_missing()) is not None:
            noticed((why,))
        walled.sandbox.image()


def _workspaces(sandbox: Sandbox, git: Git, places: Places) -> Workspaces:
    if isinstance(sandbox, MicroVm | Namespace):
        overlay = OverlayWorkspaces(git=git, places=places, sandbox=sandbox)
        if overlay.missing() is None:
            return overlay
    return CheckoutWorkspaces(git=git, places=places, sandbox=sandbox)
