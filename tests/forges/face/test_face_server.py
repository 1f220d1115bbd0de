"""The face as a server: how it ends, how many it takes, what it says of nonsense, where it listens."""

import contextlib
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import httpx
import pytest
from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from luminaguard.app.project import open_project
from luminaguard.app.serving import Doors, Served, face
from luminaguard.forges.face import front, server
from luminaguard.forges.face.server import Address, served_beside, tcp_socket, unix_socket
from luminaguard.model.faults import UserFault

REPO = "/repos/ann/demo"


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """What a slow endpoint waits for; the test's end lets it go."""
    go = threading.Event()
    yield go
    go.set()


def slow(go: threading.Event, begun: threading.Event) -> Starlette:
    """An application with an endpoint in a thread, as one that asks elsewhere, and one that wants a body."""

    def wait() -> None:
        begun.set()
        assert go.wait(240)

    async def blocking(_request: Request) -> Response:
        await to_thread.run_sync(wait)
        return Response("done")

    async def reading(request: Request) -> Response:
        begun.set()
        await request.body()
        return Response("read")

    routes = [Route("/wait", blocking), Route("/read", reading, methods=["POST"])]
    return Starlette(routes=routes)


def asked(path: Path, words: bytes) -> socket.socket:
    caller = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    caller.settimeout(120)
    caller.connect(str(path))
    caller.sendall(words)
    return caller


