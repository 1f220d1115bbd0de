"""What the tests of real agents stand on."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from real_agents import agents_folder, is_installed
from real_lab import REAL_KEY, RUN, Lab
from scripted_model import ScriptedModel, scripted_model

from luminaguard.gateway.base import Budget, GatewayConfig, Provider
from luminaguard.gateway.ledger import SqliteLedger
from luminaguard.gateway.process import gateway, socket_path_for
from luminaguard.sandboxes.namespace import Namespace
from luminaguard.sandboxes.toolchain import toolchain_of


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of real agents: they have a target of their own, `make test-agents`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("agents")


@pytest.fixture(scope="session")
def programs() -> Path:
    """The folder of the installed agents."""
    if not is_installed():
        why = "the agents of tests/agents/real/package.json are not installed: make agents"
        (pytest.fail if os.environ.get("LUMINAGUARD_REQUIRE_AGENTS") else pytest.skip)(why)
    return agents_folder()


@pytest.fixture(scope="session")
def model() -> Iterator[ScriptedModel]:
    with scripted_model() as running:
        yield running


@pytest.fixture
def lab(tmp_path: Path, programs: Path, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    path = os.pathsep.join((str(programs / "bin"), os.environ["PATH"]))
    monkeypatch.setenv("PATH", path)
    sandbox = Namespace(tmp_path / "state", toolchain=toolchain_of({**os.environ, "PATH": path}))
    if (why := sandbox.missing()) is not None:
        pytest.skip(f"no namespace: {why}")
    config = GatewayConfig(
        socket=socket_path_for(tmp_path),
        ledger=tmp_path / "ledger.db",
        providers=(
            Provider(name="anthropic", api="anthropic", base_url=model.url, key=REAL_KEY),
            Provider(name="openai", api="openai", base_url=model.url, key=REAL_KEY),
        ),
    )
    model.asked.clear()
    with ExitStack() as stack:
        portal: Any = stack.enter_context(start_blocking_portal())
        stack.enter_context(portal.wrap_async_context_manager(gateway(config)))
        ledger = SqliteLedger(config.ledger)
        ledger.allow(RUN, Budget())
        yield Lab(folder=tmp_path, model=model, ledger=ledger, socket=config.socket, sandbox=sandbox)
