"""Several reads under way together, and their answers in the order of the questions."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

from luminaguard.model.faults import Fault

AT_ONCE = 8
"""GitHub's secondary limit is a hundred for everybody together; the others have none that is lower."""

Q = TypeVar("Q")
A = TypeVar("A")


async def each(questions: Sequence[Q], read: Callable[[Q], Awaitable[A]]) -> list[A]:
    """Read for every question; the first fault ends the others and is raised itself, not in a group."""
    answers: dict[int, A] = {}
    faults: list[Fault] = []
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def one(number: int) -> None:
        async with limit:
            try:
                answers[number] = await read(questions[number])
            except Fault as fault:
                faults.append(fault)
                tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for number in range(len(questions)):
            tasks.start_soon(one, number)
    if faults:
        raise faults[0]
    return [answers[number] for number in range(len(questions))]
