"""Holds requests and answers against GitHub's official descriptions; completes answers that mean only some fields."""

import json
from functools import cache
from typing import Any

import httpx
from github_contracts import graphql_sdl, openapi
from graphql import GraphQLSchema, build_schema, graphql_sync, parse, specified_rules, validate
from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from werkzeug.datastructures import Headers, ImmutableMultiDict

HOST = "https://api.github.com"


class _Asked:
    """A request in the form that openapi-core takes."""

    def __init__(self, request: httpx.Request) -> None:
        self.host_url = HOST
        self.path = request.url.path.removeprefix("/api/v3")
        self.method = request.method.lower()
        self.body = request.content or None
        self.content_type = "application/json"
        self.parameters = RequestParameters(
            query=ImmutableMultiDict(request.url.params.multi_items()),
            header=Headers(dict(request.headers)),
            cookie=ImmutableMultiDict(),
        )


class _Answered:
    """An answer in that form."""

    def __init__(self, status: int, body: Any) -> None:
        self.data = json.dumps(body).encode()
        self.status_code = status
        self.content_type = "application/json"
        self.headers = Headers()


@cache
def _described() -> OpenAPI:
    described = {**openapi(), "servers": [{"url": HOST}]}
    return OpenAPI.from_dict(described, config=Config(spec_validator_cls=None))


@cache
def schema() -> GraphQLSchema:
    return build_schema(graphql_sdl(), assume_valid=True)


class Judge:
    """Gathers every breach of the contract; `breaches` must be empty at the end."""

    def __init__(self) -> None:
        self.breaches: list[str] = []
        _described()

    def request(self, request: httpx.Request) -> None:
        if request.url.path == "/graphql":
            return
        try:
            _described().validate_request(_Asked(_here(request)))
        except Exception as exc:  # noqa: BLE001 openapi-core has some twenty kinds
            self.breaches.append(f"{request.method} {request.url}: {_why(exc)}")

    def completed(self, request: httpx.Request, status: int, body: Any) -> Any:
        asked = _here(request)
        wanted = _schema_of(asked, status)
        whole = body if wanted is None else complete(wanted, body)
        if body is not None:
            try:
                _described().validate_response(_Asked(asked), _Answered(status, whole))
            except Exception as exc:  # noqa: BLE001 as above
                self.breaches.append(f"{status} of {request.method} {request.url}: {_why(exc)}")
        return whole

    def queried(self, query: str, variables: dict[str, Any], data: Any) -> Any:
        wrong = validate(schema(), parse(query), specified_rules)
        result = graphql_sync(schema(), query, root_value=data, variable_values=variables)
        self.breaches += [f"{query}: {one.message}" for one in (*wrong, *(result.errors or []))]
        return result.data


def _here(request: httpx.Request) -> httpx.Request:
    """Bring the address by number, which moved repositories are followed to, to the one by name."""
    path = request.url.path.replace("/repositories/1", "/repos/octo/demo", 1)
    return httpx.Request(request.method, request.url.copy_with(path=path), content=request.content)


def _why(exc: Exception) -> str:
    cause = exc.__cause__ or exc
    errors = [f"{one.message[:120]} at {list(one.absolute_path)}" for one in getattr(cause, "schema_errors", [])]
    return f"{type(cause).__name__} {'; '.join(errors) or cause}"


def _schema_of(request: httpx.Request, status: int) -> Any:
    parts = request.url.path.strip("/").split("/")
    for path, operations in openapi()["paths"].items():
        names = path.strip("/").split("/")
        if len(names) == len(parts) and all(
            one.startswith("{") or one == other for one, other in zip(names, parts, strict=True)
        ):
            answer = _followed(operations.get(request.method.lower(), {}).get("responses", {}).get(str(status), {}))
            return answer.get("content", {}).get("application/json", {}).get("schema")
    return None


def _followed(part: Any) -> Any:
    while "$ref" in part:
        kind, name = part["$ref"].split("/")[-2:]
        part = openapi()["components"][kind][name]
    return part


def complete(wanted: Any, value: Any) -> Any:
    """Fill in what the schema demands and the answer does not mean; what is there is left for the judgement."""
    wanted = _followed(wanted)
    choices = wanted.get("anyOf") or wanted.get("oneOf")
    if value is None and wanted.get("nullable") and not choices:
        return None
    if "allOf" in wanted:
        for part in wanted["allOf"]:
            value = complete(part, value)
    if choices and "properties" not in wanted:
        return complete(_likeliest(choices, value), value)
    if "properties" in wanted or wanted.get("type") == "object":
        return _completed_object(wanted, value)
    if wanted.get("type") == "array":
        return [complete(wanted.get("items", {}), one) for one in value or []]
    return _plain(wanted) if value is None else value


def _completed_object(wanted: Any, value: Any) -> Any:
    if value is not None and not isinstance(value, dict):
        return value
    whole = dict(value or {})
    properties = wanted.get("properties", {})
    for name in wanted.get("required", []):
        whole.setdefault(name, None)
    return {name: complete(properties[name], one) if name in properties else one for name, one in whole.items()}


def _likeliest(choices: list[Any], value: Any) -> Any:
    if not isinstance(value, dict):
        return choices[0]
    return max(choices, key=lambda one: len(set(_followed(one).get("properties", {})) & set(value)))


def _plain(wanted: Any) -> Any:
    if "enum" in wanted:
        return wanted["enum"][0]
    kind, form = wanted.get("type"), wanted.get("format")
    texts = {"date-time": "2026-11-01T00:00:00Z", "uri": f"{HOST}/x", "email": "a@example.org"}
    return {"string": texts.get(form, "x"), "integer": 0, "number": 0, "boolean": False}.get(kind)
