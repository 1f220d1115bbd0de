"""A forge that takes a GitHub App and nobody else: an ASGI application before the face.

The App's key buys tokens. Each says that it is good for five minutes, and is over after some requests, so that a run
needs many. Behind it the face sees one token of its own, the App's account.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
from anyio.from_thread import start_blocking_portal
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from luminaguard.forges.face.server import Address, served_beside, tcp_socket
from luminaguard.model.ids import Json

APP_ID, INSTALLATION = "7", 42
APP: dict[str, Json] = {"id": int(APP_ID), "slug": "luminaguard", "name": "LuminaGuard"}
GRANTED: dict[str, Json] = {
    "metadata": "read",
    **dict.fromkeys(("issues", "contents", "pull_requests", "checks"), "write"),
}
TOLD = timedelta(minutes=5)
USES = 10
_KEYED = re.compile(r"/repos/[^/]+/[^/]+/installation|/app(/.*)?")


def key_in(path: Path) -> bytes:
    """Make an App's key in a file; gives the public half."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, plain))
    return key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)


@dataclass(slots=True, kw_only=True)
class Grant:
    """A token of the installation: what was asked for it, and where it was shown."""

    wanted: Mapping[str, Json]
    left: int
    shown: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class AppFront:
    """`inside` is the face's token; `is_limited` is asked for each token that is wanted.

    `over` tells where a token was shown that is over, `strange` one that never was.
    """

    face: ASGIApp
    inside: str = field(repr=False)
    public: bytes
    uses: int = USES
    is_limited: Iterator[bool] = field(default_factory=lambda: iter(()))
    grants: dict[str, Grant] = field(default_factory=dict)
    signed: list[str] = field(default_factory=list)
    over: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        path = scope["path"].removeprefix("/api/v3")
        if _KEYED.fullmatch(path):
            answer = await self._keyed(request, path)
        elif not self._admits(request, path):
            answer = _refused(401, "Bad credentials", **{"www-authenticate": 'Basic realm="front"'})
        elif path == "/user":
            answer = _refused(403, "Resource not accessible by integration")
        else:
            MutableHeaders(scope=scope)["authorization"] = f"Bearer {self.inside}"
            await self.face(scope, receive, _with_app(send) if "/check-runs" in path else send)
            return
        await answer(scope, receive, send)

    async def _keyed(self, request: Request, path: str) -> JSONResponse:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            claims = jwt.decode(token, self.public, algorithms=["RS256"], issuer=APP_ID)
        except jwt.InvalidTokenError:
            return _refused(401, "A JSON web token could not be decoded")
        assert scheme == "Bearer"
        assert claims["exp"] - claims["iat"] <= 600
        self.signed.append(token)
        if (request.method, path) == ("GET", "/repos/ann/demo/installation"):
            return JSONResponse({"id": INSTALLATION, "app_id": int(APP_ID), "permissions": GRANTED})
        if (request.method, path) == ("POST", f"/app/installations/{INSTALLATION}/access_tokens"):
            return self._granted(await request.json())
        return _refused(404, "Not Found")

    def _granted(self, wanted: Mapping[str, Json]) -> JSONResponse:
        if next(self.is_limited, False):
            return _refused(403, "You have exceeded a secondary rate limit", **{"retry-after": "1"})
        token = f"ghs_{len(self.grants):036d}"
        self.grants[token] = Grant(wanted=wanted, left=self.uses)
        expires = (datetime.now(UTC) + TOLD).strftime("%Y-%m-%dT%H:%M:%SZ")
        return JSONResponse({"token": token, "expires_at": expires, "permissions": GRANTED}, 201)

    def _admits(self, request: Request, path: str) -> bool:
        where = f"{request.method} {path}"
        grant = self.grants.get(_token_of(request.headers.get("authorization", "")))
        if grant is None:
            self.strange.append(where)
            return False
        if grant.left == 0:
            self.over.append(where)
            return False
        grant.left -= 1
        grant.shown.append(where)
        return True


def _token_of(header: str) -> str:
    """Read a token as programs send it, and as git does, which must be x-access-token."""
    scheme, _, rest = header.partition(" ")
    if scheme != "Basic":
        return rest
    user, _, password = base64.b64decode(rest).decode().partition(":")
    return password if user == "x-access-token" else ""


def _refused(status: int, message: str, **headers: str) -> JSONResponse:
    return JSONResponse({"message": message}, status, headers)


def _with_app(send: Send) -> Send:
    """Say of every check run which App made it, which the face does not know."""
    start: Message = {}
    whole = bytearray()

    async def sent(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
            return
        whole.extend(message.get("body", b""))
        if message.get("more_body", False):
            return
        body = json.dumps(_told(json.loads(whole))).encode() if whole else b""
        MutableHeaders(raw=start["headers"])["content-length"] = str(len(body))
        await send(start)
        await send({"type": "http.response.body", "body": body})

    return sent


def _told(body: dict[str, Json]) -> dict[str, Json]:
    runs = body.get("check_runs")
    if isinstance(runs, list):
        return {**body, "check_runs": [_told(run) for run in runs if isinstance(run, dict)]}
    return {**body, "app": APP} if "head_sha" in body else body


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Serve on a port of this machine until the block ends; gives the address."""
    listener = tcp_socket(Address(host="127.0.0.1", port=0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(served_beside(app, listener)):
        yield url
