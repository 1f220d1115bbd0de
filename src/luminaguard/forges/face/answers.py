"""Answers over HTTP: JSON with an ETag, pages with a Link header, refusals in GitHub's words."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from luminaguard.model.faults import Fault, Transient, UserFault
from luminaguard.model.ids import Json

PER_PAGE, MOST_PER_PAGE = 30, 100
LIMIT = "5000"
DOCUMENTATION = "https://docs.github.com/rest"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is sent back. `body` bytes go as they are; anything else as JSON; None sends nothing."""

    body: Json | bytes = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    media: str = "application/json; charset=utf-8"


class RefusalError(Exception):
    """The request is refused: a status, GitHub's message, and what is wrong with which field."""

    def __init__(self, status: int, message: str, *, errors: Sequence[Mapping[str, Json]] = (), **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = tuple(errors)
        self.headers = headers


def not_found() -> RefusalError:
    """Refuse: it is not there, or not for you."""
    return RefusalError(404, "Not Found")


def invalid(resource: str, name: str, *, code: str = "invalid", message: str = "") -> RefusalError:
    """Refuse: a field is missing or cannot be."""
    error: dict[str, Json] = {"resource": resource, "field": name, "code": code}
    return RefusalError(422, "Validation Failed", errors=[error | ({"message": message} if message else {})])


def refusal_of(fault: Fault) -> RefusalError:
    """Say a fault of ours in a status."""
    said = f"{fault.message} ({fault.hint})" if fault.hint else fault.message
    if isinstance(fault, UserFault):
        return RefusalError(422, said)
    return RefusalError(503, said) if isinstance(fault, Transient) else RefusalError(500, said)


def refused(refusal: RefusalError) -> Response:
    """Give the answer of a refusal."""
    body: dict[str, Json] = {
        "message": refusal.message,
        "documentation_url": DOCUMENTATION,
        "status": str(refusal.status),
    }
    if refusal.errors:
        body["errors"] = [dict(error) for error in refusal.errors]
    headers = {name.replace("_", "-"): value for name, value in refusal.headers.items()}
    return Response(json.dumps(body), refusal.status, headers={**limits(), **headers}, media_type="application/json")


def limits() -> dict[str, str]:
    """Give the headers on rate limits: we have none, and clients want to read some."""
    return {
        "X-RateLimit-Limit": LIMIT,
        "X-RateLimit-Remaining": LIMIT,
        "X-RateLimit-Reset": "4102444800",
        "X-RateLimit-Used": "0",
        "X-RateLimit-Resource": "core",
    }


def response_of(request: Request, answer: Answer) -> Response:
    """Send an answer, or say that the caller has it already."""
    headers = {**limits(), "X-GitHub-Media-Type": "github.v3; format=json", **answer.headers}
    if answer.body is None:
        return Response(status_code=answer.status, headers=headers)
    body = answer.body if isinstance(answer.body, bytes) else _written(answer.body)
    if request.method in ("GET", "HEAD"):
        headers |= {"ETag": f'W/"{hashlib.sha256(body).hexdigest()}"', "Cache-Control": "private, max-age=0"}
        asked = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
        if headers["ETag"] in asked:
            return Response(status_code=304, headers=headers)
    return Response(body, answer.status, headers=headers, media_type=answer.media)


def _written(body: Json) -> bytes:
    # An error of GraphQL's quotes what the caller sent, and that need not be text.
    return json.dumps(body, ensure_ascii=False).encode(errors="replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list, as a query asks for it."""

    number: int
    size: int

    def of(self, items: Sequence[_T]) -> Sequence[_T]:
        """Cut the page out."""
        return items[(self.number - 1) * self.size : self.number * self.size]


def page_of(query: Mapping[str, str]) -> Page:
    """Read which page is wanted; words that are no numbers count as not said."""
    return Page(number=_number(query, "page", 1), size=min(_number(query, "per_page", PER_PAGE), MOST_PER_PAGE))


def _number(query: Mapping[str, str], key: str, otherwise: int) -> int:
    text = query.get(key, "")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 10 else otherwise


def link_header(address: str, query: Mapping[str, str], page: Page, count: int) -> dict[str, str]:
    """Say where the other pages of a list are; nothing where there is only one."""
    last = max(1, -(-count // page.size))
    places = {"prev": page.number - 1, "next": page.number + 1, "last": last, "first": 1}
    shown = {rel: number for rel, number in places.items() if _is_elsewhere(rel, number, page.number, last)}
    links = (f'<{address}?{urlencode({**query, "page": number})}>; rel="{rel}"' for rel, number in shown.items())
    return {"Link": ", ".join(links)} if shown else {}


def _is_elsewhere(rel: str, number: int, here: int, last: int) -> bool:
    if rel in ("prev", "first"):
        return here > 1 and number >= 1
    return here < last and number <= last
