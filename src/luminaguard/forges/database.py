"""The local tracker's SQLite file: one connection that threads take turns with, and errors sorted by who must act."""

import errno
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from luminaguard.forges.schema import BUSY_S, prepare
from luminaguard.model.faults import Fault, HostFault, Transient


class Database:
    """Transactions on one file, which is made when it is first used.

    The connection stays open: the last one to close folds the log back into the file, which costs several waits for the
    disk (measured: 23 ms a change where a commit alone takes 4).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read from one consistent state."""
        with self._turn, _faults(self.path):
            yield from _within(self._opened(), begin="BEGIN", end="ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Make one change: durable when the block ends, undone when it raises."""
        with self._turn, _faults(self.path):
            yield from _within(self._opened(), begin="BEGIN IMMEDIATE", end="COMMIT")

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = _connect(self.path)
            # Only tidiness, nothing depends on it: without it Python 3.13 warns of a connection that was not closed.
            weakref.finalize(self, self._connection.close)
        return self._connection


def _within(connection: sqlite3.Connection, *, begin: str, end: str) -> Iterator[sqlite3.Connection]:
    connection.execute(begin)
    try:
        yield connection
        connection.execute(end)
    finally:
        if connection.in_transaction:
            connection.rollback()


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    # isolation_level None: transactions are begun by name, so that a read and the write after it cannot come apart.
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise  # a bug of ours, not of the machine
    except sqlite3.DatabaseError as exc:
        raise _fault(exc, path) from exc
    except OSError as exc:
        hint = "free some space" if exc.errno == errno.ENOSPC else "check the folder and its permissions"
        raise HostFault(f"the tracker {path} cannot be used: {exc.strerror}", hint=hint) from exc


def _fault(exc: sqlite3.DatabaseError, path: Path) -> Fault:
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Transient(f"the tracker {path} was in use for {BUSY_S:.0f} s", hint="see which process holds it")
    hints = {
        sqlite3.SQLITE_NOTADB: "move it away: a new one is made, and a backlog file is read into it again",
        sqlite3.SQLITE_CORRUPT: "move it away: a new one is made, and a backlog file is read into it again",
        sqlite3.SQLITE_FULL: "free some space",
        sqlite3.SQLITE_READONLY: "make the file and its folder writable",
        sqlite3.SQLITE_CANTOPEN: "check the folder and its permissions",
        sqlite3.SQLITE_IOERR: "check the disk",
    }
    if code in hints:
        return HostFault(f"the tracker {path} cannot be used: {exc}", hint=hints[code])
    return HostFault(f"the tracker {path} is not as it should be: {exc}", hint="move it away: a new one is made")
