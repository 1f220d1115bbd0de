"""SQLite files that several processes write: switched to the log, whoever else opens them at the same moment."""

import sqlite3
import time

LOOK_S = 0.01


def use_wal(db: sqlite3.Connection, *, within_s: float) -> None:
    """Switch a file to the log, for good; one that is switched already stays as it is.

    Where another process makes or switches the same new file, SQLite refuses at once, whatever `timeout` the connection
    has: it would wait with a shared lock, which the other waits for.

    Raises:
        sqlite3.OperationalError: the other was not done within this time, or the file cannot be switched.
    """
    until = time.monotonic() + within_s
    while True:
        try:
            db.execute("pragma journal_mode=wal")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(LOOK_S)
        else:
            return
