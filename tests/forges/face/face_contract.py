"""Holds what the face is asked and answers against GitHub's official description, strictly: nothing is filled in."""

import json
from functools import cache
from typing import Any

import httpx
from github_contracts import openapi
from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from werkzeug.datastructures import Headers, ImmutableMultiDict

HOST = "http://forge.test"


class _Asked:
    def __init__(self, request: httpx.Request) -> None:
        self.host_url = HOST
        self.path = request.url.raw_path.partition(b"?")[0].decode()
        self.method = request.method.lower()
        self.body = request.content or None
        self.content_type = "application/json"
        self.parameters = RequestParameters(
            query=ImmutableMultiDict(request.url.params.multi_items()),
            header=Headers(dict(request.headers)),
            cookie=ImmutableMultiDict(),
        )


class _Answered:
    def __init__(self, response: httpx.Response) -> None:
        self.data = response.content
        self.status_code = response.status_code
        self.content_type = "application/json"
        self.headers = Headers(dict(response.headers))


@cache
def described() -> OpenAPI:
    return OpenAPI.from_dict({**openapi(), "servers": [{"url": HOST}]}, config=Config(spec_validator_cls=None))


def breaches(response: httpx.Response, *, is_asked_right: bool = True) -> list[str]:
    """Say what of a request and its answer GitHub's description does not allow."""
    request, found = response.request, []
    if is_asked_right:
        try:
            described().validate_request(_Asked(request))
        except Exception as exc:  # noqa: BLE001 openapi-core has some twenty kinds
            found.append(f"asked {request.method} {request.url}: {_why(exc)}")
    if response.content:
        try:
            described().validate_response(_Asked(request), _Answered(response))
        except Exception as exc:  # noqa: BLE001 as above
            found.append(f"{response.status_code} of {request.method} {request.url}: {_why(exc)}")
    return found


def _why(exc: Exception) -> str:
    cause = exc.__cause__ or exc
    errors = [f"{one.message[:160]} at {list(one.absolute_path)}" for one in getattr(cause, "schema_errors", [])]
    return f"{type(cause).__name__} {'; '.join(errors) or cause}"


def shown(response: httpx.Response) -> Any:
    return json.loads(response.content) if response.content else None
