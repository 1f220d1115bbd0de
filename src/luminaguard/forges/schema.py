"""The tables of the local tracker, made by the first process that opens the file."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from luminaguard.host.wal import use_wal
from luminaguard.model.faults import UserFault

BUSY_S = 30.0
"""How long one process waits for another."""

_FIRST = """
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

_SECOND = """
CREATE TABLE alias (             -- programs that speak GitHub's language know an issue by a number only:
                                 -- from 1,000,000 on, far above what a sequence that begins at 1 reaches
    number INTEGER PRIMARY KEY,
    issue TEXT NOT NULL UNIQUE
);
INSERT INTO alias (number, issue)
    SELECT 999999 + row_number() OVER (ORDER BY rowid), id FROM issue WHERE number IS NULL;
CREATE TRIGGER issue_gets_alias AFTER INSERT ON issue WHEN NEW.number IS NULL BEGIN
    INSERT INTO alias (number, issue) SELECT coalesce(max(number), 999999) + 1, NEW.id FROM alias;
END;
CREATE TABLE said (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    subject TEXT NOT NULL,       -- as an event's
    time REAL NOT NULL,
    author TEXT NOT NULL,
    text TEXT NOT NULL,
    edited REAL
);
INSERT INTO said (seq, subject, time, author, text) SELECT seq, issue, time, author, text FROM comment;
DROP TABLE comment;
ALTER TABLE said RENAME TO comment;
CREATE INDEX comment_by_subject ON comment (subject);
ALTER TABLE pull ADD COLUMN author TEXT;
ALTER TABLE pull ADD COLUMN is_draft INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pull ADD COLUMN is_closed INTEGER NOT NULL DEFAULT 0;  -- without a merge
ALTER TABLE pull ADD COLUMN labels TEXT NOT NULL DEFAULT '[]';
DROP INDEX pull_open_by_branch;
CREATE UNIQUE INDEX pull_open_by_branch ON pull (branch) WHERE merged IS NULL AND is_closed = 0;
CREATE TABLE label (
    name TEXT PRIMARY KEY COLLATE NOCASE,
    colour TEXT NOT NULL,
    description TEXT
);
CREATE TABLE review (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    pull INTEGER NOT NULL REFERENCES pull (number),
    time REAL NOT NULL,
    author TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('APPROVED', 'CHANGES_REQUESTED', 'COMMENTED')),
    text TEXT NOT NULL,
    head TEXT NOT NULL
);
CREATE INDEX review_by_pull ON review (pull);
CREATE TABLE line_comment (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    review INTEGER NOT NULL REFERENCES review (seq),
    path TEXT NOT NULL,
    line INTEGER,
    side TEXT NOT NULL CHECK (side IN ('LEFT', 'RIGHT')),
    text TEXT NOT NULL,
    answers INTEGER REFERENCES line_comment (seq)
);
CREATE INDEX line_comment_by_review ON line_comment (review);
CREATE TABLE status (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    head TEXT NOT NULL,
    context TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('error', 'failure', 'pending', 'success')),
    description TEXT,
    url TEXT,
    time REAL NOT NULL,
    author TEXT NOT NULL
);
CREATE INDEX status_by_head ON status (head);
CREATE TABLE check_run (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    head TEXT NOT NULL,
    name TEXT NOT NULL,
    said TEXT NOT NULL           -- everything else that is said of it, as JSON
);
CREATE INDEX check_run_by_head ON check_run (head);
"""

_THIRD = """
CREATE TABLE brought (           -- issues from elsewhere, each once
    key TEXT PRIMARY KEY,        -- what it is a copy of
    issue TEXT NOT NULL
);
CREATE INDEX issue_by_number ON issue (number);
CREATE INDEX pull_by_branch ON pull (branch);
"""

_STEPS = (_FIRST, _SECOND, _THIRD)
VERSION = len(_STEPS)
"""`PRAGMA user_version` of the tables: how many of the steps above were taken."""


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Set a fresh connection up, and make the tables where the file is new or older than they are.

    Raises:
        UserFault: the file was written by a newer luminaguard, or by another program.
    """
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # In one transaction: between two looks of its own, another process may make the tables.
    connection.execute("BEGIN")
    there = _version(connection, path)
    connection.execute("ROLLBACK")
    if there == VERSION:
        return
    if there == 0:
        use_wal(connection, within_s=BUSY_S)
    connection.execute("BEGIN IMMEDIATE")
    for step in _STEPS[_version(connection, path) :]:
        for statement in _statements(step):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Tell how many of the steps were taken; 0 in a new file."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        what = f"{path} was written by a newer luminaguard (tables {version}, this one knows {VERSION})"
        raise UserFault(what, hint="upgrade luminaguard")
    if version < 0 or (version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]):
        raise UserFault(f"{path} is a database of another program", hint="move it away: a new one is made")
    return version


def _statements(script: str) -> Iterator[str]:
    """Take a script apart. `executescript` would commit first, and so let two processes create the tables."""
    text = ""
    for line in script.splitlines():
        text += f"{line.partition('--')[0]}\n"
        if sqlite3.complete_statement(text):
            yield text
            text = ""
