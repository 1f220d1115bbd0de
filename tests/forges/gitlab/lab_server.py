"""What the GitLab and Gitea of this process share: routes held to a written contract, and faults on demand."""

import json
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

import anyio.lowlevel
import httpx
from lab_contract import LabJudge

Body = dict[str, Any]
Handler = Callable[..., tuple[int, Any]]
Contract = Mapping[str, frozenset[str]]

FAULTS = ("none", "500", "500 after", "lost", "cut", "unsent", "429", "late", "very late")
"""What may befall a request: "after", "lost" and "cut" after the server acted, "late" before it acts."""


class LabServer(httpx.AsyncBaseTransport):
    """Answers in process. `violations` are requests that the contract does not know, or with a key that it does not.

    Where judges are, they hold each request against their descriptions, the first of them each answer too, and a breach
    ends the test. `changes` are requests for a change that were not refused. Of what a server keeps, the names in
    `hidden` are its own business and in no answer; the lists in `whole` have no pages.
    """

    hidden: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()

    def __init__(
        self, contract: Contract, base: str, routes: Mapping[str, Handler], *, judges: tuple[LabJudge, ...] = ()
    ) -> None:
        self.requests: list[str] = []
        self.violations: list[str] = []
        self.changes: list[str] = []
        self.faults: list[str] = []
        self.page_most = 100
        self.auth = ""
        self._base = base
        self._lock = threading.RLock()
        self._late: list[tuple[int, httpx.Request]] = []
        self._contract = contract
        self._judges = judges
        self._routes = [(key, _pattern(key), handler) for key, handler in routes.items()]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        await anyio.lowlevel.checkpoint()  # the others' turn: each request may come between two of ours
        with self._lock:
            return self._befallen(request)

    def _befallen(self, request: httpx.Request) -> httpx.Response:
        self._catch_up()
        fault = self.faults.pop(0) if self.faults else "none"
        if fault == "unsent":
            raise httpx.ConnectError("no route", request=request)
        if fault == "500":
            return httpx.Response(500, text="<html>oops</html>")
        if fault == "429":
            return httpx.Response(429, headers={"Retry-After": "1"}, text="Retry later")
        if fault in ("late", "very late"):
            self._late.append((len(self.requests) + (2 if fault == "late" else 9), request))
            raise httpx.ReadTimeout("too slow", request=request)
        answer = self._answered(request)
        if fault == "lost":
            raise httpx.ReadTimeout("too slow", request=request)
        if fault == "500 after":
            return httpx.Response(500, text="<html>oops</html>")
        if fault == "cut" and len(answer.content) > 2:
            return httpx.Response(answer.status_code, content=answer.content[:-2])
        return answer

    def _catch_up(self) -> None:
        due = [request for number, request in self._late if number <= len(self.requests)]
        self._late = [(number, request) for number, request in self._late if request not in due]
        for request in due:
            self._answered(request)

    def _answered(self, request: httpx.Request) -> httpx.Response:
        raw = request.url.raw_path.decode().partition("?")[0]
        query = {key: values[0] for key, values in parse_qs(request.url.query.decode()).items()}
        self.requests.append(f"{request.method} {raw}")
        if request.headers.get("authorization") != self.auth:
            return httpx.Response(401, json={"message": "401 Unauthorized"})
        path = raw.removeprefix(self._base)
        for key, pattern, handler in self._routes:
            found = pattern.fullmatch(f"{request.method} {path}")
            if found is None:
                continue
            said: Body = json.loads(request.content) if request.content else {}
            self._held_to(key, {*said, *query})
            arguments = [int(part) if part.isdecimal() else unquote(part) for part in found.groups()]
            status, body = handler(*arguments, **({"query": query} if request.method == "GET" else {"said": said}))
            if request.method != "GET" and status < 400:
                self.changes.append(f"{request.method} {path}")
            shown = self._shown(body)
            answer = self._paged(request, status, shown, {} if key in self.whole else query)
            self._judged(request, path, answer)
            return answer
        self.violations.append(f"{request.method} {path}")
        return httpx.Response(404, json={"message": "404 Not Found"})

    def _held_to(self, key: str, given: set[str]) -> None:
        strange = given - self._contract.get(key, frozenset())
        if key not in self._contract or strange:
            self.violations.append(f"{key}: {sorted(strange)}")

    def _judged(self, request: httpx.Request, path: str, answer: httpx.Response) -> None:
        asked = tuple(request.url.params.multi_items())
        found = [one for judge in self._judges for one in judge.asked(request.method, path, asked, request.content)]
        for judge in self._judges[:1]:
            found += judge.answered(request.method, path, answer.status_code, answer.content)
        assert not found, "\n".join(found)

    def _shown(self, body: Any) -> Any:
        if isinstance(body, list):
            return [self._shown(one) for one in body]
        if not isinstance(body, dict):
            return body
        return {key: self._shown(one) for key, one in body.items() if key not in self.hidden}

    def _paged(self, request: httpx.Request, status: int, body: Any, query: Mapping[str, str]) -> httpx.Response:
        asked = query.get("per_page") or query.get("limit")
        if not isinstance(body, list) or asked is None:
            return httpx.Response(status, json=body) if body is not None else httpx.Response(status)
        size, page = min(int(asked), self.page_most), int(query.get("page", 1))
        links = {}
        if page * size < len(body):
            following = request.url.copy_set_param("page", str(page + 1))
            links = {"Link": f'<{following}>; rel="next"'}
        elif page > 1:
            links = {"Link": f'<{request.url.copy_set_param("page", "1")}>; rel="first"'}
        return httpx.Response(status, json=body[(page - 1) * size : page * size], headers=links)


def _pattern(key: str) -> re.Pattern[str]:
    """Read "GET /issues/{n}": each part in braces is one part of a path."""
    return re.compile(re.sub(r"\{\w+\}", "([^/]+)", key))


def keys(*names: str) -> frozenset[str]:
    """Name what a request may hold."""
    return frozenset(names)
