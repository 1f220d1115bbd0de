"""The tables of the local tracker, made by the first process that opens the file."""

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from luminaguard.model.faults import UserFault

VERSION = 1
"""`PRAGMA user_version` of the tables below."""

BUSY_S = 30.0
"""How long one process waits for another."""

_TABLES = """
CREATE TABLE issue (
    id TEXT PRIMARY KEY,
    number INTEGER,              -- the id where it is a number, for the sequence shared with pull requests
    position INTEGER NOT NULL,   -- the order of the source
    state TEXT NOT NULL CHECK (state IN ('open', 'closed')),
    document TEXT NOT NULL,      -- everything else that is said of it, as JSON
    origin TEXT,                 -- file and line that it was read from, as JSON
    source TEXT,                 -- the backlog file that it came from, NULL where it was added here
    source_state TEXT,           -- its state in that file when it was last read
    digest TEXT,                 -- of all that the file said then
    text_digest TEXT             -- of its title and body alone
);
CREATE INDEX issue_by_position ON issue (position);
CREATE TABLE comment (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    issue TEXT NOT NULL REFERENCES issue (id),
    time REAL NOT NULL,
    author TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX comment_by_issue ON comment (issue);
CREATE TABLE pull (
    number INTEGER PRIMARY KEY,
    branch TEXT NOT NULL,
    head TEXT NOT NULL,
    target TEXT NOT NULL,
    issue TEXT NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    merged TEXT
);
-- A branch has one pull request at a time; once that is merged, work that goes on gets another.
CREATE UNIQUE INDEX pull_open_by_branch ON pull (branch) WHERE merged IS NULL;
CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    time REAL NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    subject TEXT NOT NULL,       -- an issue's id, or "pull:" and a number
    data TEXT NOT NULL
);
CREATE INDEX event_by_subject ON event (subject);
CREATE TRIGGER event_stays BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER event_is_kept BEFORE DELETE ON event BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END;
"""


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Set a fresh connection up, and make the tables where the file is new.

    Raises:
        UserFault: the file was written by a newer luminaguard, or by another program.
    """
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # In one transaction: between two looks of its own, another process may make the tables.
    connection.execute("BEGIN")
    there = _is_ours(connection, path)
    connection.execute("ROLLBACK")
    if there:
        return
    _use_wal(connection)
    connection.execute("BEGIN IMMEDIATE")
    if not _is_ours(connection, path):
        for statement in _statements(_TABLES):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to the log. For this alone SQLite does not wait while another process does the same."""
    deadline_s = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline_s:
                raise
            time.sleep(0.01)
        else:
            return


def _is_ours(connection: sqlite3.Connection, path: Path) -> bool:
    """Tell whether the tables are there; False in a new file."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version == VERSION:
        return True
    if version > VERSION:
        what = f"{path} was written by a newer luminaguard (tables {version}, this one knows {VERSION})"
        raise UserFault(what, hint="upgrade luminaguard")
    if version < 0 or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise UserFault(f"{path} is a database of another program", hint="move it away: a new one is made")
    return False


def _statements(script: str) -> Iterator[str]:
    """Take a script apart. `executescript` would commit first, and so let two processes create the tables."""
    text = ""
    for line in script.splitlines():
        text += f"{line.partition('--')[0]}\n"
        if sqlite3.complete_statement(text):
            yield text
            text = ""
