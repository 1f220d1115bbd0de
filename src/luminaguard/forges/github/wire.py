"""The rules of talking to GitHub: what is repeated, what is waited for, what is looked up before it is done again.

- Reads are repeated after a broken answer, and conditional: GitHub counts no unchanged one (304) against the limit.
- Writes that say the whole new state (PATCH, PUT of a label, DELETE) may be repeated too.
- What adds something goes out once. Only where GitHub certainly did not act (no connection, a rate limit) it goes out
  again; else `Lost` is raised, and `made_once` looks before it decides.
- Moved repositories are followed for reads, on the same server only; a write is refused and names the new place.
"""

import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import urlsplit

import anyio

from luminaguard.forges.answers import at, list_at, text_at
from luminaguard.forges.github.limits import LONGEST_S, asked_to_wait, too_long
from luminaguard.forges.github.line import Answer, Call, Line
from luminaguard.forges.github.refusals import refusal, told
from luminaguard.forges.once import Look, Lost, Sleep, Unsent, made_once
from luminaguard.forges.paging import MOST_PAGES, endless
from luminaguard.forges.server_address import followed
from luminaguard.model.faults import HostFault, UserFault
from luminaguard.model.ids import Json

PAUSES_S = (0.5, 2.0, 6.0)
"""Between tries of what may be repeated."""

PAGE = 100
HOPS = 3
KEPT_BYTES = 32 * 2**20
_MOVED = (301, 302, 307, 308)

T = TypeVar("T")
Params = Mapping[str, str | int]


@dataclass(slots=True)
class Counts:
    """What was asked of GitHub: all requests, and those that it answered with "unchanged"."""

    requests: int = 0
    unchanged: int = 0


