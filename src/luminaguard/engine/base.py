"""What the engine needs from the outside, and nothing more: a trunk to land on, a place to work, settings."""

from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Literal, Protocol

from luminaguard.forges.base import Checking, Commenting, Forge, Merging, Reviewing
from luminaguard.gates.base import Gate
from luminaguard.gateway.base import Budget, Ledger
from luminaguard.journal.base import Journal
from luminaguard.model.brief import Brief
from luminaguard.model.ids import IssueId, Oid, RunId
from luminaguard.model.issue import Kind
from luminaguard.model.work import Beside, Candidate, Conflict, FileChange
from luminaguard.workspaces.base import Start

Style = Literal["squash", "merge"]


class Edit(Protocol):
    """A file that a landing writes besides the change."""

    @property
    def path(self) -> str:
        """Where, from the repository's root."""

    @property
    def content(self) -> bytes:
        """Its whole new content."""


Reader = Callable[[str], Awaitable[bytes | None]]
"""Reads a file of a tree by its path; None where it is not there."""

EditsOf = Callable[[Reader], Awaitable[Sequence[Edit]]]
"""Says what to write besides a change, given a reader of the merged tree."""

ClosingEdits = Callable[[IssueId, Reader], Awaitable[Sequence[Edit]]]
"""Says how the backlog's files look when an issue is closed in them."""


class Trunk(Protocol):
    """The target branch. Raises `UserFault` where it is gone or has split, `HostFault` where git refuses."""

    async def tip(self, *, is_fresh: bool = False) -> Oid:
        """Give the commit that the next landing stands on; `is_fresh` asks the remote, if there is one, now."""

    async def compose(
        self, change: Oid, *, onto: Oid, style: Style, message: str, when: float, edits: EditsOf | None = None
    ) -> Candidate | Conflict:
        """Make what would land; the same inputs give the same commit."""

    async def land(self, candidate: Candidate) -> tuple[str, ...] | None:
        """Make the candidate the tip and tell of the checkouts; None where the target has moved."""

    async def catch_up(self) -> tuple[str, ...]:
        """Bring branch and checkouts up to what landed beside them."""

    async def beside(self) -> Beside | None:
        """Tell what landed and the branch does not have; None where it has all."""

    async def holds(self, commit: Oid) -> bool:
        """Tell whether a commit is in the target's history."""

    async def first_parents(self, older: Oid) -> tuple[tuple[Oid, Oid], ...]:
        """List (commit, tree) of the first-parent history since `older`."""

    async def files(self, older: Oid, newer: Oid) -> tuple[FileChange, ...]:
        """Count the lines that differ between two commits."""

    async def tree(self, commit: Oid) -> Oid:
        """Give the tree of a commit."""

    async def parent(self, commit: Oid) -> Oid:
        """Give the first parent of a commit."""

    async def is_in(self, older: Oid, newer: Oid) -> bool:
        """Tell whether `older` is in the history of `newer`."""

    async def is_related(self, one: Oid, other: Oid) -> bool:
        """Tell whether two commits have a commit of their histories in common."""

    async def branch(self, name: str) -> Oid | None:
        """Give the tip of a work branch, None where there is none."""

    async def of_others(self, branch: str, commit: Oid, *, ours: AbstractSet[Oid] = frozenset()) -> Oid | None:
        """Give the tip of a work branch where others have put commits that are not in `commit`; `ours` are none."""

    async def publish(self, branch: str, commit: Oid) -> str:
        """Point a work branch at a commit; return a note, or ""."""

    async def stage(self, commit: Oid, *, branch: str) -> None:
        """Show a candidate at the remote, whatever the branch showed before."""

    async def remove_branch(self, branch: str, *, commit: Oid) -> str:
        """Remove a work branch that has landed, where it still is what we made it; return a note, or ""."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One attempt to be made somewhere."""

    run: RunId
    brief: Brief
    start: Start
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an order. `commit` is None when nothing new was made; `problem` says why the work is no good.

    `refused` marks commits that must not be built upon. `tail` is the end of the log, for the next attempt's prompt.
    """

    ended: str
    exit_code: int
    seconds: float
    commit: Oid | None
    committed_for_agent: bool
    problem: str | None
    refused: bool
    log: str
    tail: str


class Placement(Protocol):
    """Where attempts are made. An attempt outlives us; ordered again, it is attached to, never started twice."""

    @property
    def isolation(self) -> str:
        """The level in force."""

    async def place(self, order: Order, *, starting: Callable[[int], Awaitable[None]]) -> Outcome:
        """Make the attempt, or find it again; `starting(k)` is awaited before the agent's k-th start, from 1."""

    async def clean(self, order: Order) -> None:
        """Remove what the attempt left, after its outcome is recorded."""

    def stop(self, run: RunId, issue: IssueId) -> None:
        """Ask the issue's agent, if one runs, to stop; its work is brought out all the same."""


class Messages(Protocol):
    """Writes what stands in commits and pull requests; a module can be one."""

    def landing_message(self, *, kind: Kind, issue: IssueId, title: str, body: str, closes: bool = True) -> str:
        """Write the message of a commit: a subject by kind, the body, "Closes #N" where asked for."""

    def pull_body(
        self,
        *,
        issue: IssueId,
        text: str,
        files: Sequence[FileChange] = (),
        checks: Sequence[str] = (),
        verdict: str = "",
        needs: Sequence[IssueId] = (),
    ) -> str:
        """Write a pull request's description: what, why, how it is checked and with what verdict, what it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the settings say about a run.

    `rules` is what the repository says to agents, `tools` what they can do besides; `template` the prompt to fill in,
    None ours; `review_rounds` how often findings go back before a person decides. `by` says who merges: we by a push,
    the forge, or whoever may. `drafts`: pull requests are drafts until our checks pass; `wait_minutes` bounds what is
    awaited of the forge, which is asked every `poll_s`.
    """

    target: str
    slots: int
    agent: str
    attempts: int
    minutes_per_issue: float
    style: Style
    human: bool
    checks: tuple[str, ...]
    trusted: Callable[[str | None, str | None], bool]
    minutes_per_run: float | None = None
    budget: Budget = field(default_factory=Budget)
    review_rounds: int = 2
    rules: str = ""
    tools: str = ""
    template: str | None = None
    by: Literal["auto", "push", "forge"] = "auto"
    drafts: bool = False
    labels: tuple[str, ...] = ()
    remove_branch: bool = False
    wait_minutes: float = 120.0
    poll_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drivers:
    """Everything outside, wired by `app`.

    `closing_edits` is None unless the status is written back into a file, `ledger` where no agent calls a model
    through the gateway; `reviewing`, `checking` and `commenting` are what the forge can be told besides,
    `merging` is there where it can merge by itself.
    """

    journal: Journal
    forge: Forge
    trunk: Trunk
    placement: Placement
    checks: Gate
    checks_fingerprint: str
    review: Gate | None
    messages: Messages
    closing_edits: ClosingEdits | None = None
    ledger: Ledger | None = None
    reviewing: Reviewing | None = None
    checking: Checking | None = None
    commenting: Commenting | None = None
    merging: Merging | None = None
