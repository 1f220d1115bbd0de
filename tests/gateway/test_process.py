"""The life of the gateway's process: killed, replaced, left behind, ended."""

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from tests.alive import is_alive
from tests.gateway.conftest import Client, Open, Stage, new_run, providers_at, wait_until
from tests.gateway.upstream import Reply, Upstream, messages_events, stream

from luminaguard.gateway.base import Budget, GatewayConfig, Pass
from luminaguard.gateway.configuration import from_json, to_json
from luminaguard.gateway.ledger import SqliteLedger
from luminaguard.gateway.process import gateway, socket_path_for
from luminaguard.model.faults import HostFault, UserFault
from luminaguard.model.ids import IssueId

ASK = {"model": "claude-opus-5-5", "stream": True, "messages": ["x" * 4000]}


def test_a_gateway_killed_in_mid_call_is_started_again_and_the_call_is_counted(open_stage: Open) -> None:
    stage = open_stage()
    held = threading.Event()
    events = messages_events(words=["a" * 4000, "b"])
    stage.upstream.script = lambda asked: stream(*events[:4], held=held)
    with stage.client().asked("/anthropic/v1/messages", ASK) as answer:
        answer.read(len(b"".join(events[:2])))
        assert stage.spent()[0] == 1
        wait_until(lambda: stage.spent()[1:3] == (1300, 1001))  # what passed is written every second
        stage.kill()
        held.set()
    assert stage.spent()[:3] == (1, 1300, 1001)
    assert "estimate" in stage.ledger.notes(stage.run)[0]
    stage.upstream.script = lambda asked: stream(*events)
    assert stage.client().call("/anthropic/v1/messages", ASK).status == 200
    assert stage.spent()[:3] == (2, 2600, 1021)


def test_kills_at_any_moment_lose_no_call_that_was_answered(open_stage: Open) -> None:
    stage = open_stage()
    events = messages_events()
    stage.upstream.script = lambda asked: stream(*events, pause_s=0.002)
    whole = b"".join(events)
    answered: list[int] = []
    killed = threading.Event()

    def work(number: int) -> None:
        client = stage.client(stage.holder(str(number)))
        while not (killed.is_set() and answered.count(number) >= 5):
            try:
                if client.call("/anthropic/v1/messages", ASK).body == whole:
                    answered.append(number)
            except (OSError, http.client.HTTPException):  # nobody there, or an answer that was cut
                killed.wait(0.01)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for count in range(3):
        wait_until(lambda count=count: len(answered) > 4 * count)  # type: ignore[misc]
        stage.kill()
    killed.set()
    for thread in threads:
        thread.join()
    spent = stage.ledger.spent(stage.run)
    for number in range(4):
        found = spent[stage.holder(str(number))]
        assert found.calls >= answered.count(number)
        assert found.output_tokens >= 20 * answered.count(number)
    assert stage.running.restarts == 3


def test_words_answers_and_budgets_survive_a_kill(open_stage: Open) -> None:
    stage = open_stage()
    stage.ledger.allow(stage.run, Budget(usd_per_issue=0.0))
    stage.ledger.say(stage.run, stage.worker.issue, number=1, text="go on")
    stage.kill()
    assert stage.client().call("/anthropic/v1/messages", ASK).status == 403
    assert stage.client().call("/luminaguard/words?after=0").json == {"words": [{"number": 1, "text": "go on"}]}


def config_in(folder: Path) -> GatewayConfig:
    return GatewayConfig(socket=socket_path_for(folder), ledger=folder / "gateway" / "ledger.db", providers=())


def test_at_the_end_of_the_block_the_process_is_gone_and_its_socket_too(tmp_path: Path) -> None:
    async def go() -> int:
        async with gateway(config_in(tmp_path)) as running:
            return running.pid

    pid = anyio.run(go)
    assert not is_alive(pid)
    assert not config_in(tmp_path).socket.exists()
    config_in(tmp_path).socket.parent.rmdir()


def test_an_error_in_the_block_comes_out_as_it_is_and_leaves_the_gateway_to_the_agents(tmp_path: Path) -> None:
    pids = []

    async def go() -> None:
        async with gateway(config_in(tmp_path)) as running:
            pids.append(running.pid)
            raise UserFault("of the block")

    with pytest.raises(UserFault, match="of the block"):
        anyio.run(go)
    assert is_alive(pids[0])
    assert config_in(tmp_path).socket.exists()

    async def again() -> None:
        async with gateway(config_in(tmp_path)):
            pass

    anyio.run(again)  # replaces what was left, and ends it
    wait_until(lambda: not is_alive(pids[0]))
    os.waitpid(pids[0], 0)
    config_in(tmp_path).socket.parent.rmdir()


