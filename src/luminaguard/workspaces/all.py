"""The kinds of workspaces that exist."""

from collections.abc import Mapping

from luminaguard.workspaces.checkout import CheckoutWorkspaces
from luminaguard.workspaces.overlay import OverlayWorkspaces

KINDS: Mapping[str, type[OverlayWorkspaces] | type[CheckoutWorkspaces]] = {
    OverlayWorkspaces.kind: OverlayWorkspaces,
    CheckoutWorkspaces.kind: CheckoutWorkspaces,
}
