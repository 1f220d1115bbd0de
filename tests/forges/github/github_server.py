"""A small GitHub in this process: what it is told stays told, so that a second comment shows. It breaks on demand.

It answers with the few fields that it means; a `Judge` completes them and holds them against GitHub's own description.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx
from github_graphql import QUERIES, GraphQL
from github_rest import ROUTES
from github_world import API, FULL, Reply

__all__ = ["FULL", "Broken", "Server"]


class Judging(Protocol):
    """Holds both sides against a contract, and completes answers by it."""

    def request(self, request: httpx.Request) -> None: ...
    def completed(self, request: httpx.Request, status: int, body: Any) -> Any: ...
    def queried(self, query: str, variables: dict[str, Any], data: Any) -> Any: ...


@dataclass(slots=True)
class Broken:
    """How one request goes wrong. `late_s`: the server acts so much later than it was given up."""

    how: str
    late_s: float = 0.0


@dataclass
class Server(GraphQL, httpx.AsyncBaseTransport):
    """The way there and back, and how it breaks. `faults` is asked once for every request."""

    judge: Judging | None = None
    faults: Iterator[Broken | None] = field(default_factory=lambda: iter(()))
    refuses: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    seen: list[httpx.Request] = field(default_factory=list)
    late: list[tuple[float, httpx.Request]] = field(default_factory=list)

    def changes(self) -> int:
        """Tell how many requests asked for a change."""
        queries = [one for one in self.seen if one.url.path == "/graphql" and b'"mutation' not in one.content]
        return sum(one.method != "GET" for one in self.seen) - len(queries)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.seen.append(request)
        self.now += 0.01
        self._catch_up()
        fault = next(self.faults, None)
        if fault is not None and fault.how not in ("late", "moved head"):
            return self._fault(request, fault)
        if fault is not None and fault.how == "late":
            self.late.append((self.now + fault.late_s, request))
            self.now += 30.0 if fault.late_s > 30 else 0.0
            raise httpx.ReadTimeout("no answer", request=request)
        if fault is not None and request.url.path.endswith("/merge"):
            return self._response(
                request, 409, {"message": "Head branch was modified. Review and try the merge again."}
            )
        return self._served(request)

    def _catch_up(self) -> None:
        due = [request for when, request in self.late if when <= self.now]
        self.late = [(when, request) for when, request in self.late if when > self.now]
        for request in due:
            self._served(request)

    def _fault(self, request: httpx.Request, fault: Broken) -> httpx.Response:
        if fault.how == "unreachable":
            raise httpx.ConnectError("connection refused", request=request)
        if fault.how == "limit":
            headers = {"retry-after": "3"}
            return self._response(request, 403, {"message": "You have exceeded a secondary rate limit."}, headers)
        if fault.how == "500":
            return self._response(request, 500, {"message": "Server Error"})
        if fault.how == "422":
            return self._response(request, 422, {"message": "Validation Failed", "errors": []})
        if fault.how == "timeout":
            raise httpx.ReadTimeout("no answer", request=request)
        answer = self._served(request)  # it acted, and then
        if fault.how == "502 after":
            return self._response(request, 502, "<html>Bad Gateway</html>")
        if fault.how == "truncated":
            return httpx.Response(answer.status_code, content=answer.content[: len(answer.content) // 2] or b"{")
        assert fault.how == "timeout after", fault
        raise httpx.ReadTimeout("no answer", request=request)

    def _response(
        self, request: httpx.Request, status: int, body: Any, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        content = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        kind = {"content-type": "application/json; charset=utf-8"} if content else {}
        return httpx.Response(status, content=content, headers={**kind, **(headers or {})}, request=request)

    def _served(self, request: httpx.Request) -> httpx.Response:
        if self.judge is not None:
            self.judge.request(request)
        path = request.url.path
        for form, (status, headers) in self.refuses.items():
            if re.search(form, f"{request.method} {path}"):
                return self._response(request, status, {"message": "Resource not accessible"}, headers)
        if path == "/graphql":
            return self._graphql(request)
        if self.moved_to is not None and path.startswith(f"/repos/{FULL}"):
            place = f"{API}/repositories/1{path.removeprefix(f'/repos/{FULL}')}"
            return self._response(request, 301, {"message": "Moved Permanently", "url": place}, {"location": place})
        status, body = self._routed(request, path.replace("/repositories/1", f"/repos/{FULL}", 1))
        headers = self._headers(request, status, body)
        if headers.pop("unchanged", ""):
            return self._response(request, 304, None, headers)
        if isinstance(body, list) and request.method == "GET":
            body, headers = self._paged(request, body, headers)
        if self.judge is not None and status < 400:
            body = self.judge.completed(request, status, body)
        return self._response(request, status, body, headers)

    def _headers(self, request: httpx.Request, status: int, body: Any) -> dict[str, str]:
        headers = {"x-ratelimit-remaining": "4999", "x-ratelimit-reset": str(int(self.now) + 3600)}
        if self.scopes is not None:
            headers["x-oauth-scopes"] = self.scopes
        if request.method == "GET" and status == 200:
            headers["etag"] = f'"{hashlib.sha256(json.dumps([str(request.url), body]).encode()).hexdigest()[:16]}"'
            if request.headers.get("if-none-match") == headers["etag"]:
                headers["unchanged"] = "yes"
        return headers

    def _paged(self, request: httpx.Request, body: list[Any], headers: dict[str, str]) -> tuple[Any, dict[str, str]]:
        size, page = int(request.url.params.get("per_page", 30)), int(request.url.params.get("page", 1))
        if len(body) > size * page:
            headers["link"] = f'<{request.url.copy_merge_params({"page": page + 1})}>; rel="next"'
        return body[size * (page - 1) : size * page], headers

    def _routed(self, request: httpx.Request, path: str) -> Reply:
        said = json.loads(request.content) if request.content else {}
        asked = dict(request.url.params)
        for method, form, answer in ROUTES:
            found = re.fullmatch(form, path)
            if found is not None and method == request.method:
                return answer(self, said if request.method != "GET" else asked, *found.groups())
        return 404, {"message": "Not Found"}

    def _graphql(self, request: httpx.Request) -> httpx.Response:
        said = json.loads(request.content)
        query, variables = said["query"], said["variables"]
        answer = next(answer for word, answer in QUERIES if word in query)
        data = answer(self, variables)
        if isinstance(data, str):
            errors = [{"type": "UNPROCESSABLE", "message": data, "path": [], "locations": []}]
            return self._response(request, 200, {"data": None, "errors": errors})
        if self.judge is not None:
            data = self.judge.queried(query, variables, data)
        return self._response(request, 200, {"data": data})
