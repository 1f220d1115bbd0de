"""A backlog file is brought into the tracker: what is new, what changed, and who is right about the state.

The file and the tracker may both close and open an issue. Whoever changed last is right: a state that changed in the
file since it was last read wins; else ours stays, so what we closed stays closed although the file still says open.
One exception: text that changed in the file after we closed the issue asks for new work, so it is opened again.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from luminaguard.forges.documents import asked, digest_of, document_of, origin_of
from luminaguard.model.ids import Json
from luminaguard.model.issue import Issue, IssueState, Notice

Log = Callable[[str, str, dict[str, Json]], None]
"""Adds an event: what, subject, data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Absorption:
    """One reading of `source` on its way into the tracker, inside the caller's transaction."""

    connection: sqlite3.Connection
    source: str
    log: Log

    def take(self, issues: Sequence[Issue]) -> tuple[Notice, ...]:
        """Bring the issues in, and tell what a person might not expect."""
        rows = {str(row["id"]): row for row in self.connection.execute("SELECT * FROM issue")}
        notices: list[Notice] = []
        for position, issue in enumerate(issues):
            row = rows.get(issue.id)
            if row is None:
                self._insert(issue, position)
            else:
                notices += self._update(issue, position, row)
        there = {str(issue.id) for issue in issues}
        gone = [row for key, row in rows.items() if row["source"] == self.source and key not in there]
        return (*notices, *(self._vanished(row) for row in gone if row["state"] == IssueState.OPEN))

    def _insert(self, issue: Issue, position: int) -> None:
        row = {"id": issue.id, "number": number_of(issue.id), "state": str(issue.state), **self._seen(issue, position)}
        names, marks = ", ".join(row), ", ".join(f":{key}" for key in row)
        self.connection.execute(f"INSERT INTO issue ({names}) VALUES ({marks})", row)  # noqa: S608 names of columns
        self.log("read", issue.id, {"source": self.source, "state": issue.state})

    def _update(self, issue: Issue, position: int, row: sqlite3.Row) -> list[Notice]:
        seen = self._seen(issue, position)
        changed = row["digest"] != seen["digest"]
        state = self._state(issue, row, changed=row["text_digest"] != seen["text_digest"])
        # What was edited here stays until the file says something else.
        new = {**seen, "document": seen["document"] if changed else row["document"], "state": str(state)}
        if all(row[key] == value for key, value in new.items()):
            return []
        settings = ", ".join(f"{key} = :{key}" for key in new)
        statement = f"UPDATE issue SET {settings} WHERE id = :id"  # noqa: S608 names of columns
        self.connection.execute(statement, {**new, "id": issue.id})
        if changed:
            self.log("changed in the file", issue.id, {"source": self.source})
        return [*self._moved(issue, row), *self._turned(issue, row, state)]

    def _seen(self, issue: Issue, position: int) -> dict[str, str | int | None]:
        """Give the columns that say what the file said."""
        document = document_of(issue)
        return {
            "position": position,
            "document": document,
            "origin": origin_of(issue),
            "source": self.source,
            "source_state": str(issue.state),
            "digest": digest_of(document),
            "text_digest": digest_of(asked(issue)),
        }

    def _state(self, issue: Issue, row: sqlite3.Row, *, changed: bool) -> IssueState:
        if row["source_state"] is not None and row["source_state"] != issue.state:
            return issue.state
        return IssueState.OPEN if changed and issue.state is IssueState.OPEN else IssueState(row["state"])

    def _moved(self, issue: Issue, row: sqlite3.Row) -> list[Notice]:
        if row["source"] == self.source:
            return []
        before = "added here" if row["source"] is None else f"read from {row['source']}"
        self.log("moved", issue.id, {"from": row["source"], "to": self.source})
        text = f"issue {issue.id} was {before} before; it is now read from {self.source}"
        return [Notice(text=text, issue=issue.id, origin=issue.origin)]

    def _turned(self, issue: Issue, row: sqlite3.Row, state: IssueState) -> list[Notice]:
        if row["state"] == state:
            return []
        if state is IssueState.CLOSED:
            self.log("closed", issue.id, {"source": self.source})
            return []
        self.log("reopened", issue.id, {"source": self.source})
        text = f"issue {issue.id} was closed and is open again: {self.source} changed after that"
        return [Notice(text=text, issue=issue.id, origin=issue.origin)]

    def _vanished(self, row: sqlite3.Row) -> Notice:
        where = json.loads(row["document"])["title"]
        text = f"issue {row['id']} ({where}) is no longer in {self.source}; it stays open until it is closed by hand"
        return Notice(text=text, issue=row["id"])


def number_of(issue: str) -> int | None:
    """Give the id as a number where it is one that counts in the sequence."""
    return int(issue) if issue.isascii() and issue.isdigit() and len(issue) <= 15 else None
