"""A new SQLite file that two open at the same moment: the second waits for the first."""

import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from luminaguard.forges.store import TrackerStore
from luminaguard.gateway.ledger import SqliteLedger
from luminaguard.host.wal import use_wal
from luminaguard.journal.sqlite import SqliteJournal


def use_journal(path: Path) -> None:
    with SqliteJournal(path) as journal:
        assert journal.runs() == ()


def use_ledger(path: Path) -> None:
    SqliteLedger(path).close()


def use_tracker(path: Path) -> None:
    assert TrackerStore(path).issues() == ()


@pytest.mark.parametrize("use", [use_journal, use_ledger, use_tracker])
def test_new_file_that_another_is_about_to_write_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[Path], None]
) -> None:
    path = tmp_path / "new.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        monkeypatch.setattr(time, "sleep", lambda _: other.rollback())
        use(path)
        assert not other.in_transaction
        assert other.execute("pragma journal_mode").fetchone() == ("wal",)


def test_new_file_that_another_keeps_is_refused_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    with (
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other,
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as ours,
    ):
        other.execute("begin immediate")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            use_wal(ours, within_s=0.0)
