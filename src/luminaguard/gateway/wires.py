"""How each API is spoken to: which calls go through, where keys stand, how errors look. Pure.

Only calls that can be counted go through: what a provider would do later, or on its own (batches, background work),
could not be held to a budget.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlencode

from luminaguard.gateway.base import Api, Provider
from luminaguard.gateway.readers import Wire
from luminaguard.model.ids import Json

Headers = list[tuple[bytes, bytes]]
VERSION = r"(?:/v\d[a-z0-9]*)?"
POSTS: dict[Api, tuple[tuple[re.Pattern[str], Wire | None], ...]] = {
    "anthropic": (
        (re.compile(VERSION + r"/messages"), "messages"),
        (re.compile(VERSION + r"/messages/count_tokens"), None),
    ),
    "openai": (
        (re.compile(VERSION + r"/chat/completions"), "chat"),
        (re.compile(VERSION + r"/responses"), "responses"),
        (re.compile(VERSION + r"/responses/compact"), "responses"),
        (re.compile(VERSION + r"/responses/input_tokens"), None),
    ),
    "gemini": (
        (re.compile(VERSION + r"/models/[^/:]+:(?:stream)?[gG]enerateContent"), "generate"),
        (re.compile(VERSION + r"/models/[^/:]+:countTokens"), None),
    ),
}
"""What may be posted, and how its answer is counted; None: it costs nothing."""
GETS = re.compile(VERSION + r"/models(?:/[^/]+)*")
NOT_SENT_UP = frozenset({
    b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key", b"proxy-authorization", b"cookie", b"host",
    b"content-length", b"content-encoding", b"accept-encoding", b"expect", b"forwarded", b"via", b"origin", b"referer",
    b"openai-organization", b"openai-project",
})  # fmt: skip
NOT_GIVEN_BACK = frozenset({
    b"set-cookie", b"set-cookie2", b"content-encoding", b"alt-svc", b"strict-transport-security", b"authorization",
    b"openai-organization", b"openai-project", b"anthropic-organization-id", b"www-authenticate",
})  # fmt: skip
HOP_BY_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
    b"trailers", b"transfer-encoding", b"upgrade", b"http2-settings",
})  # fmt: skip
USAGE_ASKED = b',"stream_options":{"include_usage":true}}'
STATUS_WORDS = {
    400: ("invalid_request_error", "INVALID_ARGUMENT"),
    401: ("authentication_error", "UNAUTHENTICATED"),
    403: ("permission_error", "PERMISSION_DENIED"),
    404: ("not_found_error", "NOT_FOUND"),
    413: ("request_too_large", "INVALID_ARGUMENT"),
    429: ("rate_limit_error", "RESOURCE_EXHAUSTED"),
    502: ("api_error", "UNAVAILABLE"),
    503: ("overloaded_error", "UNAVAILABLE"),
    504: ("timeout_error", "DEADLINE_EXCEEDED"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A call that goes through. `wire` None: it costs nothing. `model` is "" where the path does not name it."""

    wire: Wire | None
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A request's body as it goes up. `asks_usage`: we asked for counts that the caller did not ask for."""

    body: bytes
    model: str
    asks_usage: bool = False


class NotForwardedError(Exception):
    """A request that cannot be counted or understood; the message is for the caller."""


def endpoint_of(api: Api, method: str, path: str) -> Endpoint | None:
    """Tell which call a path stands for, None where it does not go through."""
    if method == "GET" and GETS.fullmatch(path) and ".." not in path:
        return Endpoint(wire=None)
    if method != "POST":
        return None
    for pattern, wire in POSTS[api]:
        if pattern.fullmatch(path):
            return Endpoint(wire=wire, model=_model_in(path) if api == "gemini" else "")
    return None


def _model_in(path: str) -> str:
    return unquote(path.rpartition("/")[2].partition(":")[0])[:200]


def prepare(endpoint: Endpoint, body: bytes) -> Prepared:
    """Read what must be known of a request, and ask for counts where a chat stream would not give them.

    Raises:
        NotForwardedError: it is no JSON object, or would be worked on where nobody counts.
    """
    if endpoint.wire is None:
        return Prepared(body=body, model=endpoint.model)
    said = _read(body)
    model = said.get("model")
    named = model[:200] if isinstance(model, str) and not endpoint.model else endpoint.model
    if endpoint.wire == "responses" and said.get("background"):
        raise NotForwardedError("answers in the background cannot be counted: send it without 'background'")
    if endpoint.wire == "chat" and said.get("stream"):
        return _asking_usage(body, said, model=named)
    return Prepared(body=body, model=named)


def _read(body: bytes) -> dict[str, Json]:
    try:
        said: Json = json.loads(body)
    except (ValueError, RecursionError):
        raise NotForwardedError("the body is not JSON") from None
    if not isinstance(said, dict):
        raise NotForwardedError("the body is not a JSON object")
    return said


