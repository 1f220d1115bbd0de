"""What the gateway adds to a streamed model call. `python benchmarks/gateway.py`.

A provider of our own streams events from a process of its own, at the pace of a quick model and as fast as it can. The
same call goes to it directly, through the gateway's Unix socket, and through the door as sandboxes have it: in turns,
so that whatever else the machine does strikes all three alike. Then many agents call at once through one gateway.
"""

import argparse
import http.client
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from luminaguard.gateway.base import GatewayConfig, Pass, Provider
from luminaguard.gateway.ledger import SqliteLedger
from luminaguard.gateway.process import Running, gateway, socket_path_for
from luminaguard.model.ids import IssueId, RunId
from luminaguard.sandboxes import door

CALLS = 60
AGENTS = 50
PACED_EVENTS, PACED_S = 200, 0.0025
FLOOD_EVENTS = 20_000
PROMPT = "word " * 20_000
RUN = RunId("20260101-000000-benc")
KEY = "sk-benchmark-0123456789"


def events(count: int) -> Iterator[bytes]:
    start = {"type": "message_start", "message": {"model": "claude-opus-5-5", "usage": {"input_tokens": 9}}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "some words "}}
    yield b"event: message_start\ndata: " + json.dumps(start).encode() + b"\n\n"
    word = b"event: content_block_delta\ndata: " + json.dumps(delta).encode() + b"\n\n"
    for _ in range(count):
        yield word
    end = {"type": "message_delta", "usage": {"output_tokens": count}}
    yield b"event: message_delta\ndata: " + json.dumps(end).encode() + b"\n\n"


class Provides(BaseHTTPRequestHandler):
    """The provider: the path says how many events, and how many seconds lie between them."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        due = time.perf_counter()
        if not asked["pause_s"]:
            for flood in (b"".join(events(asked["events"])),):
                for at in range(0, len(flood), 16384):
                    self.piece(flood[at : at + 16384])
        else:
            for piece in events(asked["events"]):
                self.piece(piece)
                due += asked["pause_s"]
                time.sleep(max(0.0, due - time.perf_counter()))
        self.wfile.write(b"0\r\n\r\n")

    def piece(self, piece: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))


class Provider_(ThreadingHTTPServer):  # noqa: N801 Provider is the gateway's
    request_queue_size = 500
    daemon_threads = True


@contextmanager
def provider() -> Iterator[int]:
    """Serve in a process of its own: in ours it would share our interpreter with the clients that are measured."""
    process = subprocess.Popen((sys.executable, __file__, "--provide"), stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class OverSocket(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("gateway")
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    first_ms: float
    whole_ms: float
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to the provider; connections are kept, as agents keep theirs."""

    name: str
    connection: http.client.HTTPConnection
    path: str
    key: str

    def call(self, *, events: int, pause_s: float) -> Timed:
        body = json.dumps({"model": "m", "stream": True, "events": events, "pause_s": pause_s, "messages": [PROMPT]})
        began = time.perf_counter()
        self.connection.request("POST", self.path, body=body.encode(), headers={"x-api-key": self.key})
        answer = self.connection.getresponse()
        size = len(answer.read1(65536))
        first = time.perf_counter()
        while piece := answer.read1(65536):
            size += len(piece)
        return Timed(first_ms=(first - began) * 1e3, whole_ms=(time.perf_counter() - began) * 1e3, bytes=size)


@contextmanager
def opened_door(path: Path) -> Iterator[int]:
    """Hold a door open as sandboxes have it; it ends with the program that it was opened for."""
    told = "import os, sys; print(os.environ['AT'].rpartition(':')[2], flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        (sys.executable, "-I", "-S", door.__file__, str(path), "0", sys.executable, "-c", told),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "AT": f"127.0.0.1:{door.USUAL_PORT}"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def compared(ways: list[Way], *, events: int, pause_s: float, times: int) -> None:
    timed: dict[str, list[Timed]] = {way.name: [] for way in ways}
    for way in ways:
        way.call(events=10, pause_s=0.001)
    for number in range(times):
        # Another order each time: whoever comes after the same one would gain or lose by it.
        for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
            timed[way.name].append(way.call(events=events, pause_s=pause_s))
    direct = timed[ways[0].name]
    for way in ways:
        mine = timed[way.name]
        first = statistics.median(one.first_ms for one in mine)
        rate = statistics.median(one.bytes / one.whole_ms / 1e3 for one in mine)
        more = statistics.median(a.first_ms - b.first_ms for a, b in zip(mine, direct, strict=True))
        share = statistics.median(b.whole_ms / a.whole_ms for a, b in zip(mine, direct, strict=True))
        print(f"  {way.name:<28} first byte {first:7.2f} ms ({more:+6.2f})   {rate:8.3f} MB/s ({share:6.1%} of direct)")


