"""A gateway for the tests of the drivers: it passes model calls on, has words to say, and answers questions.

It speaks as the real one to programs inside. What the real one counts and refuses is tested with the real one.
"""

import contextlib
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(slots=True)
class ScriptedGateway:
    """The running server. `words` are said in their order; `answer` is given to all questions; None: nobody is there.

    `words_after` says after how many model calls the words are there. `first_answers` are given instead of the first
    model calls: a status, headers and a body.
    """

    url: str
    upstream: str
    words: list[str] = field(default_factory=list)
    words_after: int = 0
    answer: bool | None = None
    first_answers: list[tuple[int, bytes]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    heard: int = 0
    calls: list[dict[str, Any]] = field(default_factory=list)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    gateway: ScriptedGateway


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 its name in the standard library
        pass

    def do_GET(self) -> None:
        split = urlsplit(self.path)
        gateway = self.server.gateway
        if split.path == "/luminaguard/words":
            after = int(parse_qs(split.query)["after"][0])
            gateway.heard = max(gateway.heard, after)
            ready = gateway.words if len(gateway.calls) >= gateway.words_after else []
            found = [{"number": it, "text": text} for it, text in enumerate(ready, 1) if it > after]
            self._tell(200, json.dumps({"words": found}).encode())
        elif split.path.startswith("/luminaguard/questions/"):
            self._tell(200, json.dumps({"answer": gateway.answer}).encode())
        else:
            self._tell(404, b"{}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        gateway = self.server.gateway
        if self.path == "/luminaguard/questions":
            gateway.asked.append(json.loads(body)["what"])
            self._tell(200, json.dumps({"id": len(gateway.asked)}).encode())
            return
        gateway.calls.append(json.loads(body))
        if gateway.first_answers:
            self._tell(*gateway.first_answers.pop(0))
            return
        request = urllib.request.Request(gateway.upstream + self.path, data=body, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                self._tell(answer.status, answer.read())
        except urllib.error.HTTPError as exc:
            with exc:
                self._tell(exc.code, exc.read())

    def _tell(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def scripted_gateway(upstream: str) -> Iterator[ScriptedGateway]:
    """Serve until the end of the block."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.gateway = ScriptedGateway(url=f"http://127.0.0.1:{server.server_port}", upstream=upstream)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.gateway
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
