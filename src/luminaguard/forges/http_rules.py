"""The rules of talking to a forge over HTTP: what is repeated or waited for, and what is looked up first.

- Reads are repeated after a broken answer; so are writes that say the whole new state (PUT, PATCH, DELETE).
- What adds something goes out once. Only where the server certainly did not act (no connection, a rate limit) does it
  go out again; else `Lost` is raised, and `made_once` looks before it decides.
- Redirects are followed by nobody: a token goes to no other server, and a POST must not become a GET.
"""

import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

import anyio
import httpx

from luminaguard.forges.answers import list_at, text_at
from luminaguard.forges.once import Look, Lost, Sleep, Unsent, made_once, unsendable
from luminaguard.forges.paging import MOST_PAGES, endless
from luminaguard.forges.retry_after import seconds_in
from luminaguard.forges.server_address import followed
from luminaguard.model.faults import Fault, HostFault, Unreachable, UserFault
from luminaguard.model.ids import Json

ANSWER_WITHIN_S = 30.0
MOST_BYTES = 64 * 2**20
LIMITED_S = 60.0
LONGEST_S = 120.0
"""What one call waits for rate limits, in all; beyond that the user is told when they end."""

PAUSES_S = (0.5, 2.0, 6.0)
"""Between tries of what may be repeated."""

