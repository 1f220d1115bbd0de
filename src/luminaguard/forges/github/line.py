"""One request to GitHub and its answer, through githubkit; nothing is repeated here.

githubkit and httpx are imported with the first request: they take a quarter of a second and 40 MB that nobody without
GitHub should pay. By `importlib`, and so untyped: mypy would read a hundred thousand lines of generated models.
"""

import importlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import anyio

from luminaguard.forges.answers import number_at, seconds_at, text_at
from luminaguard.forges.github.auth import AppKey, Credentials, private_key
from luminaguard.forges.github.repository import Repository
from luminaguard.forges.once import Lost, Unsent, unsendable
from luminaguard.forges.token_text import is_token
from luminaguard.model.faults import HostFault, UserFault
from luminaguard.model.ids import Json

ANSWER_WITHIN_S = 30.0
WHOLE_WITHIN_S = 120.0
"""A server that drips bytes keeps the first deadline for ever."""

SPARE_S = 60.0
"""So long before its end a token of the installation is not used any more."""

MOST_BYTES = 64 * 2**20
AGENT = "luminaguard"
VERSION = "2022-11-28"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request: a whole URL, or a path from the API's base."""

    method: str
    url: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Json = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def what(self) -> str:
        """How messages call it."""
        return f"{self.method} {self.url}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. Names of headers are in lower case; `raw` is the body before it was parsed."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Json = None
    raw: bytes = b""