def _asking_usage(body: bytes, said: dict[str, Json], *, model: str) -> Prepared:
    options = said.get("stream_options")
    if isinstance(options, dict):
        if options.get("include_usage"):
            return Prepared(body=body, model=model)
        said["stream_options"] = {**options, "include_usage": True}
        return Prepared(body=json.dumps(said).encode(), model=model, asks_usage=True)
    # Put in before the last brace: the rest goes up as it came, which is what caches of prompts go by.
    return Prepared(body=body.rstrip()[:-1] + USAGE_ASKED, model=model, asks_usage=True)


def without_ask(body: bytes) -> bytes:
    """Give a body as it was before we asked for counts."""
    return body.removesuffix(USAGE_ASKED) + b"}" if body.endswith(USAGE_ASKED) else body


def key_headers(provider: Provider) -> Headers:
    """Give the headers that carry the real key, in the way the API wants."""
    if not provider.key:
        return []
    key = provider.key.encode()
    if provider.api == "anthropic":
        return [(b"x-api-key", key)]
    if provider.api == "gemini":
        return [(b"x-goog-api-key", key)]
    return [(b"authorization", b"Bearer " + key)]


def headers_up(headers: Headers, provider: Provider) -> Headers:
    """Give the headers that go upstream: the caller's, without what is ours or between two hops, with the real key."""
    left_out = NOT_SENT_UP | HOP_BY_HOP | _named_by_connection(headers)
    kept = [(name, value) for name, value in headers if name not in left_out and not name.startswith(b"x-forwarded-")]
    if provider.api == "anthropic" and not any(name == b"anthropic-version" for name, _ in kept):
        kept.append((b"anthropic-version", b"2023-06-01"))
    return [*kept, *key_headers(provider), (b"accept-encoding", b"identity")]


def headers_back(headers: Iterable[tuple[bytes, bytes]], keys: Iterable[bytes]) -> Headers:
    """Give the headers that the caller sees: none between two hops, none that holds a key, no cookie."""
    lower = [(name.lower(), value) for name, value in headers]
    left_out = NOT_GIVEN_BACK | HOP_BY_HOP | _named_by_connection(lower)
    return [
        (name, value)
        for name, value in lower
        if name not in left_out and not any(key in value or key in name for key in keys)
    ]


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    return frozenset(
        word.strip().lower() for name, value in headers if name == b"connection" for word in value.split(b",")
    )


def query_up(query: str) -> str:
    """Give the query without the key that may stand in it."""
    return urlencode([(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name != "key"])


def dummy_key(headers: Headers, query: str, *, prefix: str) -> str | None:
    """Find the dummy key among all the places that the APIs' clients put a key in."""
    found = [value for name, value in parse_qsl(query) if name == "key"]
    for name, value in headers:
        if name == b"authorization":
            found.append(value.decode("latin-1").removeprefix("Bearer ").removeprefix("bearer ").strip())
        elif name in (b"x-api-key", b"x-goog-api-key", b"api-key"):
            found.append(value.decode("latin-1").strip())
    return next((value for value in found if value.startswith(prefix)), None)


def error_body(api: Api | None, status: int, message: str, *, code: str = "") -> bytes:
    """Give an error as the API's own would look; None: for callers that speak no API."""
    kind, word = STATUS_WORDS.get(status, ("api_error", "INTERNAL"))
    said: Json
    if api == "anthropic":
        said = {"type": "error", "error": {"type": kind, "message": message}}
    elif api == "gemini":
        said = {"error": {"code": status, "message": message, "status": word}}
    elif api == "openai":
        said = {"error": {"message": message, "type": kind, "param": None, "code": code or kind}}
    else:
        said = {"error": message}
    return json.dumps(said).encode()


class UsageHider:
    """Takes the counts that we asked for out of a chat stream again, for a caller that did not ask."""

    __slots__ = ("_rest", "_skips_blank")

    def __init__(self) -> None:
        self._rest = b""
        self._skips_blank = False

    def feed(self, chunk: bytes) -> bytes:
        """Give the whole lines among what has come, as the caller would have got them."""
        text = self._rest + chunk
        end = text.rfind(b"\n") + 1
        self._rest = text[end:]
        return b"".join(map(self._shown, text[:end].splitlines(keepends=True)))

    def end(self) -> bytes:
        """Give the last line where nothing ended it."""
        rest, self._rest = self._rest, b""
        return self._shown(rest)

    def _shown(self, line: bytes) -> bytes:
        if self._skips_blank and not line.strip():
            self._skips_blank = False
            return b""
        self._skips_blank = False
        if b'"usage"' not in line:
            return line
        if _is_only_usage(line):
            self._skips_blank = True
            return b""
        # A quote inside of a text would stand behind a backslash: this can only be the key.
        return line.replace(b',"usage":null', b"").replace(b', "usage": null', b"")


def _is_only_usage(line: bytes) -> bool:
    try:
        said = json.loads(line.removeprefix(b"data:"))
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("choices") == [] and isinstance(said.get("usage"), dict)
