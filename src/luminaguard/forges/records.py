"""Issues and pull requests with all that a forge shows of them: numbers, times, who, what belongs to what.

Times and people are not kept twice: they are read from the events.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from luminaguard.forges.documents import issue_from
from luminaguard.forges.store import TrackerStore
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import Issue, IssueState


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The last time that something was closed, opened again or merged. `reason` is GitHub's word for it."""

    what: str
    time: float
    who: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueRecord:
    """An issue under the number that it is shown with. Times are seconds since the epoch."""

    number: int
    issue: Issue
    created: float
    updated: float
    turn: Turn | None
    comments: int

    @property
    def is_open(self) -> bool:
        """Tell whether it still asks for something."""
        return self.issue.state is IssueState.OPEN

    @property
    def closed(self) -> float | None:
        """Tell when it was closed; None while it is open."""
        return None if self.is_open else self.updated if self.turn is None else self.turn.time


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRecord:
    """A pull request. `head` is the commit that was last seen on its branch."""

    number: int
    branch: str
    head: Oid
    target: str
    title: str
    body: str
    author: str | None
    is_draft: bool
    is_closed: bool
    labels: tuple[str, ...]
    merged: Oid | None
    created: float
    updated: float
    turn: Turn | None
    comments: int

    @property
    def is_open(self) -> bool:
        """Tell whether it may still be merged."""
        return self.merged is None and not self.is_closed

    @property
    def closed(self) -> float | None:
        """Tell when it was merged or closed; None while it is open."""
        return None if self.is_open else self.updated if self.turn is None else self.turn.time

    @property
    def subject(self) -> str:
        """Give its name in events and comments."""
        return f"pull:{self.number}"


Numbers = Mapping[int, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The whole tracker at one moment, by number; `version` is the number of the last event.

    `blocked_by`, `blocking` and `children` tell of each number the others.
    """

    version: int
    issues: Mapping[int, IssueRecord]
    pulls: Mapping[int, PullRecord]
    numbers: Mapping[str, int]
    blocked_by: Numbers = field(default_factory=dict)
    blocking: Numbers = field(default_factory=dict)
    parent: Mapping[int, int] = field(default_factory=dict)
    children: Numbers = field(default_factory=dict)

    def id_of(self, number: int) -> IssueId:
        """Give the tracker's id of an issue."""
        return self.issues[number].issue.id


class Snapshots:
    """Reads snapshots; one that is still true is given again."""

    def __init__(self, store: TrackerStore) -> None:
        self._store = store
        self._last: Snapshot | None = None

    def now(self) -> Snapshot:
        """Read the tracker as it is. Blocking."""
        with self._store.database.reading() as connection:
            version = int(connection.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()[0])
            last = self._last
            if last is None or last.version != version:
                last = self._last = _snapshot(connection, version)
        return last


@dataclass(frozen=True, slots=True, kw_only=True)
class _History:
    times: Mapping[str, tuple[float, float]]
    turns: Mapping[str, Turn]
    comments: Mapping[str, int]


def _snapshot(connection: sqlite3.Connection, version: int) -> Snapshot:
    history = _history(connection)
    query = (
        "SELECT issue.*, coalesce(issue.number, alias.number) AS shown FROM issue"
        " LEFT JOIN alias ON alias.issue = issue.id ORDER BY position, issue.rowid"
    )
    records = [_issue(row, history) for row in connection.execute(query)]
    issues = {record.number: record for record in records}
    pulls = {record.number: record for record in (_pull(row, history) for row in _pulls(connection))}
    numbers = {str(record.issue.id): record.number for record in records}
    blocked_by, parent = _needs(records, numbers), _parents(records, numbers)
    return Snapshot(
        version=version,
        issues=issues,
        pulls=pulls,
        numbers=numbers,
        blocked_by=blocked_by,
        blocking=_turned([(need, number) for number, needs in blocked_by.items() for need in needs]),
        parent=parent,
        children=_turned([(above, number) for number, above in parent.items()]),
    )


def _pulls(connection: sqlite3.Connection) -> sqlite3.Cursor:
    return connection.execute("SELECT * FROM pull ORDER BY number")


def _history(connection: sqlite3.Connection) -> _History:
    spans = connection.execute("SELECT subject, min(time), max(time) FROM event GROUP BY subject")
    times = {row[0]: (row[1], row[2]) for row in spans}
    # A bare column beside max() is that of the row with the maximum: SQLite says so.
    turns = connection.execute(
        "SELECT subject, what, time, who, data, max(seq) FROM event"
        " WHERE what IN ('closed', 'reopened', 'merged') GROUP BY subject"
    )
    said = connection.execute("SELECT subject, count(*) FROM comment GROUP BY subject")
    return _History(
        times=times,
        turns={row["subject"]: _turn(row) for row in turns},
        comments={row[0]: row[1] for row in said},
    )


def _turn(row: sqlite3.Row) -> Turn:
    otherwise = "reopened" if row["what"] == "reopened" else "completed"
    reason = json.loads(row["data"]).get("reason", otherwise)
    return Turn(what=row["what"], time=row["time"], who=row["who"], reason=reason)


def _issue(row: sqlite3.Row, history: _History) -> IssueRecord:
    issue = issue_from(row["id"], row["state"], row["document"], row["origin"])
    created, updated = history.times.get(issue.id, (0.0, 0.0))
    return IssueRecord(
        number=row["shown"],
        issue=issue,
        created=created,
        updated=updated,
        turn=history.turns.get(issue.id),
        comments=history.comments.get(issue.id, 0),
    )


def _pull(row: sqlite3.Row, history: _History) -> PullRecord:
    subject = f"pull:{row['number']}"
    created, updated = history.times.get(subject, (0.0, 0.0))
    return PullRecord(
        number=row["number"],
        branch=row["branch"],
        head=Oid(row["head"]),
        target=row["target"],
        title=row["title"],
        body=row["body"],
        author=row["author"],
        is_draft=bool(row["is_draft"]),
        is_closed=bool(row["is_closed"]),
        labels=tuple(json.loads(row["labels"])),
        merged=None if row["merged"] is None else Oid(row["merged"]),
        created=created,
        updated=updated,
        turn=history.turns.get(subject),
        comments=history.comments.get(subject, 0),
    )


def _needs(records: Sequence[IssueRecord], numbers: Mapping[str, int]) -> Numbers:
    """Give what each waits for, told from either side; what is not in the tracker is left out."""
    found: dict[int, dict[int, None]] = defaultdict(dict)
    for record in records:
        for need in record.issue.needs:
            if need in numbers:
                found[record.number][numbers[need]] = None
        for blocked in record.issue.blocks:
            if blocked in numbers:
                found[numbers[blocked]][record.number] = None
    return {number: tuple(needs) for number, needs in found.items()}


def _parents(records: Sequence[IssueRecord], numbers: Mapping[str, int]) -> Mapping[int, int]:
    return {
        record.number: numbers[record.issue.parent]
        for record in records
        if record.issue.parent is not None and record.issue.parent in numbers
    }


def _turned(pairs: Sequence[tuple[int, int]]) -> Numbers:
    found: dict[int, list[int]] = defaultdict(list)
    for one, other in pairs:
        found[one].append(other)
    return {number: tuple(others) for number, others in found.items()}
