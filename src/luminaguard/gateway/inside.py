"""What programs of ours inside a sandbox ask: a person's words for the agent, and a person's leave.

JSON, known by the dummy key: `GET /luminaguard/words?after=N&wait_s=S`, `POST /luminaguard/questions` {"what": "..."},
`GET /luminaguard/questions/ID?wait_s=S`. Waiting ends as soon as there is something to say.
"""

import json
import re
import time
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import parse_qsl

import anyio

from luminaguard.gateway.book import Book, Holder
from luminaguard.gateway.conversation import Conversation, GoneError, Request
from luminaguard.gateway.wires import error_body
from luminaguard.model.ids import Json

PREFIX = "/luminaguard/"
LONGEST_WAIT_S = 60.0
WANTED_ON_S = 60.0
"""How long a question stands after its agent was last seen waiting for the answer."""
LOOK_EVERY_S = 0.1
WHAT_CHARS = 2000
JSON = (b"content-type", b"application/json")
Found = TypeVar("Found")


class Inside:
    """Answers these requests from the ledger."""

    def __init__(self, book: Book) -> None:
        self._book = book

    async def serve(self, talk: Conversation, request: Request, holder: Holder | None) -> None:
        """Serve one request."""
        body = await talk.body()
        if holder is None:
            return await _refuse(talk, 401, "this key is not known to the gateway")
        path = request.path.removeprefix(PREFIX)
        asked = re.fullmatch(r"questions/(\d{1,15})", path)
        if request.method == "GET" and path == "words":
            return await self._words(talk, request, holder)
        if request.method == "GET" and asked is not None:
            return await self._answer(talk, request, holder, int(asked[1]))
        if request.method == "POST" and path == "questions":
            return await self._ask(talk, holder, body)
        return await _refuse(talk, 404, f"there is no {request.method} {request.path}")

    async def _words(self, talk: Conversation, request: Request, holder: Holder) -> None:
        after = int(_number(request, "after", most=1e15))
        if holder.who.role != "work":  # words are for the one who works
            return await _tell(talk, {"words": []})
        if after:
            await self._book.hear(holder.who, after)
        words = await self._waited(talk, request, lambda: self._book.words(holder.who, after=after))
        return await _tell(talk, {"words": [{"number": one.number, "text": one.text} for one in words]})

    async def _ask(self, talk: Conversation, holder: Holder, body: bytes) -> None:
        what = _what(body)
        if what is None:
            return await _refuse(talk, 400, 'say {"what": "..."}')
        number = await self._book.ask(holder.who, what, wanted_s=WANTED_ON_S)
        if number is None:
            return await _refuse(talk, 429, "too many questions wait already")
        return await _tell(talk, {"id": number})

    async def _answer(self, talk: Conversation, request: Request, holder: Holder, number: int) -> None:
        wanted_s = _number(request, "wait_s", most=LONGEST_WAIT_S) + WANTED_ON_S
        if not await self._book.still_wanted(holder.who, number, wanted_s=wanted_s):
            return await _refuse(talk, 404, f"the question {number} is not yours")
        answer = await self._waited(talk, request, lambda: self._book.answer_to(number))
        return await _tell(talk, {"answer": answer})

    async def _waited(self, talk: Conversation, request: Request, look: Callable[[], Found]) -> Found:
        """Look until there is something, or the time is over that the caller wants to wait."""
        until = time.monotonic() + _number(request, "wait_s", most=LONGEST_WAIT_S)
        # Counted before the look: what is written between the two is seen as a change.
        seen, found = self._book.changes(), look()
        if not _is_nothing(found) or time.monotonic() >= until:
            return found
        with talk.watched():
            while _is_nothing(found) and time.monotonic() < until:
                await anyio.sleep(min(LOOK_EVERY_S, max(0.0, until - time.monotonic())))
                now = self._book.changes()
                if now != seen:
                    seen, found = now, look()
        if talk.is_gone:
            raise GoneError
        return found


def _is_nothing(found: object) -> bool:
    return found is None or found == []


def _number(request: Request, name: str, *, most: float) -> float:
    said = dict(parse_qsl(request.query)).get(name, "0")
    return min(float(said), most) if re.fullmatch(r"\d{1,15}(\.\d{1,9})?", said) else 0.0


def _what(body: bytes) -> str | None:
    try:
        said: Json = json.loads(body)
    except (ValueError, RecursionError):
        return None
    what = said.get("what") if isinstance(said, dict) else None
    if not isinstance(what, str) or not what.strip():
        return None
    # Shown to a person on a terminal: no line of it may pass for one of ours.
    return "".join(char if char.isprintable() else " " for char in what.strip()[:WHAT_CHARS])


async def _tell(talk: Conversation, said: Json) -> None:
    await talk.answer(200, [JSON], json.dumps(said).encode())


async def _refuse(talk: Conversation, status: int, message: str) -> None:
    await talk.answer(status, [JSON], error_body(None, status, message))
