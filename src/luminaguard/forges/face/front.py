"""The outermost application: no caller takes all places, and what ends a request besides its answer is said here."""

import logging
from weakref import WeakValueDictionary

from anyio import CapacityLimiter, fail_after, get_cancelled_exc_class
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from luminaguard.forges.face.answers import RefusalError, refused

LOG = logging.getLogger(__name__)

FOR_ONE = 8
"""Requests of one token under way at once: half of the threads that there are for all."""

WAITING, WAIT_S = 200, 60.0
"""How many more may wait for their turn, and for how long."""


class Front:
    """An application behind a door where each token waits for its own requests only."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._places: WeakValueDictionary[str, CapacityLimiter] = WeakValueDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        is_begun = False

        async def answer(message: Message) -> None:
            nonlocal is_begun
            is_begun = True
            await send(message)

        try:
            await self._in_turn(scope, receive, answer)
        except get_cancelled_exc_class():
            # The server ends. It cancels nothing but this, its own task for the request, and waits for no word of it:
            # everything inside has heard of it, and what leaves here would be logged as a bug.
            if not is_begun:
                await refused(RefusalError(503, "The server ends", connection="close"))(scope, receive, send)
        except Exception:
            LOG.exception("A request ended by a bug of ours.")
            raise

    async def _in_turn(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = Headers(scope=scope).get("authorization", "")
        places = self._places.setdefault(caller, CapacityLimiter(FOR_ONE))
        if not await _taken(places):
            busy = RefusalError(429, "Too many requests at once", retry_after="1")
            await refused(busy)(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            places.release()


async def _taken(places: CapacityLimiter) -> bool:
    if places.statistics().tasks_waiting >= WAITING:
        return False
    try:
        with fail_after(WAIT_S):
            await places.acquire()
    except TimeoutError:
        return False
    return True
