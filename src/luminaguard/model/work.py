"""What is made and what is said of it: changes, candidates, verdicts, findings, landings."""

from dataclasses import dataclass
from enum import StrEnum

from luminaguard.model.ids import IssueId, Oid


class Severity(StrEnum):
    """How bad a finding is, mildest first."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for the mildest."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One remark of a reviewer. `line` counts from 1; 0 stands for the whole file."""

    severity: Severity
    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """Lines added and removed in one file; both 0 for a binary file or a change of mode."""

    path: str
    added: int
    removed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Commits that an attempt delivered for an issue, imported and safe under a ref of ours."""

    issue: IssueId
    attempt: int
    commit: Oid
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What would land: `commit` holds `tree` and has `base` as its first parent."""

    commit: Oid
    tree: Oid
    base: Oid


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A change that does not fit the target: the paths, and the hunks with both sides (at most 64 KiB)."""

    base: Oid
    paths: tuple[str, ...]
    hunks: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """One check command. `tail` is the end of its output, at most 16 KiB."""

    command: str
    exit_code: int
    seconds: float
    tail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a gate says of one tree. `why` is one sentence; `log` is for the agent that must mend it.

    `grade` is a reviewer's, "" where there is none.
    """

    ok: bool
    why: str
    log: str = ""
    seconds: float = 0.0
    cached: bool = False
    commands: tuple[CommandResult, ...] = ()
    findings: tuple[Finding, ...] = ()
    grade: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Commits that landed and that the branch does not have, for the reason `why`; `how` is what to type."""

    commits: frozenset[Oid]
    why: str
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """A candidate that is now the target's tip. `checkouts` tells what became of the user's working trees."""

    candidate: Candidate
    files: tuple[FileChange, ...]
    checkouts: tuple[str, ...] = ()
