"""Which walls and which checkouts are used on this machine."""

from dataclasses import dataclass

from luminaguard.host.git import Git, Places
from luminaguard.model.isolation import Isolation
from luminaguard.sandboxes.all import choose
from luminaguard.sandboxes.base import Sandbox
from luminaguard.sandboxes.namespace import Namespace
from luminaguard.sandboxes.none import NoWalls
from luminaguard.workspaces.base import Workspaces
from luminaguard.workspaces.checkout import CheckoutWorkspaces
from luminaguard.workspaces.overlay import OverlayWorkspaces


@dataclass(frozen=True, slots=True, kw_only=True)
class Walled:
    """The sandbox in force, why it is this one, and workspaces that fit it."""

    sandbox: Sandbox
    workspaces: Workspaces
    reason: str


def walls_for(asked: Isolation | None, *, git: Git, places: Places) -> Walled:
    """Choose walls: what was asked for, or the thickest that work here; never less than was asked for.

    Raises:
        HostFault: what was asked for does not work here.
    """
    namespace = Namespace(places.state)
    levels: dict[Isolation, Sandbox] = {Isolation.NAMESPACE: namespace, Isolation.NONE: NoWalls()}
    chosen = choose(asked or "auto", levels)
    overlay = OverlayWorkspaces(git=git, places=places, sandbox=namespace)
    if chosen.sandbox is namespace and overlay.missing() is None:
        return Walled(sandbox=chosen.sandbox, workspaces=overlay, reason=chosen.reason)
    checkouts = CheckoutWorkspaces(git=git, places=places, sandbox=chosen.sandbox)
    return Walled(sandbox=chosen.sandbox, workspaces=checkouts, reason=chosen.reason)
