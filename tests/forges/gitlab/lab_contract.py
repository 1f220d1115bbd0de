"""Holds what a lab server is asked and answers against a description in the form of OpenAPI 3.0, by openapi-core.

Beyond what openapi-core says: a parameter of the query that the operation does not have is a breach, and so is a status
that it does not name. Trouble of the server's own (5xx), what a token may not, and a rate limit are no operation's
business.
"""

import re
from functools import cache, lru_cache
from typing import Any

from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.exceptions import OpenAPIError
from werkzeug.datastructures import Headers, ImmutableMultiDict

HOST = "http://lab.test"

Said = dict[str, Any]


class _Asked:
    """A request in the form that openapi-core takes."""

    def __init__(self, method: str, path: str, query: tuple[tuple[str, str], ...], content: bytes) -> None:
        self.host_url = HOST
        self.path = path
        self.method = method.lower()
        self.body = content or None
        self.content_type = "application/json"
        self.parameters = RequestParameters(
            query=ImmutableMultiDict(query), header=Headers(), cookie=ImmutableMultiDict()
        )


class _Answered:
    """An answer in that form."""

    def __init__(self, status: int, content: bytes) -> None:
        self.data = content
        self.status_code = status
        self.content_type = "application/json"
        self.headers = Headers()


class LabJudge:
    """Judges by one description; of what is not in it nothing is said, unless it is whole.

    The same exchange is judged once: tests under faults make it a thousand times.
    """

    def __init__(self, description: Said, *, is_whole: bool = True) -> None:
        self._is_whole = is_whole
        self._description = description
        # "/pulls/pinned" before "/pulls/{index}": the fewer holes, the nearer.
        self._paths = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path)
            for path in sorted(description["paths"], key=lambda path: path.count("{"))
        ]
        self._described = cache(self._description_of)
        self.asked = lru_cache(maxsize=4096)(self._asked)
        self.answered = lru_cache(maxsize=4096)(self._answered)

    def _asked(self, method: str, path: str, query: tuple[tuple[str, str], ...], content: bytes) -> tuple[str, ...]:
        """Tell what is wrong with a request; the path as it is sent, in its escapes."""
        template, operation = self._found(method, path)
        if operation is None:
            return (f"{method} {path} is not described",) if self._is_whole else ()
        known = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}
        strange = tuple(f"{method} {path} has no parameter {name}" for name, _ in query if name not in known)
        try:
            self._described(template).validate_request(_Asked(method, path, query, content))
        except OpenAPIError as exc:
            return (*strange, f"{method} {path} {content.decode()}: {_why(exc)}")
        return strange

    def _answered(self, method: str, path: str, status: int, content: bytes) -> tuple[str, ...]:
        """Tell what is wrong with the answer to a request that is described."""
        template, operation = self._found(method, path)
        if operation is None or status >= 500 or status in (401, 403, 429):
            return ()
        said = operation["responses"].get(str(status), operation["responses"].get("default"))
        if said is None:
            return (f"{method} {path} does not answer {status}",)
        if "content" not in said:
            return ()
        try:
            self._described(template).validate_response(_Asked(method, path, (), b""), _Answered(status, content))
        except OpenAPIError as exc:
            return (f"{status} of {method} {path}: {_why(exc)}",)
        return ()

    def _found(self, method: str, path: str) -> tuple[str, Said | None]:
        for form, template in self._paths:
            operations = self._description["paths"][template]
            if form.fullmatch(path) and method.lower() in operations:
                return template, operations[method.lower()]
        return "", None

    def _description_of(self, template: str) -> OpenAPI:
        """Describe one path alone: openapi-core looks through all that it has, for each request."""
        paths = {template: self._description["paths"][template]}
        said = {**self._description, "paths": paths, "servers": [{"url": HOST}]}
        return OpenAPI.from_dict(said, config=Config(spec_validator_cls=None))


def _why(exc: Exception) -> str:
    cause = exc.__cause__ or exc
    errors = [f"{one.message[:160]} at {list(one.absolute_path)}" for one in getattr(cause, "schema_errors", ())]
    return f"{type(cause).__name__} {'; '.join(errors) or cause}"
