"""Callers that are slow, broken, hostile or many."""

import contextlib
import gzip
import json
import socket
import threading
from contextlib import closing

import pytest
from tests.gateway.conftest import Stage
from tests.gateway.upstream import Reply

from luminaguard.gateway.conversation import LARGEST_BODY

HEAD = b"POST /openai/v1/responses HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n"
MESSAGE = json.dumps({"type": "message", "model": "m", "usage": {"input_tokens": 1, "output_tokens": 1}}).encode()


def raw(stage: Stage, text: bytes) -> bytes:
    """Send bytes as they are, as far as they are taken, and read until the gateway has nothing more to say."""
    with closing(socket.socket(socket.AF_UNIX)) as made:
        made.settimeout(60)
        made.connect(str(stage.config.socket))
        with contextlib.suppress(BrokenPipeError):
            made.sendall(text)
            made.shutdown(socket.SHUT_WR)
        got = b""
        with contextlib.suppress(ConnectionResetError):  # it has left something unread
            while piece := made.recv(65536):
                got += piece
        return got


@pytest.mark.parametrize(
    "text",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"POST /openai/v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /openai/v1/responses HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_http_is_answered_with_400_or_nothing(stage: Stage, text: bytes) -> None:
    answer = raw(stage, text)
    assert not answer or answer.split(b" ")[1] in (b"400", b"431")
    assert stage.client().call("/openai/v1/models").status == 200


@pytest.mark.parametrize("said", [b"", b"no json", b"[]", b'"text"', b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_no_object_is_a_400(stage: Stage, said: bytes) -> None:
    answer = stage.client().call("/openai/v1/responses", said)
    assert (answer.status, stage.upstream.asked) == (400, [])


def test_a_body_that_is_too_large_is_a_413(stage: Stage) -> None:
    with closing(stage.client().connection()) as connection:
        connection.putrequest("POST", "/openai/v1/responses")
        connection.putheader("content-length", str(LARGEST_BODY + 1))
        connection.endheaders()
        for _ in range(LARGEST_BODY // 2**20):
            connection.send(b"x" * 2**20)
        connection.send(b"x")
        with connection.getresponse() as answer:
            assert answer.status == 413


def test_a_body_that_unpacks_to_too_much_is_refused(stage: Stage) -> None:
    packed = gzip.compress(b"x" * (LARGEST_BODY + 1))
    answer = stage.client().call("/openai/v1/responses", packed, headers={"content-encoding": "gzip"})
    assert (answer.status, stage.upstream.asked) == (400, [])


def test_a_coding_that_is_not_known_is_said(stage: Stage) -> None:
    answer = stage.client().call("/openai/v1/responses", b"x", headers={"content-encoding": "zstd"})
    assert answer.status == 400
    assert "zstd" in answer.json["error"]["message"]


def test_requests_sent_ahead_are_answered_in_turn(stage: Stage) -> None:
    stage.upstream.script = lambda asked: Reply(pieces=[asked.body])
    one = HEAD + b'content-length: 9\r\n\r\n{"a": %d}\n'
    key = stage.client().key.encode()
    with closing(socket.socket(socket.AF_UNIX)) as made:
        made.settimeout(60)
        made.connect(str(stage.config.socket))
        made.sendall(b"".join(one % (key, number) for number in range(3)))
        got = b""
        while got.count(b'{"a": ') < 3:
            got += made.recv(65536)
    assert [number for number in range(3) if b'{"a": %d}' % number in got] == [0, 1, 2]


def test_a_caller_that_waits_for_leave_to_send_is_given_it(stage: Stage) -> None:
    head = HEAD + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    with closing(socket.socket(socket.AF_UNIX)) as made:
        made.settimeout(60)
        made.connect(str(stage.config.socket))
        made.sendall(head % stage.client().key.encode())
        assert made.recv(65536).startswith(b"HTTP/1.1 100")
        made.sendall(b"{}")
        assert b" 200 " in made.recv(65536)


def test_a_reader_that_does_not_read_stops_nobody_else(stage: Stage) -> None:
    stage.upstream.script = lambda asked: Reply(
        headers=[("content-type", "text/event-stream")], pieces=[b"data: x\n\n" * 10_000] * 100, chunked=True
    )
    with stage.client().asked("/openai/v1/responses", {"model": "m"}) as answer:
        answer.read(10)
        stage.upstream.script = lambda asked: Reply(pieces=[MESSAGE])
        assert stage.client().call("/anthropic/v1/messages", {"model": "m"}).status == 200


def test_three_hundred_connections_are_held_at_once(stage: Stage) -> None:
    held = threading.Event()
    stage.upstream.script = lambda asked: Reply(pieces=[MESSAGE], held=held)
    connections = [stage.client().connection() for _ in range(300)]
    for connection in connections[:50]:
        connection.request(
            "POST", "/anthropic/v1/messages", body=b'{"model": "m"}', headers={"x-api-key": stage.client().key}
        )
    for connection in connections[50:]:
        connection.connect()
    for _ in range(2 * 50):  # each comes, and is held
        stage.upstream.wait()
    assert stage.client().call("/luminaguard/words").status == 200
    held.set()
    assert [connection.getresponse().read() for connection in connections[:50]] == [MESSAGE] * 50
    for connection in connections:
        connection.close()
    assert stage.spent()[:2] == (50, 50)