class Line:
    """Sends calls as one user or App. Inside `open()` connections are kept; outside each call makes its own."""

    def __init__(
        self,
        repository: Repository,
        credentials: Credentials,
        *,
        transport: object | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.repository = repository
        self.credentials = credentials
        self._transport = transport  # an httpx.AsyncBaseTransport
        self._clock = clock
        self._client: Any = None
        self._as_app: Any = None  # signs with the App's key; None where we have a token of our own
        self._installation = 0
        self._token = ""  # of the installation
        self._good_until = 0.0
        self._first = anyio.Lock()

    async def send(self, call: Call) -> Answer:
        """Send a call once; a second time only where a token of an App's installation was over, which did nothing.

        Raises:
            Unsent: no connection could be made.
            Lost: the connection broke, the deadline passed, or the answer is not whole.
            UserFault: the App is not installed here, or its key is refused.
        """
        try:
            with anyio.fail_after(WHOLE_WITHIN_S):
                client = await self._ready()
                return await _sent(client, call) if self._as_app is None else await self._sent_by_app(call)
        except TimeoutError as exc:
            raise Lost(f"GitHub took more than {WHOLE_WITHIN_S:.0f} s for {call.what}", hint="try again") from exc

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Keep connections for the tasks that are started inside."""
        async with await self._ready():
            yield

    async def _ready(self) -> Any:
        async with self._first:
            if self._client is None:
                self._client = self._made(await self._strategy())
        return self._client

    def _made(self, strategy: Any) -> Any:
        return importlib.import_module("githubkit").GitHub(
            strategy,
            base_url=self._address(),
            user_agent=AGENT,
            follow_redirects=False,  # httpx makes a GET of a POST that is redirected by 301
            timeout=ANSWER_WITHIN_S,
            ssl_verify=importlib.import_module("httpx").create_ssl_context() if self._transport is None else True,
            async_transport=self._transport,
            http_cache=False,
            # githubkit's own default keeps what Apps sign together for the process, by the App's id alone.
            cache_strategy=importlib.import_module("githubkit.cache").MemCacheStrategy(),
            auto_retry=False,
        )

    def _address(self) -> Any:
        httpx = importlib.import_module("httpx")
        try:
            return httpx.URL(self.repository.api)
        except httpx.InvalidURL as exc:
            raise UserFault(
                f"{self.repository.api} is no address of a server: {exc}", hint="check the base URL"
            ) from exc

    async def _strategy(self) -> Any:
        auth = importlib.import_module("githubkit.auth")
        if not isinstance(self.credentials, AppKey):
            return auth.TokenAuthStrategy(self.credentials.text)
        as_app = self._made(auth.AppAuthStrategy(self.credentials.app_id, private_key(self.credentials)))
        found = await self._needed(as_app, Call(method="GET", url=f"repos/{self.repository.full}/installation"), ok=200)
        self._installation, self._as_app = number_at(found.body, "id"), as_app
        return auth.UnauthAuthStrategy()

    async def _sent_by_app(self, call: Call) -> Answer:
        path = call.url.removeprefix(self.repository.api)
        if path == f"repos/{self.repository.full}/installation" or path.startswith("app/"):
            return await self._signed(self._as_app, call)
        token = await self._token_after("")
        answer = await _sent(self._client, _shown(call, token))
        if answer.status != 401:
            return answer
        # Taken back, or over by GitHub's clock before it was by ours.
        return await _sent(self._client, _shown(call, await self._token_after(token)))

    async def _token_after(self, spent: str) -> str:
        """Give a token of the installation other than one that was refused; several that ask at once get the same."""
        async with self._first:
            if self._token == spent or self._clock() >= self._good_until:
                await self._renew()
            return self._token

    async def _renew(self) -> None:
        # Not githubkit's way: it wants the whole answer as github.com describes it today, of which we need two fields.
        asked = Call(method="POST", url=f"app/installations/{self._installation}/access_tokens", body={})
        made = (await self._needed(self._as_app, asked, ok=201)).body
        if not is_token(token := text_at(made, "token")):
            raise HostFault(f"GitHub's answer to {asked.what} has no token in it", hint="check the base URL")
        self._token, self._good_until = token, seconds_at(made, "expires_at") - SPARE_S

    async def _needed(self, as_app: Any, call: Call, *, ok: int) -> Answer:
        """Send what comes before a call, which was not sent then and may be: `Unsent`, where GitHub is not able now."""
        try:
            answer = await self._signed(as_app, call)
        except Lost as lost:
            raise Unsent(lost.message, hint=lost.hint) from lost
        if answer.status == ok:
            return answer
        what = f"GitHub does not let our App into {self.repository.full} {_got(answer)}"
        is_limited = "retry-after" in answer.headers or answer.headers.get("x-ratelimit-remaining") == "0"
        if is_limited or answer.status >= 500 or answer.status == 429:
            raise Unsent(what, hint="try again later")
        raise UserFault(what, hint="check the App's id, its key, and that its installation is not suspended")

    async def _signed(self, as_app: Any, call: Call) -> Answer:
        """Send what the App's key signs."""
        assert isinstance(self.credentials, AppKey)
        try:
            answer = await _sent(as_app, call)
        except (importlib.import_module("jwt").PyJWTError, ValueError, TypeError) as exc:
            hint = "check the App's id and key file"
            raise UserFault(f"the GitHub App's key cannot be used: {exc}", hint=hint) from exc
        app, got = f"GitHub App {self.credentials.app_id}", _got(answer)
        if answer.status == 401:
            hint = "check the App's id and key, and the clock of this machine"
            raise UserFault(f"GitHub refuses the key of {app} {got}", hint=hint)
        if answer.status == 404:
            hint = "install it from the App's page, or check its id and key"
            raise UserFault(f"{app} is not installed on {self.repository.full} {got}", hint=hint)
        return answer


def _got(answer: Answer) -> str:
    words = text_at(answer.body, "message")
    return f"(got {answer.status}{': ' if words else ''}{words})"


def _shown(call: Call, token: str) -> Call:
    return replace(call, headers={**call.headers, "Authorization": f"token {token}"})


async def _sent(client: Any, call: Call) -> Answer:
    """Send by githubkit's client; its `arequest` judges limits itself, and fails on a Retry-After like "1.5"."""
    httpx = importlib.import_module("httpx")
    headers = {"X-GitHub-Api-Version": VERSION, **call.headers}
    try:
        async with client.get_async_client() as http:
            response = await http.request(
                call.method, call.url, params=dict(call.params) or None, json=call.body, headers=headers
            )
    except UnicodeError:
        raise unsendable(call.what) from None
    except httpx.ProtocolError as exc:
        # It quotes the header that it does not like, which may be the one with our token.
        raise Lost(f"GitHub gave no answer to {call.what} ({type(exc).__name__})", hint="try again") from None
    except (httpx.HTTPError, httpx.InvalidURL, ExceptionGroup) as exc:
        raise _broken(call, exc) from exc
    return _answer(call, response)


def _broken(call: Call, cause: Exception) -> Lost | Unsent | HostFault:
    httpx = importlib.import_module("httpx")
    if isinstance(cause.__cause__ or cause.__context__, ssl.SSLCertVerificationError):
        return HostFault(
            f"the certificate of {call.url} is not trusted: {cause}", hint="set SSL_CERT_FILE to your authority's"
        )
    name = f"{type(cause).__name__}: {cause}".rstrip(": ")
    if isinstance(cause, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)):
        return Unsent(f"GitHub cannot be reached for {call.what} ({name})", hint="check the network and the proxy")
    return Lost(f"GitHub gave no answer to {call.what} ({name})", hint="try again")


def _answer(call: Call, response: Any) -> Answer:
    raw: bytes = response.content
    headers = {name.lower(): value for name, value in response.headers.items()}
    if len(raw) > MOST_BYTES:
        raise HostFault(f"the answer to {call.what} has {len(raw)} bytes")
    try:
        body = json.loads(raw) if raw else None
    except (ValueError, RecursionError) as exc:
        if response.status_code < 400:
            raise Lost(f"GitHub's answer to {call.what} broke off after {len(raw)} bytes", hint="try again") from exc
        body = None  # proxies answer errors in HTML
    return Answer(status=response.status_code, headers=headers, body=body, raw=raw)
