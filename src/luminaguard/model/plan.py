"""What a person reads before anything starts: waves, edges with their reasons, forecast, risks."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import Issue, Kind, Notice

TouchSource = Literal["declared", "named", "history", "imports"]


class Level(StrEnum):
    """How much of something: a risk, a severity that needs three steps only."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """A file that an issue is expected to change. `confidence` is from 0 to 1."""

    path: str
    source: TouchSource
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """What is already there for an issue. `left_to_do` is a short sentence for a person."""

    branch: str | None = None
    commits_ahead: int = 0
    pull_request: str | None = None
    left_to_do: str = "everything"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedIssue:
    """An issue as the planner understood it. `needs` are the open issues of this plan that must land first."""

    issue: Issue
    kind: Kind
    needs: tuple[IssueId, ...]
    estimate_s: float
    estimate_from: str
    risk: Level
    touches: tuple[Touch, ...]
    present: Present
    deliverables: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """`before` must land before `after` starts; `why` names the field or quotes the words that say so."""

    before: IssueId
    after: IssueId
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Two issues that may run at the same time and are expected to change the same files."""

    a: IssueId
    b: IssueId
    paths: tuple[str, ...]
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Seconds: by list scheduling on `slots`; max(critical path, work / slots); one after the other."""

    slots: int
    makespan_s: float
    lower_bound_s: float
    sequential_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """What may go wrong with an issue, why we think so, and what is done about it."""

    issue: IssueId
    risk: Level
    why: str
    mitigation: str


Wave = tuple[IssueId, ...]
"""Issues that may be worked on side by side, sorted by id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Waves are the view that a person plans with; the schedule is the graph of `edges`."""

    base: Oid | None
    issues: tuple[PlannedIssue, ...]
    waves: tuple[Wave, ...]
    edges: tuple[Edge, ...]
    overlaps: tuple[Overlap, ...]
    forecast: Forecast
    risks: tuple[Risk, ...]
    notices: tuple[Notice, ...]
