"""What became of a pull request, told alike on every forge."""

from luminaguard.forges.base import Fate
from luminaguard.model.ids import Oid


def fate_of(landed: Oid | None, *, is_closed: bool) -> Fate:
    """Tell it by what a pull request landed as, which counts though the forge may only show it as closed."""
    if landed is not None:
        return Fate(state="merged", commit=landed or None)
    return Fate(state="closed" if is_closed else "open")


def commit_in(text: str) -> Oid | None:
    """Take the commit that a forge names; None where it names none."""
    return Oid(text) if text else None
