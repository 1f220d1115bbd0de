"""Verdicts on commits in the tracker: statuses, of which the last of each context stands, and check runs."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from luminaguard.forges.store import TrackerStore, checked_text
from luminaguard.model.ids import Json, Oid

StatusState = Literal["error", "failure", "pending", "success"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One word on a commit. `time` is seconds since the epoch."""

    seq: int
    head: Oid
    context: str
    state: StatusState
    description: str | None
    url: str | None
    time: float
    author: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRun:
    """One run of a check on a commit; `said` is the rest, with GitHub's keys."""

    seq: int
    head: Oid
    name: str
    said: Mapping[str, Json]


class Verdicts:
    """The verdicts of a tracker. Blocking, as the store is, and with its errors."""

    def __init__(self, store: TrackerStore) -> None:
        self._store = store
        self._database = store.database

    def report(
        self,
        head: Oid,
        *,
        context: str,
        state: StatusState,
        author: str,
        description: str | None = None,
        url: str | None = None,
    ) -> Status:
        """Add a status."""
        with self._database.writing() as connection:
            said = {"context": context, "state": state, "description": description, "url": url, "author": author}
            return self._add(connection, head, said)

    def settle(self, head: Oid, *, context: str, state: StatusState, author: str, description: str) -> None:
        """Add a status, unless the one that stands says the same already."""
        said = {"context": context, "state": state, "description": description, "author": author}
        with self._database.writing() as connection:
            standing = "SELECT * FROM status WHERE head = ? AND context = ? ORDER BY seq DESC LIMIT 1"
            row = connection.execute(standing, (head, context)).fetchone()
            if row is None or any(row[key] != value for key, value in said.items()):
                self._add(connection, head, {**said, "url": None})

    def statuses(self, head: Oid) -> tuple[Status, ...]:
        """Read all statuses of a commit, newest first."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM status WHERE head = ? ORDER BY seq DESC", (head,))
            return tuple(Status(**dict(row)) for row in rows)

    def standing(self, head: Oid) -> tuple[Status, ...]:
        """Read the status of each context that stands."""
        newest: dict[str, Status] = {}
        for status in self.statuses(head):
            newest.setdefault(status.context, status)
        return tuple(newest.values())

    def begin(self, head: Oid, *, name: str, said: Mapping[str, Json], author: str) -> CheckRun:
        """Add a check run."""
        with self._database.writing() as connection:
            made = connection.execute(
                "INSERT INTO check_run (head, name, said) VALUES (?, ?, ?)",
                (head, checked_text("name", name), _written(said)),
            ).lastrowid
            self._store.log(connection, "check run", f"commit:{head}", {"name": name}, who=author)
            return _check_run(connection.execute("SELECT * FROM check_run WHERE seq = ?", (made,)).fetchone())

    def go_on(self, run: CheckRun, *, said: Mapping[str, Json], author: str) -> CheckRun:
        """Say something new of a check run; what is not said anew stays."""
        with self._database.writing() as connection:
            connection.execute("UPDATE check_run SET said = ? WHERE seq = ?", (_written({**run.said, **said}), run.seq))
            self._store.log(connection, "check run", f"commit:{run.head}", {"name": run.name}, who=author)
            return _check_run(connection.execute("SELECT * FROM check_run WHERE seq = ?", (run.seq,)).fetchone())

    def run(self, seq: int) -> CheckRun | None:
        """Read one check run; None where it is not there."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM check_run WHERE seq = ?", (seq,)).fetchone()
            return None if row is None else _check_run(row)

    def runs(self, head: Oid, *, every: bool = False) -> tuple[CheckRun, ...]:
        """Read the check runs of a commit: the newest of each name, or every one."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM check_run WHERE head = ? ORDER BY seq", (head,))
            found = [_check_run(row) for row in rows]
        return tuple(found if every else {run.name: run for run in found}.values())

    def _add(self, connection: sqlite3.Connection, head: Oid, said: Mapping[str, str | None]) -> Status:
        for name in ("context", "description", "url"):
            checked_text(name, said[name] or "")
        made = connection.execute(
            "INSERT INTO status (head, context, state, description, url, time, author)"
            " VALUES (:head, :context, :state, :description, :url, :time, :author)",
            {**said, "head": head, "time": self._store.now()},
        ).lastrowid
        event: dict[str, Json] = {"context": said["context"], "state": said["state"]}
        self._store.log(connection, "status", f"commit:{head}", event, who=said["author"])
        return Status(**dict(connection.execute("SELECT * FROM status WHERE seq = ?", (made,)).fetchone()))


def _written(said: Mapping[str, Json]) -> str:
    return checked_text("check run", json.dumps(dict(said), ensure_ascii=False))


def _check_run(row: sqlite3.Row) -> CheckRun:
    return CheckRun(seq=row["seq"], head=row["head"], name=row["name"], said=json.loads(row["said"]))