def started(config: GatewayConfig, *flags: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        (sys.executable, "-I", "-m", "luminaguard.gateway.serve", *flags),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(to_json(config))
    process.stdin.flush()
    assert process.stdout.readline() == b"ready\n"
    return process


def closed(process: subprocess.Popen[bytes]) -> int:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    return process.wait(60)


def test_the_next_session_takes_over_and_calls_under_way_are_finished(
    open_stage: Open, provider: Upstream, tmp_path: Path
) -> None:
    held = threading.Event()
    events = messages_events()
    provider.script = lambda asked: stream(*events, held=held)
    left = started(replace(config_in(tmp_path / "state"), providers=providers_at(provider.url)))
    holder = Pass(run=new_run(), issue=IssueId("1"), attempt=1)
    with SqliteLedger(config_in(tmp_path / "state").ledger) as ledger:
        client = Client(socket=config_in(tmp_path / "state").socket, key=ledger.key_for(holder))
        with client.asked("/anthropic/v1/messages", ASK) as answer:
            begun = answer.read(10)
            stage = open_stage()
            assert stage.running.pid != left.pid
            assert client.call("/luminaguard/words").status == 200
            held.set()
            assert begun + answer.read() == b"".join(events)
        assert ledger.spent(holder.run)[holder].output_tokens == 20
        assert ledger.notes(holder.run) == []
    assert closed(left) == 0


def test_a_gateway_that_nobody_holds_ends_when_nobody_has_called(tmp_path: Path) -> None:
    process = started(config_in(tmp_path), "--idle-s", "0.3")
    assert closed(process) == 0


def test_a_gateway_that_is_held_does_not_end_for_want_of_calls(tmp_path: Path) -> None:
    process = started(config_in(tmp_path), "--idle-s", "0.01")
    with SqliteLedger(config_in(tmp_path).ledger) as ledger:
        client = Client(socket=config_in(tmp_path).socket, key="lg-nobody")
        for _ in range(20):
            assert client.call("/luminaguard/words").status == 401
        assert ledger.spent(new_run()) == {}
    process.send_signal(signal.SIGTERM)
    assert closed(process) == 0


def test_told_to_end_it_finishes_calls_and_told_twice_it_cuts_them(open_stage: Open) -> None:
    stage = open_stage()
    held = threading.Event()
    stage.upstream.script = lambda asked: Reply(held=held)
    with closing(stage.client().connection()) as connection:
        connection.request(
            "POST", "/anthropic/v1/messages", body=json.dumps(ASK), headers={"x-api-key": stage.client().key}
        )
        stage.upstream.wait()
        pid = stage.running.pid
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not stage.config.socket.exists() or stage.running.restarts > 0)
        assert is_alive(pid)
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: stage.running.restarts == 1)
    held.set()
    assert stage.spent()[0] == 1


def test_a_gateway_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "ledger.db").write_text("no database" * 1000)

    async def go() -> None:
        async with gateway(config_in(tmp_path)):
            pass

    with pytest.raises(HostFault, match=r"ledger\.db cannot be used"):
        anyio.run(go)
    config_in(tmp_path).socket.parent.rmdir()


def test_the_path_of_the_socket_is_short_private_and_the_folders_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("deep" * 30) / "state"
    paths = [socket_path_for(deep), socket_path_for(tmp_path), socket_path_for(deep)]
    assert paths[0] == paths[2] != paths[1]
    assert all(len(os.fsencode(path)) < 90 for path in paths)
    assert stat.S_IMODE(paths[0].parent.stat().st_mode) == 0o700
    with closing(socket.socket(socket.AF_UNIX)) as made:
        made.bind(str(paths[0]))
    paths[0].unlink()
    for path in paths[:2]:
        path.parent.rmdir()
    (tmp_path / "own").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "own"))
    assert socket_path_for(deep).is_relative_to(tmp_path / "own" / "luminaguard")


def test_a_folder_that_others_may_write_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "luminaguard").mkdir(mode=0o777)
    (tmp_path / "luminaguard").chmod(0o777)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(HostFault, match="not yours alone"):
        socket_path_for(tmp_path / "state")


def test_the_configuration_comes_over_whole(stage: Stage) -> None:
    assert from_json(to_json(stage.config)) == stage.config
