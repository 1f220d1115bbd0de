"""A pool of guests that are ready: whoever takes one waits for nothing, and another takes its place."""

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

import anyio

from luminaguard.model.faults import Fault

Ready = TypeVar("Ready")
REST_S = 1.0
LULL_S = 0.03


class Pool(Generic[Ready]):
    """Guests of one kind. `pool_of` opens one."""

    def __init__(
        self,
        make: Callable[[], Awaitable[Ready]],
        *,
        size: int,
        is_good: Callable[[Ready], bool],
        end: Callable[[Ready], Awaitable[None]],
    ) -> None:
        """Take the way to make one, how many to hold, a look whether one is still good, and the way to end one."""
        self._make = make
        self._end = end
        self._size = size
        self._is_good = is_good
        self._ready: deque[Ready] = deque()
        self._spent: list[Ready] = []
        self._changed = anyio.Event()
        self.fault: Fault | None = None
        """Why the last one could not be made; None while all goes well."""

    def take(self) -> Ready | None:
        """Give one that is ready, None where there is none at this moment."""
        while self._ready:
            found = self._ready.popleft()
            self._tell()
            if self._is_good(found):
                return found
            self._spent.append(found)
        return None

    async def full(self) -> None:
        """Wait until it holds as many as it should.

        Raises:
            Fault: what stands in the way of making them.
        """
        while len(self._ready) < self._size:
            if self.fault is not None:
                raise self.fault
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def fill(self) -> None:
        """Make guests for as long as it lives, and end those that went bad."""
        while True:
            while self._spent:
                await self._end(self._spent.pop())
            if len(self._ready) >= self._size:
                await self._changed.wait()
                await anyio.sleep(LULL_S if self._ready else 0)  # who has just taken one goes first
                continue
            try:
                self._ready.append(await self._make())
                self.fault = None
                self._tell()
            except Fault as fault:
                self.fault = fault
                self._tell()
                await anyio.sleep(REST_S)  # what stands in the way may go

    def drain(self) -> list[Ready]:
        """Give all that are left, for an end."""
        left = [*self._ready, *self._spent]
        self._ready.clear()
        self._spent.clear()
        return left


@contextlib.asynccontextmanager
async def pool_of(
    make: Callable[[], Awaitable[Ready]],
    *,
    size: int,
    is_good: Callable[[Ready], bool],
    end: Callable[[Ready], Awaitable[None]],
) -> AsyncIterator[Pool[Ready]]:
    """Hold a pool that fills itself; what nobody took ends with the block."""
    pool = Pool(make, size=size, is_good=is_good, end=end)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.fill)
            yield pool
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:  # the block's own, which the task group wrapped
            raise group.exceptions[0] from None
        raise
    finally:
        with anyio.CancelScope(shield=True):
            for one in pool.drain():
                await end(one)
