"""One request to GitHub and its answer, through githubkit; nothing is repeated here.

githubkit and httpx are imported with the first request: they take a quarter of a second and 40 MB that nobody without
GitHub should pay. By `importlib`, and so untyped: mypy would read a hundred thousand lines of generated models.
"""

import importlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from luminaguard.forges.answers import number_at
from luminaguard.forges.github.auth import AppKey, Credentials, private_key
from luminaguard.forges.github.repository import Repository
from luminaguard.forges.once import Lost, Unsent
from luminaguard.model.faults import HostFault, Unreachable, UserFault
from luminaguard.model.ids import Json

ANSWER_WITHIN_S = 30.0
WHOLE_WITHIN_S = 120.0
"""A server that drips bytes keeps the first deadline for ever."""

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
    headers: Mapping[str, str] = field(default_factory=dict)

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

    def __init__(self, repository: Repository, credentials: Credentials, *, transport: object | None = None) -> None:
        self.repository = repository
        self.credentials = credentials
        self._transport = transport  # an httpx.AsyncBaseTransport
        self._client: Any = None
        self._tokens: Any = None
        self._first = anyio.Lock()

    async def send(self, call: Call) -> Answer:
        """Send a call once.

        Raises:
            Unsent: no connection could be made.
            Lost: the connection broke, the deadline passed, or the answer is not whole.
            UserFault: the App is not installed here, or its key is refused.
        """
        try:
            with anyio.fail_after(WHOLE_WITHIN_S):
                return await _sent(await self._ready(), call)
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
        # githubkit's own default keeps the tokens of all Apps of the process together, by the App's id alone.
        self._tokens = self._tokens or importlib.import_module("githubkit.cache").MemCacheStrategy()
        return importlib.import_module("githubkit").GitHub(
            strategy,
            base_url=self.repository.api,
            user_agent=AGENT,
            follow_redirects=False,  # httpx makes a GET of a POST that is redirected by 301
            timeout=ANSWER_WITHIN_S,
            ssl_verify=importlib.import_module("httpx").create_ssl_context() if self._transport is None else True,
            async_transport=self._transport,
            http_cache=False,
            cache_strategy=self._tokens,
            auto_retry=False,
        )

    async def _strategy(self) -> Any:
        auth = importlib.import_module("githubkit.auth")
        if not isinstance(self.credentials, AppKey):
            return auth.TokenAuthStrategy(self.credentials.text)
        app, key = self.credentials, private_key(self.credentials)
        asked = Call(method="GET", url=f"repos/{self.repository.full}/installation")
        answer = await _sent(self._made(auth.AppAuthStrategy(app.app_id, key)), asked)
        if answer.status >= 500:
            raise Unreachable(f"GitHub answers {answer.status} to {asked.what}", hint="try again later")
        if answer.status != 200:
            raise UserFault(
                f"GitHub App {app.app_id} is not installed on {self.repository.full} (got {answer.status})",
                hint="install it from the App's page, or check its id and key",
            )
        return auth.AppInstallationAuthStrategy(app.app_id, key, number_at(answer.body, "id"))


async def _sent(client: Any, call: Call) -> Answer:
    exceptions = importlib.import_module("githubkit.exception")
    headers = {"X-GitHub-Api-Version": VERSION, **call.headers}
    try:
        got = await client.arequest(
            call.method, call.url, params=dict(call.params) or None, json=call.body, headers=headers
        )
        response = got.raw_response
    except exceptions.RequestFailed as exc:
        response = exc.response.raw_response
    except exceptions.RequestError as exc:
        cause = exc.__cause__ or exc
        if isinstance(cause, exceptions.RequestFailed):
            raise _no_token(call, cause.response.status_code) from exc
        raise _broken(call, cause) from exc
    except exceptions.AuthCredentialError as exc:
        raise UserFault(f"the GitHub App's key cannot be used: {exc}", hint="check the App's id and key") from exc
    return _answer(call, response)


def _no_token(call: Call, status: int) -> Unsent | UserFault:
    """Say why an App got no token for its installation; the call itself was not sent then."""
    what = f"GitHub gave the App no token for {call.what} (got {status})"
    if status >= 500 or status == 429:
        return Unsent(what, hint="try again later")
    return UserFault(what, hint="check the App's id, its key, and that its installation is not suspended")


def _broken(call: Call, cause: BaseException) -> Lost | Unsent | HostFault | UserFault:
    httpx = importlib.import_module("httpx")
    if isinstance(cause, ValueError | TypeError) and not isinstance(cause, httpx.HTTPError):
        # PyJWT's word for a key that is none.
        return UserFault(f"the GitHub App's key cannot be used: {cause}", hint="check the App's key file")
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
    except ValueError as exc:
        if response.status_code < 400:
            raise Lost(f"GitHub's answer to {call.what} broke off after {len(raw)} bytes", hint="try again") from exc
        body = None  # proxies answer errors in HTML
    return Answer(status=response.status_code, headers=headers, body=body, raw=raw)