T = TypeVar("T")
Params = Mapping[str, str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A forge's API. `project` is the path beneath `api` that calls are relative to.

    `page_size` names the parameter with which a page's length is asked for; `permissions` is told with a refusal.
    """

    name: str
    api: str
    project: str
    page_size: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    permissions: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    method: str
    url: str
    params: Params = field(default_factory=dict)
    body: Json = None

    @property
    def what(self) -> str:
        return f"{self.method} {self.url}"


class Http:
    """Calls to one project. Paths are relative to it; one that begins with "/" is relative to the API."""

    page = 50

    def __init__(
        self,
        server: Server,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = anyio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.server = server
        self.sleep = sleep
        self.clock = clock
        self.requests = 0
        self._transport = transport
        self._context: ssl.SSLContext | None = None
        self._kept: httpx.AsyncClient | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Keep connections for the tasks that are started inside; outside each call makes its own."""
        async with self._made() as client:
            self._kept = client
            try:
                yield
            finally:
                self._kept = None

    async def get(self, path: str, *, ok: tuple[int, ...] = (200,), **params: str | int) -> Answer:
        """Read; a status that is not `ok` is raised as the fault of who must act."""
        call = _Call(method="GET", url=self._url(path), params=params)
        return self._judged(call, await self._patient(call, may_repeat=True), ok)

    async def pages(self, path: str, **params: str | int) -> AsyncIterator[Json]:
        """Read a list page by page, each thing once, until the server names no next page.

        A server that names none at all is asked on while its pages are full and have something new.

        Raises:
            HostFault: the server names next pages without end.
        """
        told: set[str] = set()
        for number in range(1, MOST_PAGES + 1):
            numbered: dict[str, str | int] = {**params, "page": number, self.server.page_size: self.page}
            answer = await self.get(path, ok=(200,), **numbered)
            items = list_at({"": answer.body}, "")
            new = [item for item in items if json.dumps(item, sort_keys=True) not in told]
            told.update(json.dumps(item, sort_keys=True) for item in new)
            for item in new:
                yield item
            if items and not new and _names_next(answer):
                break
            if not new or not _has_next(answer, number=number, count=len(items), full=self.page):
                return
        raise endless(f"GET {self._url(path)}", after=f"page {number}")

    async def all(self, path: str, **params: str | int) -> list[Json]:
        """Read a whole list."""
        return [item async for item in self.pages(path, **params)]

    async def again(self, method: str, path: str, body: Json = None, *, ok: tuple[int, ...] = (200, 201)) -> Answer:
        """Write what may be written twice: a state, not a step."""
        call = _Call(method=method, url=self._url(path), body=body)
        return self._judged(call, await self._patient(call, may_repeat=True), ok)

    async def once(self, method: str, path: str, body: Json = None, *, ok: tuple[int, ...] = (200, 201)) -> Answer:
        """Do what must not be done twice.

        Raises:
            Lost: whether the server did it is not known.
        """
        call = _Call(method=method, url=self._url(path), body=body)
        return self._judged(call, await self._patient(call, may_repeat=False), ok)

    async def made_once(self, look: Look[T], make: Callable[[], Awaitable[T]]) -> T:
        """Find what is there, else make it; after a lost answer look again, some times, before a last try."""
        return await made_once(look, make, sleep=self.sleep)

    async def _patient(self, call: _Call, *, may_repeat: bool) -> Answer:
        """Send until there is an answer to judge, within the rules."""
        pauses = list(PAUSES_S)
        waited_s = 0.0
        while True:
            try:
                answer = await self._sent(call)
            except (Lost, Unsent) as trouble:
                if not pauses or (isinstance(trouble, Lost) and not may_repeat):
                    raise
                await self.sleep(pauses.pop(0))
                continue
            if answer.status == 429:
                wait_s = max(self._asked_to_wait(answer, otherwise=LIMITED_S), 1.0)
                waited_s += wait_s
                if waited_s > LONGEST_S:
                    raise Unreachable(f"{self._who} takes no {call.what} for {wait_s:.0f} s", hint="try again then")
                await self.sleep(wait_s)
            elif answer.status >= 500 and not may_repeat:
                raise Lost(f"{self._who} answers {answer.status} to {call.what}", hint="try again later")
            elif answer.status >= 500 and pauses:
                pause_s = pauses.pop(0)
                await self.sleep(min(self._asked_to_wait(answer, otherwise=pause_s), LONGEST_S))
            else:
                return answer

    def _asked_to_wait(self, answer: Answer, *, otherwise: float) -> float:
        seconds = seconds_in(answer.headers.get("retry-after"), now=self.clock())
        return otherwise if seconds is None else seconds

    async def _sent(self, call: _Call) -> Answer:
        self.requests += 1
        if self._kept is not None:
            return await self._asked(self._kept, call)
        async with self._made() as client:
            return await self._asked(client, call)

    async def _asked(self, client: httpx.AsyncClient, call: _Call) -> Answer:
        try:
            response = await client.request(
                call.method, call.url, params=dict(call.params) or None, json=call.body, headers=self.server.headers
            )
        except httpx.ProtocolError as exc:
            # It quotes the header that it does not like, which may be the one with our token.
            name = type(exc).__name__
            raise Lost(f"{self._who} gave no answer to {call.what} ({name})", hint="try again") from None
        except UnicodeError:
            raise unsendable(call.what) from None
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise self._broken(call, exc) from exc
        return self._answer(call, response)

    def _made(self) -> httpx.AsyncClient:
        if self._transport is not None:
            return httpx.AsyncClient(transport=self._transport, timeout=ANSWER_WITHIN_S)
        if self._context is None:
            self._context = httpx.create_ssl_context()  # takes a tenth of a second: once
        return httpx.AsyncClient(verify=self._context, timeout=ANSWER_WITHIN_S)

    def _broken(self, call: _Call, cause: httpx.HTTPError | httpx.InvalidURL) -> Fault:
        if isinstance(cause.__cause__, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY" in str(cause):
            return HostFault(
                f"the certificate of {call.url} is not trusted: {cause}", hint="set SSL_CERT_FILE to your authority's"
            )
        name = f"{type(cause).__name__}: {cause}".rstrip(": ")
        if isinstance(cause, httpx.UnsupportedProtocol | httpx.InvalidURL):
            return UserFault(f"{call.url} is no address of a server", hint="check the base URL")
        if isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError):
            return Unsent(f"{self._who} cannot be reached for {call.what} ({name})", hint="check the network")
        return Lost(f"{self._who} gave no answer to {call.what} ({name})", hint="try again")

    def _answer(self, call: _Call, response: httpx.Response) -> Answer:
        raw = response.content
        if len(raw) > MOST_BYTES:
            raise HostFault(f"the answer to {call.what} has {len(raw)} bytes", hint="name fewer issues by the filters")
        try:
            body: Json = json.loads(raw) if raw.strip() else None
        except (ValueError, RecursionError) as exc:
            if response.status_code < 400:
                raise Lost(f"the answer to {call.what} broke off after {len(raw)} bytes", hint="try again") from exc
            body = None  # proxies answer errors in HTML
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(status=response.status_code, headers=headers, body=body)

    def _judged(self, call: _Call, answer: Answer, ok: tuple[int, ...]) -> Answer:
        if answer.status in ok:
            return answer
        said = told(answer)
        if 300 <= answer.status < 400:
            there = urlsplit(followed(call.url, answer.headers.get("location", "")) or "")
            raise UserFault(
                f"{call.what} was not done: it has moved to {there.scheme}://{there.netloc}{there.path}",
                hint="set the project's new name, or: git remote set-url origin …",
            )
        if answer.status == 401:
            raise UserFault(f"{self._who} refuses our token: {said or 'unauthorized'}", hint=self.server.permissions)
        if answer.status == 403:
            raise UserFault(f"our token may not {call.what}: {said or 'forbidden'}", hint=self.server.permissions)
        if answer.status == 404:
            hint = f"check the name; {self.server.permissions}"
            raise UserFault(f"{call.what}: not found, or our token may not see it", hint=hint)
        if answer.status >= 500:
            raise Unreachable(f"{self._who} answers {answer.status} to {call.what}", hint="try again later")
        if answer.status in (400, 409, 422):
            raise UserFault(f"{self._who} takes no {call.what}: {said}", hint="see what it says of the value")
        raise HostFault(f"{self._who} answers {answer.status} to {call.what}: {said}", hint="see `luminaguard doctor`")

    @property
    def _who(self) -> str:
        return self.server.name

    def _url(self, path: str) -> str:
        base = self.server.api.rstrip("/")
        return f"{base}{path}" if path.startswith("/") else f"{base}/{self.server.project}/{path}".rstrip("/")


def told(answer: Answer) -> str:
    """Give the server's own words: GitLab and Gitea say `message`, a text or a list or texts by field, or `error`."""
    body = answer.body
    said = body.get("message") if isinstance(body, dict) else None
    if said is not None and not isinstance(said, str):
        said = json.dumps(said, ensure_ascii=False)
    return (said or text_at(body, "error"))[:500]


def _names_next(answer: Answer) -> bool:
    if "link" in answer.headers:
        return 'rel="next"' in answer.headers["link"]
    return bool(answer.headers.get("x-next-page", "").strip())


def _has_next(answer: Answer, *, number: int, count: int, full: int) -> bool:
    if "link" in answer.headers or "x-next-page" in answer.headers:
        return _names_next(answer)
    total = answer.headers.get("x-total-count", "")
    # A server's own bound may be lower than what we ask for; then full pages are shorter.
    return number * count < int(total) if total.isdecimal() and len(total) < 10 else count >= full
