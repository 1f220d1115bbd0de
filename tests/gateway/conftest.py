"""A gateway that runs, a provider behind it, a client before it."""

import http.client
import json
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from tests.gateway.upstream import Reply, Upstream
from tests.gateway.upstream import upstream as provider_for_tests

from luminaguard.gateway.base import Api, GatewayConfig, Pass, Provider, Role
from luminaguard.gateway.ledger import SqliteLedger
from luminaguard.gateway.process import Running, gateway, socket_path_for
from luminaguard.model.ids import IssueId, RunId

REAL = "sk-real-0123456789-abcdefghij-ABCDEFGHIJ"


class SocketConnection(http.client.HTTPConnection):
    """HTTP to a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("gateway", timeout=90)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(90)
        self.sock.connect(str(self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Calls as an agent would make them."""

    socket: Path
    key: str

    def connection(self) -> SocketConnection:
        return SocketConnection(self.socket)

    @contextmanager
    def asked(
        self, path: str, said: object = None, *, headers: dict[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """Call, and read the answer as it comes; the connection ends with the block."""
        body = None if said is None else said if isinstance(said, bytes) else json.dumps(said).encode()
        given = {"authorization": f"Bearer {self.key}", "content-type": "application/json", **(headers or {})}
        with closing(self.connection()) as connection:
            connection.request("GET" if body is None else "POST", path, body=body, headers=given)
            with connection.getresponse() as answer:
                yield answer

    def call(self, path: str, said: object = None, *, headers: dict[str, str] | None = None) -> Answered:
        with self.asked(path, said, headers=headers) as answer:
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answered(status=answer.status, headers=found, body=answer.read())


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """All of it. `run` is a run of the test's own, `worker` an attempt in it."""

    upstream: Upstream
    ledger: SqliteLedger
    config: GatewayConfig
    portal: BlockingPortal
    running: Running
    run: RunId

    @property
    def worker(self) -> Pass:
        return self.holder("12")

    def holder(self, issue: str, attempt: int = 1, role: Role = "work") -> Pass:
        return Pass(run=self.run, issue=IssueId(issue), attempt=attempt, role=role)

    def client(self, holder: Pass | None = None) -> Client:
        return Client(socket=self.config.socket, key=self.ledger.key_for(holder or self.worker))

    def spent(self, holder: Pass | None = None) -> tuple[int, int, int, float]:
        found = self.ledger.spent(self.run)[holder or self.worker]
        return found.calls, found.input_tokens, found.output_tokens, round(found.usd, 9)

    def kill(self) -> None:
        """Kill the gateway, and wait until it was started again."""
        before, pid = self.running.restarts, self.running.pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.running.restarts > before and self.running.pid != pid)


def new_run() -> RunId:
    return RunId(f"20261122-000000-{secrets.token_hex(4)}")


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for what another process will have written."""
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def providers_at(url: str) -> tuple[Provider, ...]:
    """One provider of each API, with one key."""
    apis: tuple[Api, ...] = ("anthropic", "openai", "gemini")
    return tuple(Provider(name=api, api=api, base_url=url, key=REAL) for api in apis)


@contextmanager
def opened(folder: Path, upstream: Upstream, **changes: Any) -> Iterator[Stage]:
    """Hold a gateway of its own."""
    config = GatewayConfig(
        socket=socket_path_for(folder),
        ledger=folder / "gateway" / "ledger.db",
        providers=providers_at(upstream.url),
    )
    config = replace(config, **changes)
    with start_blocking_portal() as portal, SqliteLedger(config.ledger) as ledger:
        context: AbstractContextManager[Running] = portal.wrap_async_context_manager(gateway(config))
        with context as running:
            yield Stage(upstream=upstream, ledger=ledger, config=config, portal=portal, running=running, run=new_run())
    # socket_path_for makes a folder for each state: those of tests are not to pile up.
    config.socket.unlink(missing_ok=True)
    config.socket.parent.rmdir()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with provider_for_tests() as upstream, opened(tmp_path_factory.mktemp("state"), upstream) as stage:
        yield stage


@pytest.fixture
def stage(shared: Stage) -> Stage:
    """A gateway that other tests use too: what is changed in it for good wants `open_stage`."""
    shared.upstream.script = lambda asked: Reply()
    shared.upstream.asked.clear()
    shared.upstream.arrived = threading.Semaphore(0)
    return replace(shared, run=new_run())


@pytest.fixture
def provider() -> Iterator[Upstream]:
    with provider_for_tests() as made:
        yield made


Open = Callable[..., Stage]


@pytest.fixture
def open_stage(provider: Upstream, tmp_path: Path) -> Iterator[Open]:
    with ExitStack() as stack:
        yield lambda **changes: stack.enter_context(opened(tmp_path / "state", provider, **changes))
