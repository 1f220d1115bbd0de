"""What an attempt at an issue comes to."""

from dataclasses import dataclass

from luminaguard.model.ids import Oid

GOES_ON = "landing"
"""The group of holds after which a retry takes the same work up again instead of starting the agent anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """The attempt came to nothing that can land; another may. `has_work` says that commits wait on the branch.

    `commit` is what others made of it: that is the next attempt, and no agent is started.
    """

    why: str
    what: str
    feedback: str
    has_work: bool
    commit: Oid | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A person must act before this can go on."""

    why: str
    who: str
    how: str
    group: str
    log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """The issue has landed, or nobody wants it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """A person has stopped it; what goes on is decided afresh."""


class HeldError(Exception):
    """No agent may be started for the issue."""

    def __init__(self, hold: Hold) -> None:
        super().__init__(hold.why)
        self.hold = hold
