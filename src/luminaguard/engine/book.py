"""A run's facts in memory, kept level with the journal: what was said, what is new, what a step remembered."""

from bisect import bisect_right, insort
from collections.abc import Awaitable, Callable, Mapping
from operator import attrgetter

import anyio

from luminaguard.journal.base import Journal
from luminaguard.model.facts import Fact
from luminaguard.model.ids import Json, RunId

LOOK_EVERY_S = 0.2
SEQ = attrgetter("seq")


class Book:
    """The facts of one run. Other processes (the command line) add facts too; `follow` brings them in."""

    def __init__(self, journal: Journal, run: RunId) -> None:
        """Read what is there."""
        self.run = run
        self._journal = journal
        self._facts: dict[str, dict[str, Fact]] = {}
        self._in_order: list[Fact] = []
        self._news: dict[str, anyio.Event] = {}
        self._read_up_to = 0
        self._untold: list[Fact] = []
        self._rung = anyio.Event()
        self.take_in()
        self._untold.clear()

    def take_in(self) -> list[Fact]:
        """Read what others wrote meanwhile; return what was new to us. `follow` tells of it all the same."""
        read = self._journal.facts(self.run, after=self._read_up_to)
        # Only what was read moves the mark: a fact of ours may have a higher seq than another's that we have not seen.
        self._read_up_to = max((fact.seq for fact in read), default=self._read_up_to)
        fresh = [fact for fact in read if self._remember(fact)]
        self._untold += fresh
        return fresh

    def _remember(self, fact: Fact) -> bool:
        kinds = self._facts.setdefault(fact.subject, {})
        is_new = fact.kind not in kinds
        kinds[fact.kind] = fact
        if is_new and (event := self._news.pop(fact.subject, None)):
            event.set()
        if is_new:
            insort(self._in_order, fact, key=SEQ)
            self._rung.set()
        return is_new

    async def follow(self, told: Callable[[Fact], None]) -> None:
        """Watch for facts of other processes for ever, and tell of each."""
        while True:
            await anyio.sleep(LOOK_EVERY_S)
            self.take_in()
            while self._untold:
                told(self._untold.pop(0))

    async def news(self, subject: str) -> None:
        """Wait until the subject has a fact more."""
        await self._news.setdefault(subject, anyio.Event()).wait()

    async def anything(self) -> None:
        """Wait until there is a fact that was not there when this last came back."""
        await self._rung.wait()
        self._rung = anyio.Event()

    def since(self, seq: int) -> list[Fact]:
        """List the facts of all subjects above a seq, in order."""
        return self._in_order[bisect_right(self._in_order, seq, key=SEQ) :]

    async def add(self, subject: str, kind: str, data: Mapping[str, Json]) -> Fact:
        """Write a fact, or find the one that is there."""
        if (seen := self.get(subject, kind)) is not None:
            return seen
        fact = await self._journal.add(self.run, subject, kind, data)
        self._remember(fact)
        return fact

    async def add_another(self, subject: str, name: str, data: Mapping[str, Json]) -> Fact:
        """Write the next of the facts of this name: "held:1", then "held:2"."""
        return await self.add(subject, f"{name}:{len(self.all(subject, name)) + 1}", data)

    async def add_next(self, subject: str, name: str, number: int, data: Mapping[str, Json]) -> Fact:
        """Write the next of the facts of this name and number: "checks:2.1", then "checks:2.2"."""
        count = sum(1 for fact in self.all(subject, name) if fact.number == number)
        return await self.add(subject, f"{name}:{number}.{count + 1}", data)

    async def step(self, subject: str, kind: str, make: Callable[[], Awaitable[Mapping[str, Json]]]) -> Fact:
        """Do something once: the remembered fact where there is one, else do it and remember."""
        seen = self.get(subject, kind)
        return seen if seen is not None else await self.add(subject, kind, await make())

    def get(self, subject: str, kind: str) -> Fact | None:
        """Find a fact by its full kind."""
        return self._facts.get(subject, {}).get(kind)

    def all(self, subject: str, *names: str) -> list[Fact]:
        """List the subject's facts of these names (of any name where none is given), in order of seq."""
        kinds = self._facts.get(subject, {}).values()
        return sorted((fact for fact in kinds if not names or fact.name in names), key=SEQ)

    def last(self, subject: str, *names: str) -> Fact | None:
        """Find the latest fact of these names."""
        found = self.all(subject, *names)
        return found[-1] if found else None

    def subjects(self) -> tuple[str, ...]:
        """Name every subject that has facts."""
        return tuple(self._facts)
