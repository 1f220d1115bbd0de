"""The seam of gates: a commit goes in, a verdict comes out.

A gate answers with a red verdict when the work is at fault, and raises `HostFault` or `Transient` when the machine is.
"""

from dataclasses import dataclass
from typing import Protocol

from luminaguard.model.ids import Oid
from luminaguard.model.issue import Issue
from luminaguard.model.work import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is judged: the issue, the commit that holds the work and the commit that it is measured against.

    `attempt` is the one that made it; `checks` what the checks have said of it, where they were asked first.
    """

    issue: Issue
    commit: Oid
    base: Oid
    attempt: int = 1
    checks: Verdict | None = None


class Gate(Protocol):
    """One gate."""

    @property
    def name(self) -> str:
        """What it is called in logs."""

    def missing(self) -> str | None:
        """Say why this gate cannot be asked here, or None."""

    async def judge(self, subject: Subject) -> Verdict:
        """Answer for exactly the tree of `subject.commit`."""
