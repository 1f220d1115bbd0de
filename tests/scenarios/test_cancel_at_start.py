"""A word that comes just when an agent is about to start."""

from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
import pytest
from stage import WAIT, WORK, Stage

from luminaguard.app.project import open_project
from luminaguard.app.working import Wanted, work
from luminaguard.journal.sqlite import SqliteJournal
from luminaguard.model.facts import Fact
from luminaguard.model.ids import Json, RunId


class CancellingJournal(SqliteJournal):
    """Has the issue cancelled when its start is written down, and lets nobody go on before the session has read it."""

    def __init__(self, path: Path, stage: Stage) -> None:
        super().__init__(path)
        self._stage = stage
        self._is_read = anyio.Event()

    async def add(self, run: RunId, subject: str, kind: str, data: Mapping[str, Json]) -> Fact:
        fact = await super().add(run, subject, kind, data)
        if fact.name == "placed":
            await anyio.to_thread.run_sync(self._stage.say, "cancel", subject)
            await self._is_read.wait()
        return fact

    def facts(self, run: RunId, *, after: int = 0) -> tuple[Fact, ...]:
        found = super().facts(run, after=after)
        if any(fact.name == "cancelled" for fact in found):
            self._is_read.set()
        return found


def test_an_agent_that_is_about_to_start_when_it_is_cancelled_is_stopped(
    one: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = one(WORK + WAIT)
    for name, value in stage.env.items():
        monkeypatch.setenv(name, value)

    async def session() -> None:
        with anyio.fail_after(stage.patience_s):
            await work(open_project(stage.root), Wanted(), open_journal=lambda path: CancellingJournal(path, stage))

    anyio.run(session)
    assert stage.issues_told()["1"]["state"] == "cancelled"
    assert len(stage.facts("1", "placed")) == 1
    stage.must_be_whole(landed=[])
