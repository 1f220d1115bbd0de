"""The proxy for listed hosts: who may use it, where it leads, and where it never does."""

import base64
import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.gateway.conftest import REAL, Open, SocketConnection, Stage
from tests.gateway.upstream import Upstream


def proxy_key(stage: Stage, *, user: bool = True) -> dict[str, str]:
    key = stage.client().key
    words = f"{key}:" if user else f"luminaguard:{key}"
    return {"proxy-authorization": "Basic " + base64.b64encode(words.encode()).decode()}


def connect(stage: Stage, to: str, headers: dict[str, str] | None = None) -> tuple[int, bytes, socket.socket]:
    """Ask for a tunnel; give the status, the words and the socket behind it."""
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(60)
    made.connect(str(stage.config.socket))
    lines = [f"CONNECT {to} HTTP/1.1", f"host: {to}", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    made.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
    answer = http.client.HTTPResponse(made, method="CONNECT")
    answer.begin()
    body = answer.read() if answer.status != 200 else b""
    return answer.status, body, made


@contextlib.contextmanager
def echo() -> Iterator[int]:
    """Say all that comes once more, until the other side ends."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                near, _ = listener.accept()
                with near:
                    while piece := near.recv(65536):
                        near.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("user", [True, False])
def test_a_tunnel_to_a_listed_host_carries_bytes_both_ways(open_stage: Open, *, user: bool) -> None:
    with echo() as port:
        stage = open_stage(hosts=(f"127.0.0.1:{port}",))
        status, _, tunnel = connect(stage, f"127.0.0.1:{port}", proxy_key(stage, user=user))
        with tunnel:
            assert status == 200
            tunnel.sendall(b"x" * 300_000)
            tunnel.shutdown(socket.SHUT_WR)
            got = b""
            while piece := tunnel.recv(65536):
                got += piece
    assert got == b"x" * 300_000


def test_a_tunnel_wants_a_key(open_stage: Open) -> None:
    stage = open_stage(hosts=("pypi",))
    for headers in ({}, {"proxy-authorization": "Basic !"}, {"proxy-authorization": f"Bearer {REAL}"}):
        status, words, tunnel = connect(stage, "pypi.org:443", headers)
        tunnel.close()
        assert status == 407
        assert b"key" in words


def test_a_host_that_is_not_listed_is_refused_with_the_reason(stage: Stage) -> None:
    status, words, tunnel = connect(stage, "pypi.org:443", proxy_key(stage))
    tunnel.close()
    assert status == 403
    assert b"pypi.org:443 is not on the list" in words


def test_a_listed_name_that_leads_to_this_machine_is_refused(open_stage: Open) -> None:
    with echo() as port:
        stage = open_stage(hosts=(f"localhost:{port}",))
        status, words, tunnel = connect(stage, f"localhost:{port}", proxy_key(stage))
        tunnel.close()
    assert status == 403
    assert b"an address that is not public" in words


def test_a_name_that_nobody_knows_is_said(open_stage: Open) -> None:
    stage = open_stage(hosts=("no-such-host.invalid",))
    status, words, tunnel = connect(stage, "no-such-host.invalid:443", proxy_key(stage))
    tunnel.close()
    assert (status, b"not known" in words) == (502, True)


def plain(stage: Stage, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    with closing(SocketConnection(stage.config.socket)) as connection:
        connection.request(method, target, body=body or None, headers={**proxy_key(stage), **headers})
        with connection.getresponse() as answer:
            return answer.status, answer.read()


def test_a_plain_request_goes_to_a_listed_host_without_the_key(open_stage: Open, provider: Upstream) -> None:
    host = provider.url.removeprefix("http://")
    stage = open_stage(hosts=(host,))
    assert plain(stage, "POST", f"{provider.url}/a?b=c", b"words", te="trailers") == (200, b"{}")
    asked = provider.asked[0]
    assert (asked.method, asked.path, asked.body, asked.headers["host"]) == ("POST", "/a?b=c", b"words", host)
    assert stage.client().key not in repr(asked)
    assert not {"proxy-authorization", "te"} & asked.headers.keys()


@pytest.mark.parametrize(
    "target", ["http://example.org/", "http://169.254.169.254/latest/meta-data", "http://[::1]:80/"]
)
def test_a_plain_request_to_another_host_is_refused(stage: Stage, target: str) -> None:
    assert plain(stage, "GET", target)[0] == 403


@pytest.mark.parametrize("target", ["https://example.org/", "ftp://example.org/", "http://:x/", "http://a:99999/"])
def test_what_is_no_plain_request_is_said(stage: Stage, target: str) -> None:
    assert plain(stage, "GET", target)[0] == 400
