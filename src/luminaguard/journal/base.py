"""The seam of the journal."""

from collections.abc import Mapping
from typing import Protocol

from luminaguard.model.facts import Fact
from luminaguard.model.ids import Json, RunId


class Journal(Protocol):
    """Facts of all runs of one repository. Raises `HostFault` where the disk refuses."""

    async def add(self, run: RunId, subject: str, kind: str, data: Mapping[str, Json]) -> Fact:
        """Write a fact durably and return it; where (run, subject, kind) is there already, return that one."""

    def facts(self, run: RunId, *, after: int = 0) -> tuple[Fact, ...]:
        """Read the facts of a run with seq > `after`, in order."""

    def runs(self) -> tuple[RunId, ...]:
        """Name all runs, oldest first."""
