"""A GitHub that takes an App: tokens only for whose key signed, and nothing without one from then on."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from github_server import FULL, Server
from github_world import Item

from luminaguard.forges.github.auth import AppKey
from luminaguard.forges.github.forge import GitHub
from luminaguard.forges.github.repository import repository_named


@dataclass
class AppServer(Server):
    """`asked` are the calls that the App's key signed, `made` the tokens that came of them, each good for an hour."""

    public: bytes = b""
    granted: dict[str, str] = field(default_factory=lambda: {"issues": "write", "metadata": "read"})
    asked: list[str] = field(default_factory=list)
    made: dict[str, Item] = field(default_factory=dict)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        kind, _, token = request.headers["authorization"].partition(" ")
        path = request.url.path
        if not path.endswith(("/installation", "/access_tokens")):
            assert kind == "token"
            assert token in self.made
            return await super().handle_async_request(request)
        claims = jwt.decode(token, self.public, algorithms=["RS256"], options={"verify_iat": False})
        self.asked.append(path)
        assert claims["iss"] in ("7", "Iv23seven")
        if self.judge is not None:
            self.judge.request(request)
        if path.endswith("/installation"):
            return httpx.Response(200, json={"id": 42, "permissions": self.granted}, request=request)
        return self._token(request)

    def _token(self, request: httpx.Request) -> httpx.Response:
        text = f"ghs_{len(self.made)}"
        self.made[text] = json.loads(request.content)
        expires = self.time(after_s=3600.0)
        body = {"token": text, "expires_at": expires, "permissions": self.granted}
        return httpx.Response(201, json=body, request=request)


def app_on(server: AppServer, folder: Path, *, app_id: str = "7") -> GitHub:
    """Give a driver that is an App of this server, with its key in a folder."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem, private, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = folder / "key.pem"
    path.write_bytes(key.private_bytes(pem, private, plain))
    server.public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    credentials = AppKey(app_id=app_id, key_path=path)
    return GitHub(repository_named(FULL), credentials, transport=server, sleep=server.sleep, clock=server.clock)
