"""One request as an endpoint sees it: who asks, what for, with which words. Endpoints are functions in a thread."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeGuard
from urllib.parse import quote

from anyio import CapacityLimiter, fail_after, to_thread
from anyio.lowlevel import RunVar
from starlette.requests import Request
from starlette.responses import Response

from luminaguard.forges.face.answers import (
    Answer,
    RefusalError,
    invalid,
    link_header,
    not_found,
    page_of,
    refusal_of,
    refused,
    response_of,
)
from luminaguard.forges.face.names import Urls
from luminaguard.forges.face.site import Site, View
from luminaguard.forges.face.tokens import Holder, Rights, Tokens
from luminaguard.forges.face.who import holder_of
from luminaguard.forges.records import IssueRecord, PullRecord
from luminaguard.model.faults import Fault
from luminaguard.model.ids import Json

MOST_BYTES = 1024 * 1024
"""The largest body of a request that is read, besides a push's."""

BODY_S = 60.0
"""Seconds that it may take to come."""

DEEPEST = 30
AT_ONCE = 16
_LIMITER: RunVar[CapacityLimiter] = RunVar("luminaguard_face_limiter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. `params` come from the path, `query` from behind it; `path` is without the prefix of the API."""

    site: Site
    holder: Holder
    urls: Urls
    path: str = ""
    accept: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Json] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """The address that was asked for, without its query."""
        return f"{self.urls.api}{quote(self.path)}"

    def view(self) -> View:
        """Look at the site as it is now."""
        return View(site=self.site, urls=self.urls, snapshot=self.site.now())

    def must_be_full(self) -> None:
        """Refuse whoever may not change things."""
        if self.holder.rights is not Rights.FULL:
            raise forbidden()

    def number(self, name: str = "number") -> int:
        """Take a number out of the path."""
        text = self.params[name]
        if not (text.isascii() and text.isdigit() and len(text) <= 15):
            raise not_found()
        return int(text)

    def text(self, key: str, resource: str, *, otherwise: str | None = None) -> str:
        """Take a text out of the body; without `otherwise` it must be there."""
        value = self.body.get(key)
        if value is None:
            if otherwise is None:
                raise invalid(resource, key, code="missing_field")
            return otherwise
        if not isinstance(value, str):
            raise invalid(resource, key)
        return value

    def integer(self, key: str, resource: str) -> int:
        """Take a whole number out of the body."""
        value = self.body.get(key)
        if not is_number(value):
            raise invalid(resource, key, code="missing_field" if value is None else "invalid")
        return value

    def names(self, key: str, resource: str) -> tuple[str, ...] | None:
        """Take a list of names, or of objects that have one, out of the body; None where it is not there."""
        value = self.body.get(key)
        if value is None:
            return None
        items = value if isinstance(value, list) else [value]
        names = [item.get("name") if isinstance(item, dict) else item for item in items]
        if not all(isinstance(name, str) and name.strip() for name in names):
            raise invalid(resource, key)
        return tuple(dict.fromkeys(str(name) for name in names))

    def paged(self, items: Sequence[object], shape: Callable[..., Json]) -> Answer:
        """Answer with the page of a list that is asked for."""
        page = page_of(self.query)
        headers = link_header(self.address, self.query, page, len(items))
        return Answer(body=[shape(item) for item in page.of(items)], headers=headers)


Endpoint = Callable[[Call], Answer]


def is_number(value: Json) -> TypeGuard[int]:
    """Tell whether it is a whole number as GitHub has them: of 31 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31


def forbidden() -> RefusalError:
    """Refuse: this token may not."""
    return RefusalError(403, "Resource not accessible by this token")


def issue_in(view: View, number: int) -> IssueRecord:
    """Find an issue."""
    found = view.snapshot.issues.get(number)
    if found is None:
        raise not_found()
    return found


def pull_in(view: View, number: int) -> PullRecord:
    """Find a pull request."""
    found = view.snapshot.pulls.get(number)
    if found is None:
        raise not_found()
    return found


def served(endpoint: Endpoint, site: Site, tokens: Tokens) -> Callable[[Request], Awaitable[Response]]:
    """Wrap an endpoint: token, repository and body are checked, faults are said in GitHub's words."""

    async def serve(request: Request) -> Response:
        try:
            call = await _call(request, site, tokens)
            return await to_thread.run_sync(lambda: response_of(request, endpoint(call)), limiter=_limiter())
        except RefusalError as refusal:
            return refused(refusal)
        except Fault as fault:
            return refused(refusal_of(fault))

    return serve


def _limiter() -> CapacityLimiter:
    """Give the endpoints' own places for threads: git, which they wait for, has others."""
    try:
        return _LIMITER.get()
    except LookupError:
        _LIMITER.set(CapacityLimiter(AT_ONCE))
        return _LIMITER.get()


async def _call(request: Request, site: Site, tokens: Tokens) -> Call:
    holder = await to_thread.run_sync(holder_of, request.headers.get("authorization", ""), tokens)
    params = {key: str(value) for key, value in request.path_params.items()}
    wanted = (params.pop("owner", site.owner).lower(), params.pop("repo", site.name).lower())
    if wanted != (site.owner.lower(), site.name.lower()):
        raise not_found()
    urls = urls_of(request, site)
    prefix = "/api/v3" if request.url.path.startswith("/api/v3") else ""
    return Call(
        site=site,
        holder=_here(holder, site),
        urls=urls,
        path=request.url.path.removeprefix(prefix),
        accept=request.headers.get("accept", ""),
        params=params,
        query=dict(request.query_params),
        body=await body_of(request),
    )


def _here(holder: Holder, site: Site) -> Holder:
    """Give what somebody may here: where the tracker only mirrors a forge, nobody changes it."""
    if site.beyond is None or holder.rights is not Rights.FULL:
        return holder
    return replace(holder, rights=Rights.READ)


def urls_of(request: Request, site: Site) -> Urls:
    """Give the addresses as the caller sees them: by the host that it asked for, and the prefix it came by."""
    host = request.headers.get("host", "")
    plain = host if host and all(char.isalnum() or char in ".-:[]" for char in host) else "localhost"
    prefix = request.headers.get("x-forwarded-prefix", "")
    web = f"{request.url.scheme}://{plain}{prefix if re.fullmatch('(/[A-Za-z0-9._-]{1,40}){1,4}', prefix) else ''}"
    if request.url.path.startswith("/api/"):
        return Urls(web=web, api=f"{web}/api/v3", owner=site.owner, name=site.name)
    # As on github.com: programs ask api.HOST, people look at HOST.
    return Urls(web=web.replace("//api.", "//", 1), api=web, owner=site.owner, name=site.name)


async def body_of(request: Request) -> Mapping[str, Json]:
    """Read a body as a JSON object; none at all is an empty one."""
    try:
        with fail_after(BODY_S):
            raw = await _raw(request)
    except TimeoutError:
        raise RefusalError(408, "The body did not come", connection="close") from None
    if not raw:
        return {}
    try:
        body = json.loads(raw, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise RefusalError(400, "Problems parsing JSON") from None
    if not isinstance(body, dict) or not _is_shallow(body):
        raise RefusalError(400, "Body should be a JSON object")
    return body


async def _raw(request: Request) -> bytearray:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MOST_BYTES:
            raise RefusalError(413, "Payload too large", connection="close")
    return raw


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _is_shallow(value: Json, depth: int = 0) -> bool:
    if depth > DEEPEST:
        return False
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(_is_shallow(item, depth + 1) for item in inner)