@pytest.mark.parametrize(
    "words",
    [b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"],
    ids=["in a thread", "half a body"],
)
def test_a_face_that_ends_beside_a_session_tells_who_still_waits_and_logs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, held: threading.Event, words: bytes
) -> None:
    begun = threading.Event()
    with ExitStack() as stack:

        async def served() -> socket.socket:
            async with served_beside(slow(held, begun), unix_socket(tmp_path / "s")):
                caller = stack.enter_context(asked(tmp_path / "s", words))
                await to_thread.run_sync(begun.wait)
            return caller

        async def let_go_after() -> socket.socket:
            try:
                return await served()
            finally:
                held.set()

        caller = anyio.run(let_go_after)
        assert caller.recv(1000).startswith(b"HTTP/1.1 503 ")
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_what_waits_inside_hears_that_the_server_ends(tmp_path: Path) -> None:
    ended: list[str] = []

    async def waiting(_scope: Scope, receive: Receive, _send: Send) -> None:
        try:
            while True:
                await receive()
                asking.set()
        finally:
            with anyio.CancelScope(shield=True):  # as one that waits for its program to end
                await anyio.lowlevel.checkpoint()
                ended.append("in order")

    asking = threading.Event()

    async def served() -> None:
        async with served_beside(waiting, unix_socket(tmp_path / "s")):
            callers.enter_context(asked(tmp_path / "s", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
            await to_thread.run_sync(asking.wait)
        assert ended == ["in order"]

    with ExitStack() as callers:
        anyio.run(served)


def test_a_bug_of_ours_is_logged_once_and_answered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_request: Request) -> Response:
        raise ZeroDivisionError("ours")

    async def served() -> int:
        app = Starlette(routes=[Route("/", broken)])
        async with served_beside(app, unix_socket(tmp_path / "s")), client_on(tmp_path / "s", "one") as client:
            return (await client.get("/")).status_code

    assert anyio.run(served) == 500
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.name.startswith("luminaguard.")
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


# How many


def client_on(path: Path, token: str) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(uds=str(path), limits=httpx.Limits(max_connections=None))
    return httpx.AsyncClient(transport=transport, base_url="http://x", headers={"Authorization": token}, timeout=240)


def test_who_is_only_connected_takes_no_place(tmp_path: Path) -> None:
    async def served() -> list[int]:
        app = Starlette(routes=[Route("/", lambda _request: Response("here"))])
        async with served_beside(app, unix_socket(tmp_path / "s")):
            for _ in range(140):
                callers.enter_context(asked(tmp_path / "s", b""))
            async with client_on(tmp_path / "s", "one") as client:
                return [(await client.get("/")).status_code for _ in range(5)]

    with ExitStack() as callers:
        assert anyio.run(served) == [200] * 5


def test_where_there_are_too_many_connections_those_that_ask_nothing_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: threading.Event
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 4)
    begun = threading.Event()

    async def served() -> None:
        async with served_beside(slow(held, begun), unix_socket(tmp_path / "s")):
            at_work = callers.enter_context(asked(tmp_path / "s", b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"))
            await to_thread.run_sync(begun.wait)
            idle = [callers.enter_context(asked(tmp_path / "s", b"")) for _ in range(3)]
            async with client_on(tmp_path / "s", "one") as client:
                assert (await client.get("/nowhere")).status_code == 404
            assert [await to_thread.run_sync(one.recv, 1) for one in idle] == [b""] * 3
            held.set()
            assert (await to_thread.run_sync(at_work.recv, 100)).startswith(b"HTTP/1.1 200 ")

    with ExitStack() as callers:
        anyio.run(served)


def test_a_caller_with_many_requests_under_way_takes_nobody_elses_turn(tmp_path: Path, held: threading.Event) -> None:
    begun = threading.Semaphore(0)
    counted = Counted(begun, held)

    async def served() -> list[int]:
        got: list[int] = []
        async with (
            served_beside(counted, unix_socket(tmp_path / "s")),
            client_on(tmp_path / "s", "greedy") as greedy,
            client_on(tmp_path / "s", "other") as other,
            anyio.create_task_group() as group,
        ):

            async def ask() -> None:
                got.append((await greedy.get("/")).status_code)

            for _ in range(3 * front.FOR_ONE):
                group.start_soon(ask)
            for _ in range(front.FOR_ONE):
                await to_thread.run_sync(begun.acquire)
            assert (await other.get("/")).status_code == 200
            held.set()
        return got

    assert anyio.run(served) == [200] * (3 * front.FOR_ONE)
    assert counted.most == front.FOR_ONE


class Counted:
    """An application that counts how many requests of the greedy caller are under way."""

    def __init__(self, begun: threading.Semaphore, go: threading.Event) -> None:
        self.begun, self.go = begun, go
        self.now = self.most = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if Request(scope).headers["authorization"] == "greedy":
            self.now += 1
            self.most = max(self.most, self.now)
            self.begun.release()
            await to_thread.run_sync(self.go.wait, 240)
            self.now -= 1
        await Response("done")(scope, receive, send)


def test_who_asks_for_too_much_is_told_when_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: threading.Event
) -> None:
    begun = threading.Semaphore(0)

    async def served() -> httpx.Response:
        async with (
            served_beside(Counted(begun, held), unix_socket(tmp_path / "s")),
            client_on(tmp_path / "s", "greedy") as client,
            anyio.create_task_group() as group,
        ):
            for _ in range(front.FOR_ONE):
                group.start_soon(client.get, "/")
                await to_thread.run_sync(begun.acquire)
            monkeypatch.setattr(front, "WAIT_S", 0)
            late = await client.get("/")
            monkeypatch.setattr(front, "WAITING", 0)
            monkeypatch.setattr(front, "WAIT_S", 60)
            refused = await client.get("/")
            held.set()
        assert late.status_code == refused.status_code
        return refused

    got = anyio.run(served)
    assert (got.status_code, got.headers["retry-after"]) == (429, "1")


# The command


@contextlib.contextmanager
def serve(repo: Path, *words: str, deaf: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Start the command; `deaf` as a script's shell does that starts it with `&`."""

    argv = [sys.executable, "-W", "error", "-m", "luminaguard", "serve", "--forge", "--repo", str(repo), *words]
    argv = [*(("sh", "-c", "trap '' INT; exec \"$@\"", "sh") if deaf else ()), *argv]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def begun_at(process: subprocess.Popen[str]) -> tuple[str, int]:
    assert process.stdout is not None
    place = urlsplit(process.stdout.readline().split(" and ")[1].strip())
    assert place.hostname
    assert place.port
    return place.hostname, place.port


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "TERM"])
@pytest.mark.parametrize("deaf", [False, True], ids=["", "deaf to Ctrl-C"])
def test_a_server_that_is_told_to_end_ends_in_order_and_takes_its_socket_along(
    project: Path, tmp_path: Path, number: int, *, deaf: bool
) -> None:
    with serve(project, "--socket", str(tmp_path / "s"), "--listen", "127.0.0.1:0", deaf=deaf) as process:
        begun_at(process)
        assert (tmp_path / "s").exists()
        process.send_signal(number)
        _, told = process.communicate(timeout=120)
    assert process.returncode in (0, 130), told
    assert "Traceback" not in told
    assert not (tmp_path / "s").exists()


