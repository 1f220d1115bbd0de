"""A backlog file is brought into the tracker: what is new, what changed, and who is right about the state.

The file and the tracker may both close and open an issue. Whoever changed last is right: a state that changed in the
file since it was last read wins; else ours stays, so what we closed stays closed although the file still says open.
One exception: text that changed in the file after we closed the issue asks for new work, so it is opened again.

An issue that came from elsewhere is never touched, unless it is the same one: its file was moved, or it was exported.
"""

import json
import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from luminaguard.forges.documents import asked, digest_of, document_of, issue_from, origin_of
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import Json
from luminaguard.model.issue import Issue, IssueState, Notice

Log = Callable[[str, str, dict[str, Json]], None]
"""Adds an event: what, subject, data."""


class TakenError(UserFault):
    """Ids of a file are those of other issues in the tracker."""


SHOWN = 3
_COPY = re.compile(r"<!-- luminaguard: copy of [^\n]*? -->")
"""The mark that an export puts beneath a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Absorption:
    """One reading of `source` on its way into the tracker, inside the caller's transaction."""

    connection: sqlite3.Connection
    source: str
    log: Log

    def take(self, issues: Sequence[Issue]) -> tuple[Notice, ...]:
        """Bring the issues in, and tell what a person might not expect.

        Raises:
            TakenError: an id is that of another issue, which is not from this source; then nothing is written.
        """
        rows = {str(row["id"]): row for row in self.connection.execute("SELECT * FROM issue")}
        both = [(issue, rows[issue.id]) for issue in issues if issue.id in rows]
        if others := [(issue, row) for issue, row in both if not self._is_same(issue, row)]:
            raise self._taken(others)
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

    def _is_same(self, issue: Issue, row: sqlite3.Row) -> bool:
        if row["source"] == self.source or row["digest"] == digest_of(document_of(issue)):
            return True
        there = _issue_in(row)
        # What was added here stands nowhere else, so its text counts too; a file that was moved may say more.
        return _words(there) == _words(issue) if row["source"] is None else there.title == issue.title

    def _taken(self, others: Sequence[tuple[Issue, sqlite3.Row]]) -> TakenError:
        said = [f"#{it.id} {it.title!r} ({_issue_in(row).title!r} there, {_from(row)})" for it, row in others[:SHOWN]]
        more = [f"and {len(others) - SHOWN} more"] if len(others) > SHOWN else []
        hint = (
            f"give them other ids in {self.source}, or copy it to free ids of the tracker: "
            f'luminaguard issues import {self.source}, with [backlog] source = "local"'
        )
        if any(row["source"] is not None for _, row in others):
            hint += "; a file that was renamed keeps its titles until it was read once"
        what = "has other issues than the tracker under the same ids"
        return TakenError(f"{self.source} {what}: {', '.join((*said, *more))}", hint=hint)

    def _insert(self, issue: Issue, position: int) -> None:
        row = {"id": issue.id, "number": number_of(issue.id), "state": str(issue.state), **self._seen(issue, position)}
        names, marks = ", ".join(row), ", ".join(f":{key}" for key in row)
        self.connection.execute(f"INSERT INTO issue ({names}) VALUES ({marks})", row)  # noqa: S608 names of columns
        self.log("read", issue.id, {"source": self.source, "state": issue.state})

    def _update(self, issue: Issue, position: int, row: sqlite3.Row) -> list[Notice]:
        seen = self._seen(issue, position)
        is_ours = row["source"] is None
        changed = not is_ours and row["digest"] != seen["digest"]
        state = self._state(issue, row, changed=not is_ours and row["text_digest"] != seen["text_digest"])
        # What was edited here stays until the file says something else.
        before = _joined(row["document"], document_of(issue)) if is_ours else row["document"]
        new = {**seen, "document": seen["document"] if changed else before, "state": str(state)}
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
        self.log("moved", issue.id, {"from": row["source"], "to": self.source})
        text = f"issue {issue.id} was {_from(row)} before; it is now read from {self.source}"
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


def _issue_in(row: sqlite3.Row) -> Issue:
    return issue_from(row["id"], row["state"], row["document"], row["origin"])


def _words(issue: Issue) -> list[str]:
    return _COPY.sub(" ", asked(issue)).split()


def _from(row: sqlite3.Row) -> str:
    return "added here" if row["source"] is None else f"read from {row['source']}"


def _joined(ours: str, theirs: str) -> str:
    """Put what a file says beside what was said here: ours counts, and the file speaks where it is silent."""
    said = {name: value for name, value in json.loads(ours).items() if value not in (None, "", [], {})}
    return json.dumps(json.loads(theirs) | said, ensure_ascii=False)


def number_of(issue: str) -> int | None:
    """Give the id as a number where it is one that counts in the sequence."""
    return int(issue) if issue.isascii() and issue.isdigit() and len(issue) <= 15 else None
