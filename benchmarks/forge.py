"""A thousand issues on GitHub, listed and planned: requests, seconds, memory. `python benchmarks/forge.py`.

The server is the tests' own, in a process of its own and over real HTTP on loopback; so the seconds are the driver's,
and what the way to github.com adds is requests times its round trip. Of the issues every tenth is closed, every fifth
waits for another, every seventh is a child, and bodies have some 2 KB.
"""

import argparse
import resource
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import httpx

from luminaguard.forges.github.auth import Token
from luminaguard.forges.github.forge import GitHub
from luminaguard.forges.github.repository import repository_named
from luminaguard.planner.plan import plan

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/forges/github"))
from github_server import FULL, Server

BODY = "The parser drops the last line of a file without a newline at its end.\n" * 28


@dataclass(frozen=True, slots=True)
class Measured:
    """One reading of the whole backlog."""

    what: str
    requests: int
    unchanged: int
    wall_s: float
    cpu_s: float


def filled(count: int) -> Server:
    server = Server()
    for number in range(1, count + 1):
        state = "closed" if number % 10 == 0 else "open"
        server.add_issue(f"Issue {number}", body=BODY, labels=["bug", f"priority: p{number % 4}"], state=state)
        if number % 5 == 0 and number > 5:
            server.blocked[number] = [number - 4]
        if number % 7 == 0 and number > 7:
            server.parents[number] = number - 6
    return server


def serve(count: int) -> None:
    """Serve until standard input ends; the port is said on standard output."""
    server, turn = filled(count), threading.Lock()

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            request = httpx.Request("GET", f"http://127.0.0.1{self.path}", headers=dict(self.headers))
            with turn:
                answer = anyio.run(server.handle_async_request, request)
                server.seen.clear()
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name not in ("content-length", "link"):
                    self.send_header(name, value)
            if "link" in answer.headers:
                here = f"http://{self.headers['Host']}"
                self.send_header("link", answer.headers["link"].replace("http://127.0.0.1/", f"{here}/"))
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    print(listening.server_port, flush=True)
    sys.stdin.read()


async def measured(forge: GitHub, what: str) -> Measured:
    requests, unchanged = forge.counts.requests, forge.counts.unchanged
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    await forge.backlog()
    return Measured(
        what,
        forge.counts.requests - requests,
        forge.counts.unchanged - unchanged,
        time.perf_counter() - wall_s,
        time.process_time() - cpu_s,
    )


async def read_twice(port: int) -> None:
    forge = GitHub(repository_named(FULL, base_url=f"http://127.0.0.1:{port}/"), Token(text="t", source="benchmark"))
    before = peak_mib()
    async with forge.open():
        found = [await measured(forge, "first"), await measured(forge, "again")]
        backlog = await forge.backlog()
    for one in found:
        print(
            f"{one.what:6} {one.requests:4} requests, {one.unchanged:4} of them unchanged and uncounted, "
            f"{one.wall_s:6.2f} s wall, {one.cpu_s:6.2f} s of our CPU"
        )
    started_s = time.perf_counter()
    plan(backlog.issues, base=None, tracked=frozenset({"src/parser.py"}), present={}, slots=8)
    print(
        f"planned in {time.perf_counter() - started_s:.2f} s; memory {before:.0f} -> {peak_mib():.0f} MiB at its peak"
    )


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--issues", type=int, default=1000)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.issues)
        return
    argv = (sys.executable, __file__, "--serve", "--issues", str(asked.issues))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        anyio.run(read_twice, int(server.stdout.readline()))
        assert server.stdin is not None
        server.stdin.close()


if __name__ == "__main__":
    main()
