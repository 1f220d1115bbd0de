"""A provider for tests: it answers what the test has laid out, and keeps what it was asked."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HELD_S = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True, kw_only=True)
class Reply:
    """What is answered. `held` stops it before its last piece; `is_cut` ends it there without an end."""

    status: int = 200
    headers: Sequence[tuple[str, str]] = (("content-type", "application/json"),)
    pieces: Sequence[bytes] = (b"{}",)
    chunked: bool = False
    held: threading.Event | None = None
    is_cut: bool = False
    pause_s: float = 0.0


Script = Callable[[Asked], Reply]


@dataclass(slots=True, kw_only=True)
class Upstream:
    """The provider: set `script`, look at `asked`."""

    url: str
    script: Script = field(default=lambda asked: Reply())
    asked: list[Asked] = field(default_factory=list)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released once for each request, and once for each piece that went out before a hold."""

    def wait(self) -> None:
        assert self.arrived.acquire(timeout=HELD_S)


@contextmanager
def upstream(tls: ssl.SSLContext | None = None) -> Iterator[Upstream]:
    """Serve until the end of the block; with `tls`, as "localhost"."""
    made = Upstream(url="")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self.serve(b"")

        def do_POST(self) -> None:
            self.serve(self.rfile.read(int(self.headers.get("content-length", 0))))

        def serve(self, body: bytes) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(method=self.command, path=self.path, headers=headers, body=body)
            made.asked.append(asked)
            made.arrived.release()
            try:
                self.give(made.script(asked))
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def give(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in reply.headers:
                self.send_header(name, value)
            if reply.chunked:
                self.send_header("transfer-encoding", "chunked")
            elif not reply.is_cut:
                self.send_header("content-length", str(sum(map(len, reply.pieces))))
            else:
                self.send_header("content-length", str(sum(map(len, reply.pieces)) + 1))
            self.end_headers()
            self.wfile.flush()
            for number, piece in enumerate(reply.pieces, start=1):
                if number == len(reply.pieces) and reply.held is not None:
                    made.arrived.release()
                    reply.held.wait(HELD_S)
                if reply.pause_s:
                    time.sleep(reply.pause_s)
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if reply.chunked else piece)
                self.wfile.flush()
            if reply.is_cut:
                self.close_connection = True
            elif reply.chunked:
                self.wfile.write(b"0\r\n\r\n")

    class Server(ThreadingHTTPServer):
        request_queue_size = 200
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        made.url = f"https://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def event(said: object, name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(said).encode() + b"\n\n"


def stream(*pieces: bytes, **more: Any) -> Reply:
    return Reply(headers=(("content-type", "text/event-stream; charset=utf-8"),), pieces=pieces, chunked=True, **more)


def messages_events(
    *, model: str = "claude-opus-5-5", output: int = 20, words: Sequence[str] = ("Hello", " you")
) -> list[bytes]:
    start = {
        "type": "message_start",
        "message": {
            "type": "message",
            "model": model,
            "usage": {
                "input_tokens": 100,
                "cache_read_input_tokens": 1000,
                "cache_creation_input_tokens": 200,
                "cache_creation": {"ephemeral_5m_input_tokens": 150, "ephemeral_1h_input_tokens": 50},
                "output_tokens": 1,
            },
        },
    }
    deltas = [
        event(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}},
            "content_block_delta",
        )
        for word in words
    ]
    return [
        event(start, "message_start"),
        *deltas,
        event(
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": output}},
            "message_delta",
        ),
        event({"type": "message_stop"}, "message_stop"),
    ]
