"""How thick the walls around an agent are."""

from enum import StrEnum


class Isolation(StrEnum):
    """The levels, thickest first."""

    VM = "vm"
    NAMESPACE = "namespace"
    NONE = "none"
