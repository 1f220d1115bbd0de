"""Doing what must not be done twice, where answers get lost: it is looked for before it is done, and before again."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from luminaguard.model.faults import Unreachable, UserFault

SETTLE_S = (1.0, 4.0, 12.0)
"""After a lost answer: the server may still be at it, so it is looked for more than once."""

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]
Look = Callable[[], Awaitable[T | None]]


class Lost(Unreachable):
    """No whole answer came: whether the server acted is not known."""


class Unsent(Unreachable):
    """The request never reached the server: it did not act."""


def unsendable(what: str) -> UserFault:
    """Say that a request has characters that cannot be sent."""
    hint = "look for broken characters in the issue, in what was said of it, and in our settings"
    return UserFault(f"{what}: what was to be sent is no text", hint=hint)


async def made_once(look: Look[T], make: Callable[[], Awaitable[T]], *, sleep: Sleep) -> T:
    """Find what is there, else make it; after a lost answer look again, some times, before a second and last try."""
    found = await look()
    if found is not None:
        return found
    try:
        return await make()
    except Lost:
        found = await settled(look, sleep=sleep)
    if found is not None:
        return found
    try:
        return await make()
    except Lost:
        found = await settled(look, sleep=sleep)
        if found is None:
            raise
    return found


async def settled(look: Look[T], *, sleep: Sleep) -> T | None:
    """Look for what a lost answer may have told of, until it is there or time is up."""
    for pause_s in SETTLE_S:
        await sleep(pause_s)
        found = await look()
        if found is not None:
            return found
    return None
