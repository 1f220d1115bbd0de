"""The ledger's file: its tables, how it is opened, and errors sorted by who must act."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from luminaguard.host.wal import use_wal
from luminaguard.model.faults import HostFault

VERSION = 1
BUSY_S = 30.0
SCHEMA = """
create table holder (
    id integer primary key, run text not null, issue text not null, attempt integer not null, role text not null,
    key text not null unique, calls integer not null default 0, input integer not null default 0,
    output integer not null default 0, usd real not null default 0, unique (run, issue, attempt, role)
) strict;
create table gateway (id integer primary key autoincrement, pid integer not null, began real not null) strict;
create table call (
    id integer primary key, holder integer not null references holder, gateway integer not null, provider text not null,
    model text not null, began real not null, ended real, status integer, input integer not null default 0,
    output integer not null default 0, usd real not null default 0, priced integer not null default 1,
    estimated integer not null default 1
) strict;
create index call_open on call (holder) where ended is null;
create index call_noted on call (holder) where ended is not null and (priced = 0 or estimated = 1 or status >= 400);
create table budget (
    run text primary key, usd_per_issue real, usd_per_run real, tokens_per_issue integer, tokens_per_run integer
) strict;
create table limited (
    id integer primary key, run text not null, provider text not null, since real not null, until real not null,
    why text not null
) strict;
create table words (
    run text not null, issue text not null, number integer not null, text text not null,
    primary key (run, issue, number)
) strict;
create table heard (run text not null, issue text not null, number integer not null, primary key (run, issue)) strict;
create table question (
    id integer primary key autoincrement, run text not null, issue text not null, attempt integer not null,
    what text not null, wanted_until real not null, answer integer
) strict;
create index question_open on question (run) where answer is null;
"""


def opened(path: Path, *, durable: bool) -> sqlite3.Connection:
    """Open the ledger, made if need be; `durable` waits for the disk at each change.

    Raises:
        HostFault: the file cannot be opened, is no ledger, or was written by a newer version.
    """
    with faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # its -wal and -shm get the same mode from SQLite
        db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            use_wal(db, within_s=BUSY_S)
            db.execute(f"pragma synchronous={'full' if durable else 'normal'}")
            _make_ready(db, path)
        except BaseException:
            db.close()
            raise
        return db


def _make_ready(db: sqlite3.Connection, path: Path) -> None:
    found = _version(db)
    if found > VERSION:
        raise HostFault(
            f"the ledger {path} has version {found}, this program knows {VERSION}", hint="upgrade luminaguard"
        )
    if found == 0:
        with writing(db):
            if _version(db) == 0:  # nobody else made it meanwhile
                for statement in SCHEMA.split(";\n"):
                    if statement.strip():
                        db.execute(statement)
                db.execute(f"pragma user_version={VERSION}")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("pragma user_version").fetchone()[0])


@contextlib.contextmanager
def writing(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Make one change: there as a whole when the block ends, not at all when it raises."""
    db.execute("begin immediate")
    try:
        yield db
        db.execute("commit")
    finally:
        if db.in_transaction:
            db.rollback()


@contextlib.contextmanager
def faults(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system say into a fault."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise  # a bug of ours, not of the machine
    except sqlite3.DatabaseError as exc:
        raise HostFault(f"the ledger {path} cannot be used: {exc}", hint="is the disk full?") from exc
    except OSError as exc:
        raise HostFault(f"the ledger {path} cannot be used: {exc.strerror}", hint="check the folder") from exc