def test_a_server_that_is_told_twice_ends_at_once_says_nothing_of_what_was_under_way_and_leaves_no_git(
    project: Path, tmp_path: Path
) -> None:
    with serve(project, "--socket", str(tmp_path / "s"), "--listen", "127.0.0.1:0") as process, ExitStack() as stack:
        place = begun_at(process)
        token = (project / ".git/luminaguard/forge/token").read_text().strip()
        head = f"Host: x\r\nAuthorization: Bearer {token}\r\n"
        pushed = (
            "Content-Type: application/x-git-receive-pack-request\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0014\r\n"
        )
        for words in (
            f"POST {REPO}/issues HTTP/1.1\r\n{head}Content-Length: 100\r\n\r\n{{",
            f"POST /ann/demo.git/git-receive-pack HTTP/1.1\r\n{head}{pushed}",
        ):
            stack.enter_context(socket.create_connection(place)).sendall(words.encode())
        pid = backend_of(process.pid)
        process.send_signal(signal.SIGINT)
        wait_until_closed(tmp_path / "s")
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=120)
    assert [line for line in told.splitlines() if not line.startswith(("error: interrupted", "hint: "))] == []
    assert not is_backend(pid)


def wait_until_closed(path: Path) -> None:
    """Look at the Unix socket: a port may be another test's the moment after."""
    with contextlib.suppress(ConnectionError, FileNotFoundError):
        while True:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
                caller.connect(str(path))


def is_backend(pid: int) -> bool:
    """Tell whether it is still that git: one that ended and was not asked after has no words, another has others."""
    try:
        return b"http-backend" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def backend_of(server_pid: int) -> int:
    """Wait for the git that serves a push, and give its process id."""
    while True:
        ran = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(server_pid)], stdout=subprocess.PIPE, check=False)
        for line in ran.stdout.decode().splitlines():
            if "http-backend" in line:
                return int(line.split()[0])


NONSENSE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: [\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a]b:99999999\r\n\r\n",
)


def test_of_callers_that_talk_nonsense_nothing_is_said(
    tmp_path: Path, project: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    got: list[bytes] = []

    def started(served: Served) -> None:
        def ask() -> None:
            for words in NONSENSE:
                with asked(served.socket, b"") as caller:
                    with contextlib.suppress(ConnectionError):  # it has heard enough before we have said all
                        caller.sendall(words)
                    got.append(caller.recv(12)[9:])
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=ask).start()

    with pytest.raises(KeyboardInterrupt):
        anyio.run(face().serve_forge, open_project(project), Doors(socket=tmp_path / "s"), started)
    assert all(status in (b"400", b"401") for status in got), got
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("host", [f"{'x' * 70}", "a..b", "no.such.host.invalid", "\udfff"])
def test_a_host_that_none_can_be_is_the_users_to_change(host: str) -> None:
    with pytest.raises(UserFault, match="cannot listen on"):
        tcp_socket(Address(host=host, port=80))


def test_a_port_that_is_taken_leaves_nothing_open(tmp_path: Path, project: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        doors = Doors(socket=tmp_path / "s", host="127.0.0.1", port=taken.getsockname()[1])
        with pytest.raises(UserFault, match="cannot listen on"):
            anyio.run(face().serve_forge, open_project(project), doors, lambda _served: None)
    gc.collect()  # a socket that was left open would be told of here
    assert not (tmp_path / "s").exists()