def many(make: Callable[[int], Way], *, agents: int, what: str) -> None:
    ways = [make(number) for number in range(agents)]
    timed: list[Timed] = []

    def work(way: Way) -> None:
        timed.append(way.call(events=PACED_EVENTS, pause_s=0.02))

    threads = [threading.Thread(target=work, args=(way,)) for way in ways]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall_s = time.perf_counter() - began
    whole = statistics.median(one.whole_ms for one in timed)
    first = statistics.median(one.first_ms for one in timed)
    print(
        f"  {agents} agents at once, {what:<22} first byte {first:7.1f} ms, call {whole:7.1f} ms, all in {wall_s:.2f} s"
    )


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provide", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--calls", type=int, default=CALLS)
    asked = parser.parse_args()
    if asked.provide:
        server = Provider_(("127.0.0.1", 0), Provides)
        print(server.server_port, flush=True)
        server.serve_forever()
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-")))
        port = stack.enter_context(provider())
        config = GatewayConfig(
            socket=socket_path_for(folder),
            ledger=folder / "ledger.db",
            providers=(Provider(name="p", api="anthropic", base_url=f"http://127.0.0.1:{port}", key=KEY),),
        )
        ledger = stack.enter_context(SqliteLedger(config.ledger))
        portal = stack.enter_context(start_blocking_portal())
        context: AbstractContextManager[Running] = portal.wrap_async_context_manager(gateway(config))
        running = stack.enter_context(context)
        door_port = stack.enter_context(opened_door(config.socket))

        def key(number: int) -> str:
            return ledger.key_for(Pass(run=RUN, issue=IssueId(str(number)), attempt=1))

        def direct(_: int) -> Way:
            return Way(
                name="direct", connection=http.client.HTTPConnection("127.0.0.1", port), path="/v1/messages", key=KEY
            )

        def over_socket(number: int) -> Way:
            return Way(name="gateway", connection=OverSocket(config.socket), path="/p/v1/messages", key=key(number))

        def through_door(number: int) -> Way:
            connection = http.client.HTTPConnection("127.0.0.1", door_port)
            return Way(name="door and gateway", connection=connection, path="/p/v1/messages", key=key(number))

        ways = [direct(0), over_socket(0), through_door(0)]
        print(
            f"{asked.calls} calls each way, a prompt of {len(PROMPT) // 1000} KB, "
            f"{PACED_EVENTS} events, one each {PACED_S * 1e3:g} ms"
        )
        before = cpu_s(running.pid)
        compared(ways, events=PACED_EVENTS, pause_s=PACED_S, times=asked.calls)
        used = (cpu_s(running.pid) - before) / (2 * asked.calls)
        print(
            f"  the gateway's processor time: {used * 1e3:.1f} ms a call, {used * 1e6 / PACED_EVENTS:.0f} us an event"
        )
        print(f"the same, {FLOOD_EVENTS:,} events as fast as they can be sent")
        before = cpu_s(running.pid)
        compared(ways, events=FLOOD_EVENTS, pause_s=0.0, times=asked.calls)
        used = (cpu_s(running.pid) - before) / (2 * asked.calls)
        print(f"  the gateway's processor time: {used * 1e3:.1f} ms a call")
        print(f"{PACED_EVENTS} events, one each 20 ms")
        for make, what in ((direct, "direct"), (over_socket, "gateway"), (through_door, "one door and gateway")):
            many(make, agents=AGENTS, what=what)
    config.socket.parent.rmdir()


if __name__ == "__main__":
    main()