class Wire:
    """Calls to one repository. Paths are relative to it; one that begins with "/" is relative to the API."""

    def __init__(
        self, line: Line, *, sleep: Sleep = anyio.sleep, clock: Callable[[], float] = time.time, keep: int = KEPT_BYTES
    ) -> None:
        self.line = line
        self.repository = line.repository
        self.sleep = sleep
        self.clock = clock
        self.counts = Counts()
        self._kept: OrderedDict[str, Answer] = OrderedDict()
        self._keep_bytes = keep
        self._kept_bytes = 0

    def open(self) -> AbstractAsyncContextManager[None]:
        """Keep connections for the tasks that are started inside."""
        return self.line.open()

    async def get(self, path: str, params: Params | None = None, *, ok: tuple[int, ...] = (200,)) -> Answer:
        """Read, afresh: an answer that was kept is used only where GitHub says that it still holds.

        Raises:
            Fault: as `refusal` sorts what is not `ok`.
        """
        call = Call(
            method="GET", url=self._url(path), params={name: str(value) for name, value in (params or {}).items()}
        )
        return await self._read(call, ok=ok)

    async def pages(
        self, path: str, params: Params | None = None, *, key: str = "", ok: tuple[int, ...] = (200,)
    ) -> AsyncIterator[Json]:
        """Read a list page by page; `key` names the list where it lies in an object."""
        answer = await self.get(path, {"per_page": PAGE, **(params or {})}, ok=ok)
        turned: set[str] = set()
        while True:
            for item in list_at(answer.body, key) if key else list_at({"": answer.body}, ""):
                yield item
            following = self._next(answer)
            if following is None:
                return
            if following in turned or len(turned) >= MOST_PAGES:
                raise endless(f"GET {self._url(path)}", after=f"page {len(turned) + 1}")
            turned.add(following)
            answer = await self._read(Call(method="GET", url=following))

    async def all(
        self, path: str, params: Params | None = None, *, key: str = "", ok: tuple[int, ...] = (200,)
    ) -> list[Json]:
        """Read a whole list."""
        return [item async for item in self.pages(path, params, key=key, ok=ok)]

    async def again(self, method: str, path: str, body: Json = None, *, ok: tuple[int, ...] = (200,)) -> Answer:
        """Write what may be written twice: a state, not a step."""
        call = Call(method=method, url=self._url(path), body=body)
        return await self._judged(call, await self._patient(call, may_repeat=True), ok)

    async def once(self, method: str, path: str, body: Json = None, *, ok: tuple[int, ...] = (200, 201)) -> Answer:
        """Do what must not be done twice.

        Raises:
            Lost: whether GitHub did it is not known.
        """
        call = Call(method=method, url=self._url(path), body=body)
        return await self._judged(call, await self._patient(call, may_repeat=False), ok)

    async def query(self, text: str, **variables: Json) -> Json:
        """Ask by GraphQL; returns `data`.

        Raises:
            UserFault: GitHub says what is wrong with it.
        """
        return await self._graphql(text, variables, may_repeat=True)

    async def ask(self, text: str, **variables: Json) -> Json:
        """Ask by GraphQL what may be left unknown: None where the server has no GraphQL, or does not tell us."""
        try:
            return await self.query(text, **variables)
        except (UserFault, HostFault):
            return None

    async def mutate(self, text: str, **variables: Json) -> Json:
        """Change something by GraphQL, sent once; `Lost` as in `once`."""
        return await self._graphql(text, variables, may_repeat=False)

    async def made_once(self, look: Look[T], make: Callable[[], Awaitable[T]]) -> T:
        """Find what is there, else make it; after a lost answer look again, some times, before a last try."""
        return await made_once(look, make, sleep=self.sleep)

    async def _read(self, call: Call, *, ok: tuple[int, ...] = (200,)) -> Answer:
        name = f"{call.url}?{json.dumps(call.params, sort_keys=True)}"
        kept = self._kept.get(name)
        sent = call if kept is None else replace(call, headers={"If-None-Match": kept.headers["etag"]})
        answer = await self._followed(sent)
        if answer.status == 304 and kept is not None:
            self.counts.unchanged += 1
            self._kept.move_to_end(name)
            return replace(kept, body=json.loads(kept.raw))
        if answer.status == 200:
            self._keep(name, answer)
        return await self._judged(call, answer, ok)

    def _keep(self, name: str, answer: Answer) -> None:
        """Keep the bytes: parsed they take ten times as much."""
        old = self._kept.pop(name, None)
        self._kept_bytes -= len(old.raw) if old is not None else 0
        if "etag" not in answer.headers or not answer.raw:
            return
        self._kept[name] = replace(answer, body=None)
        self._kept_bytes += len(answer.raw)
        while self._kept_bytes > self._keep_bytes:
            _, gone = self._kept.popitem(last=False)
            self._kept_bytes -= len(gone.raw)

    async def _followed(self, call: Call) -> Answer:
        answer = await self._patient(call, may_repeat=True)
        for _ in range(HOPS):
            place = answer.headers.get("location", "")
            if answer.status not in _MOVED or not place:
                break
            target = self._ours(place, call)
            call = replace(call, url=target, params={} if urlsplit(target).query else call.params)
            answer = await self._patient(call, may_repeat=True)
        return answer

    async def _judged(self, call: Call, answer: Answer, ok: tuple[int, ...]) -> Answer:
        if answer.status in ok:
            return answer
        if answer.status in _MOVED and call.method != "GET":
            raise await self._moved(call)
        raise refusal(call, answer, self.repository)

    async def _moved(self, call: Call) -> UserFault:
        there = await self._followed(Call(method="GET", url=self._url("")))
        name = text_at(there.body, "full_name") or "another place"
        return UserFault(
            f"{self.repository.full} has moved to {name}; {call.what} was not done",
            hint=f"git remote set-url origin with {name}, or set the repository's new name in luminaguard.toml",
        )

    async def _patient(self, call: Call, *, may_repeat: bool) -> Answer:
        """Send until there is an answer to judge, within the rules."""
        pauses = list(PAUSES_S)
        waited_s = 0.0
        while True:
            try:
                answer = await self._counted(call)
            except (Lost, Unsent) as trouble:
                if not pauses or (isinstance(trouble, Lost) and not may_repeat):
                    raise
                await self.sleep(pauses.pop(0))
                continue
            wait_s = asked_to_wait(answer, now=self.clock())
            if wait_s is not None:
                waited_s += max(wait_s, 1.0)
                if waited_s > LONGEST_S:
                    raise too_long(call, wait_s, now=self.clock())
                await self.sleep(max(wait_s, 1.0))
            elif answer.status >= 500 and not may_repeat:
                raise Lost(f"GitHub answers {answer.status} to {call.what}", hint="try again later")
            elif answer.status >= 500 and pauses:
                await self.sleep(pauses.pop(0))
            else:
                return answer

    async def _counted(self, call: Call) -> Answer:
        self.counts.requests += 1
        return await self.line.send(call)

    async def _graphql(self, text: str, variables: Mapping[str, Json], *, may_repeat: bool) -> Json:
        call = Call(method="POST", url=self.repository.graphql, body={"query": text, "variables": dict(variables)})
        answer = await self._judged(call, await self._patient(call, may_repeat=may_repeat), (200,))
        errors = list_at(answer.body, "errors")
        if (errors and at(answer.body, "data") is None) or (errors and not may_repeat):
            raise UserFault(f"GitHub takes no such GraphQL call: {told(answer)}", hint="see what it says")
        return at(answer.body, "data")

    def _url(self, path: str) -> str:
        if path.startswith("/"):
            return f"{self.repository.api}{path[1:]}"
        return f"{self.repository.api}repos/{self.repository.full}/{path}".rstrip("/")

    def _next(self, answer: Answer) -> str | None:
        for link in answer.headers.get("link", "").split(","):
            target, _, said = link.partition(";")
            if 'rel="next"' in said:
                place = target.strip().strip("<>")
                return self._ours(place, Call(method="GET", url=place))
        return None

    def _ours(self, place: str, call: Call) -> str:
        """Give the address of a place on our server; the token is sent to no other, whatever an answer says."""
        url = followed(self.repository.api, place)
        if url is None:
            raise HostFault(f"{call.what} points to {place!r}, which is no address", hint="check the base URL")
        here, there = urlsplit(self.repository.api), urlsplit(url)
        if (here.scheme, here.netloc) != (there.scheme, there.netloc):
            raise UserFault(
                f"{call.what} points to another server, {there.scheme}://{there.netloc}", hint="check the base URL"
            )
        return url
