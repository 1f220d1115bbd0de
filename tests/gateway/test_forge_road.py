"""The road to the repository's own forge: who may take it, what it carries, and that it leads nowhere else."""

import http.server
import socketserver
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.gateway.conftest import Open, SocketConnection, Stage, wait_until
from tests.gateway.test_tunnel import connect, plain, proxy_key

from luminaguard.gateway.forge_road import AT_ONCE, FOR_ONE, LARGEST_BODY, WAITING

API = "http://api.github.localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True, kw_only=True)
class Face:
    """A server on a Unix socket, in the face's place. Requests for /held wait until `let_go`."""

    socket: Path
    came: list[Came] = field(default_factory=list)
    answer: bytes = b"{}"
    let_go: threading.Event = field(default_factory=threading.Event)
    held: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    at_work: int = 0
    most_at_work: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 200


@contextmanager
def face_at(path: Path) -> Iterator[Face]:
    face = Face(socket=path)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            face.came.append(Came(method=self.command, path=self.path, headers=dict(self.headers.items()), body=body))
            if self.path == "/held":
                with face.lock:
                    face.at_work += 1
                    face.most_at_work = max(face.most_at_work, face.at_work)
                face.held.release()
                face.let_go.wait(60)
                with face.lock:
                    face.at_work -= 1
            if self.path == "/silent":
                self.close_connection = True
                return
            self.send_response(200)
            self.send_header("content-length", str(len(face.answer)))
            self.end_headers()
            self.wfile.write(face.answer)

        do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = answer  # noqa: N815 http.server's names

        def log_message(self, *_: object) -> None:
            pass

    path.unlink(missing_ok=True)
    with Server(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield face
        finally:
            face.let_go.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def socket_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="road-") as folder:  # pytest's own are too long for a socket
        yield Path(folder) / "f"


@pytest.fixture
def face(socket_path: Path) -> Iterator[Face]:
    with face_at(socket_path) as made:
        yield made


@pytest.fixture
def stage(open_stage: Open, socket_path: Path) -> Stage:
    return open_stage(forge=socket_path)


@pytest.mark.parametrize("host", ["api.github.localhost", "github.localhost", "API.GitHub.localhost:80"])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE", "PUT"])
def test_what_gh_asks_the_proxy_for_is_carried_to_the_face(stage: Stage, face: Face, host: str, method: str) -> None:
    body = b"words" if method == "POST" else b""
    got = plain(stage, method, f"http://{host}/repos/a/b?c=d%2F", body, authorization="token lgf_x", te="trailers")
    assert got == (200, b"{}")
    (came,) = face.came
    assert (came.method, came.path, came.body) == (method, "/repos/a/b?c=d%2F", body)
    assert came.headers["host"] == host.lower().removesuffix(":80")
    assert came.headers["authorization"] == "token lgf_x"
    assert not {"te", "proxy-authorization"} & came.headers.keys()
    assert stage.client().key not in repr(came)


def test_the_proxy_wants_the_key_of_an_attempt(stage: Stage, face: Face) -> None:
    for key in ("", "Basic !", "Bearer lgf_x"):
        with closing(SocketConnection(stage.config.socket)) as connection:
            connection.request("GET", f"{API}/user", headers={"proxy-authorization": key} if key else {})
            with connection.getresponse() as answer:
                assert (answer.status, b"key" in answer.read()) == (407, True)
    assert face.came == []


def test_other_programs_take_the_gateways_own_address(stage: Stage, face: Face) -> None:
    got = stage.client().call("/forge/api/v3/repos/a/b?x=1", headers={"x-forwarded-prefix": "/elsewhere"})
    assert got.status == 200
    (came,) = face.came
    assert (came.path, came.headers["x-forwarded-prefix"]) == ("/api/v3/repos/a/b?x=1", "/forge")


def test_an_answer_of_any_size_comes_whole(stage: Stage, face: Face) -> None:
    face.answer = b"x" * 3_000_000
    assert plain(stage, "GET", f"{API}/big") == (200, face.answer)


def test_a_body_that_is_too_large_is_refused_before_the_face_sees_it(stage: Stage, face: Face) -> None:
    assert plain(stage, "POST", f"{API}/graphql", b"x" * LARGEST_BODY)[0] == 200
    status, words = plain(stage, "POST", f"{API}/graphql", b"x" * (LARGEST_BODY + 1))
    assert (status, b"larger than" in words, len(face.came)) == (413, True, 1)


def test_without_a_run_the_forge_is_said_to_be_away_and_is_back_with_it(stage: Stage, socket_path: Path) -> None:
    status, words = plain(stage, "GET", f"{API}/user")
    assert (status, b"luminaguard run, which does not run now" in words) == (503, True)
    with face_at(socket_path):
        assert plain(stage, "GET", f"{API}/user")[0] == 200
    assert plain(stage, "GET", f"{API}/user")[0] == 503
    with face_at(socket_path):
        assert plain(stage, "GET", f"{API}/user")[0] == 200


def test_a_face_that_says_nothing_is_told(stage: Stage, face: Face) -> None:
    assert plain(stage, "GET", f"{API}/silent")[0] == 502


@pytest.mark.parametrize(
    "target",
    [
        *("http://github.localhost.example.org/", "http://xapi.github.localhost/", "http://localhost/"),
        *("http://api.github.localhost@example.org/", "http://github.com/"),
    ],
)
def test_no_other_host_is_taken_for_the_forge(stage: Stage, face: Face, target: str) -> None:
    assert plain(stage, "GET", target)[0] == 403
    assert face.came == []


def test_no_tunnel_leads_to_the_forge(stage: Stage, face: Face) -> None:
    status, _, tunnel = connect(stage, "api.github.localhost:443", proxy_key(stage))
    tunnel.close()
    assert (status, face.came) == (403, [])


def test_where_the_forge_is_off_neither_address_leads_anywhere(open_stage: Open) -> None:
    stage = open_stage()
    assert plain(stage, "GET", f"{API}/user")[0] == 403
    assert stage.client().call("/forge/api/v3/user").status == 404


def ask_all(calls: list[Callable[[], object]]) -> list[threading.Thread]:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    return threads


def test_an_agent_that_floods_has_few_requests_at_work_and_others_get_through(stage: Stage, face: Face) -> None:
    statuses: list[int] = []
    flood = ask_all(
        [lambda: statuses.append(plain(stage, "GET", f"{API}/held")[0]) for _ in range(FOR_ONE + WAITING + 10)]
    )
    for _ in range(FOR_ONE):
        assert face.held.acquire(timeout=60)
    other = stage.client(stage.holder("13"))
    with closing(SocketConnection(stage.config.socket)) as connection:
        connection.request("GET", f"{API}/user", headers={"proxy-authorization": f"Bearer {other.key}"})
        with connection.getresponse() as answer:
            assert answer.status == 200
    wait_until(lambda: len(statuses) == 10)
    face.let_go.set()
    for thread in flood:
        thread.join(60)
    assert face.most_at_work == FOR_ONE < AT_ONCE
    assert (statuses.count(429), set(statuses)) == (10, {200, 429})
