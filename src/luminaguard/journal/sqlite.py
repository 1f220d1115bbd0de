"""The journal in SQLite: WAL, `synchronous=FULL`, and one commit for all facts that wait at the same time."""

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from luminaguard.host.wal import use_wal
from luminaguard.model.facts import Fact
from luminaguard.model.faults import HostFault
from luminaguard.model.ids import Json, RunId

VERSION = 1
BUSY_S = 30.0
SCHEMA = """
create table fact (
    seq integer primary key autoincrement,
    time real not null,
    run text not null,
    subject text not null,
    kind text not null,
    data text not null,
    unique (run, subject, kind)
) strict;
create trigger fact_is_never_changed before update on fact begin select raise(abort, 'a fact is never changed'); end;
create trigger fact_is_never_removed before delete on fact begin select raise(abort, 'a fact is never removed'); end;
"""
SELECT = "select seq, time, run, subject, kind, data from fact"


@dataclass(slots=True, kw_only=True)
class _Entry:
    run: RunId
    subject: str
    kind: str
    data: str
    fact: Fact | None = None


class SqliteJournal:
    """Facts of all runs of one repository, in one file. Use as a context manager; several processes may hold it."""

    def __init__(self, path: Path) -> None:
        """Open the journal, making it if need be.

        Raises:
            HostFault: the file cannot be opened, is no journal, or was written by a newer version.
        """
        self._path = path
        self._pending: list[_Entry] = []
        self._turn = anyio.Lock()
        self._one_at_a_time = threading.Lock()
        self._one_reads = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            with _closed_unless_ready(self._db):
                self._make_ready()
                # Of its own, so that reading does not wait while another process holds the write lock.
                self._reader = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as exc:
            raise HostFault(f"cannot open the journal {path}: {exc}", hint="move the file away to begin anew") from exc

    def _make_ready(self) -> None:
        use_wal(self._db, within_s=BUSY_S)
        self._db.execute("pragma synchronous=full")
        found = self._version()
        if found == 0:
            self._db.execute("begin immediate")
            if self._version() == 0:  # nobody else made it meanwhile
                for statement in SCHEMA.split(";\n"):
                    if statement.strip():
                        self._db.execute(statement)
                self._db.execute(f"pragma user_version={VERSION}")
            self._db.execute("commit")
        elif found > VERSION:
            raise HostFault(
                f"the journal {self._path} has version {found}, this program knows {VERSION}",
                hint="upgrade luminaguard",
            )

    def _version(self) -> int:
        return int(self._db.execute("pragma user_version").fetchone()[0])

    def __enter__(self) -> "SqliteJournal":
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self._db.close()

    async def add(self, run: RunId, subject: str, kind: str, data: Mapping[str, Json]) -> Fact:
        """Write a fact durably and return it; where (run, subject, kind) is there already, return that one."""
        entry = _entry(run, subject, kind, data)
        self._pending.append(entry)
        while entry.fact is None:
            async with self._turn:
                if entry.fact is None:
                    # Whoever has the turn writes for all: one fsync for every fact that came in during the last one.
                    batch, self._pending = self._pending, []
                    try:
                        with anyio.CancelScope(shield=True):
                            await anyio.to_thread.run_sync(self._write, batch)
                    except HostFault:
                        # Each of the others tries for itself; left out of `_pending` they would wait for ever.
                        self._pending = [*(other for other in batch if other is not entry), *self._pending]
                        raise
        return entry.fact

    def add_now(self, run: RunId, subject: str, kind: str, data: Mapping[str, Json]) -> Fact:
        """Do as `add` does, for callers without an event loop."""
        entry = _entry(run, subject, kind, data)
        self._write([entry])
        assert entry.fact is not None
        return entry.fact

    def _write(self, batch: Sequence[_Entry]) -> None:
        with self._one_at_a_time:
            try:
                self._db.execute("begin immediate")
                now = time.time()
                self._db.executemany(
                    "insert or ignore into fact (time, run, subject, kind, data) values (?, ?, ?, ?, ?)",
                    [(now, entry.run, entry.subject, entry.kind, entry.data) for entry in batch],
                )
                self._db.execute("commit")
                for entry in batch:
                    key = (entry.run, entry.subject, entry.kind)
                    row = self._db.execute(f"{SELECT} where run = ? and subject = ? and kind = ?", key).fetchone()
                    entry.fact = _fact(row)
            except sqlite3.Error as exc:
                with contextlib.suppress(sqlite3.Error):
                    self._db.rollback()
                raise HostFault(f"cannot write to the journal {self._path}: {exc}", hint="is the disk full?") from exc

    def facts(self, run: RunId, *, after: int = 0) -> tuple[Fact, ...]:
        """Read the facts of a run with seq > `after`, in order."""
        return tuple(_fact(row) for row in self._read(f"{SELECT} where run = ? and seq > ? order by seq", run, after))

    def runs(self) -> tuple[RunId, ...]:
        """Name all runs, oldest first."""
        return tuple(RunId(row[2]) for row in self._read(f"{SELECT} group by run order by min(seq)"))

    def _read(self, query: str, *values: str | int) -> list[tuple[int, float, str, str, str, str]]:
        with self._one_reads:
            try:
                return self._reader.execute(query, values).fetchall()
            except sqlite3.Error as exc:
                raise HostFault(f"cannot read the journal {self._path}: {exc}") from exc


@contextlib.contextmanager
def _closed_unless_ready(db: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        db.close()
        raise


def _entry(run: RunId, subject: str, kind: str, data: Mapping[str, Json]) -> _Entry:
    for name in (run, subject, kind):
        name.encode()  # one name that SQLite cannot hold must not fail the facts that it shares a commit with
    return _Entry(run=run, subject=subject, kind=kind, data=_text(data))


def _text(data: Mapping[str, Json]) -> str:
    # ASCII: a path that is not UTF-8 comes with lone surrogates, which SQLite would not take.
    return json.dumps(dict(data), separators=(",", ":"))


def _fact(row: tuple[int, float, str, str, str, str]) -> Fact:
    seq, when, run, subject, kind, data = row
    return Fact(seq=seq, time=when, run=RunId(run), subject=subject, kind=kind, data=json.loads(data))
