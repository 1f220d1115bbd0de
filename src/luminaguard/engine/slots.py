"""Who may work now: a bounded number of slots, the longest remaining path first; and whether anybody still moves."""

import heapq
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
import anyio.lowlevel


class Slots:
    """`count` places at work. A free one goes to whoever waits with the highest rank, the earlier among equals."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._arrivals = 0
        self._waiting: list[tuple[float, int, anyio.Event]] = []

    @asynccontextmanager
    async def take(self, rank: float) -> AsyncIterator[None]:
        """Hold a slot for the block."""
        await self._acquire(rank)
        try:
            yield
        finally:
            self._give_back()

    async def _acquire(self, rank: float) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        ready = anyio.Event()
        self._arrivals += 1
        place = (-rank, self._arrivals, ready)
        heapq.heappush(self._waiting, place)
        try:
            await ready.wait()
        except BaseException:
            if ready.is_set():
                self._give_back()
            else:
                self._waiting.remove(place)
                heapq.heapify(self._waiting)
            raise

    def _give_back(self) -> None:
        if self._waiting:
            heapq.heappop(self._waiting)[2].set()
        else:
            self._free += 1


class Movement:
    """Counts who moves; when all have parked (they wait for a person, or for someone who does), the session is over."""

    def __init__(self) -> None:
        self._moving = 0
        self._still = anyio.Event()
        self._stir = anyio.Event()
        self.stirs = 0

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Count the caller as moving for the block."""
        self._begin()
        try:
            yield
        finally:
            self._stop()

    @contextmanager
    def parked(self) -> Iterator[None]:
        """Do not count the caller for the block; use inside `moving`."""
        self._stop()
        try:
            yield
        finally:
            self._begin()

    def _begin(self) -> None:
        self._moving += 1
        self.stirs += 1
        self._stir.set()

    def _stop(self) -> None:
        self._moving -= 1
        if not self._moving:
            self._still.set()

    async def stirred(self, *, since: int) -> None:
        """Wait until somebody has begun to move since there were so many `stirs`."""
        while self.stirs == since:
            self._stir = anyio.Event()
            await self._stir.wait()

    async def all_still(self) -> None:
        """Wait until nobody moves, and nobody begins to when the dust has settled."""
        while True:
            await self._still.wait()
            # Whoever was woken by the last one to stop has to get a turn before this means anything.
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
            if not self._moving:
                return
            self._still = anyio.Event()
