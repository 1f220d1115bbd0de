"""Our side of the Agent Client Protocol, against an agent that plays a script: real processes, real pipes."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import scripted_acp_agent
from playing import Started, start
from scripted_gateway import ScriptedGateway, scripted_gateway
from tests.alive import is_alive

from luminaguard.agents.access import ModelAccess
from luminaguard.agents.acp import AcpAgent

ARGV = (sys.executable, scripted_acp_agent.__file__)
PATIENT = """
import sys
from luminaguard.agents.inside import acp_client
acp_client.CANCEL_S = 60
sys.exit(acp_client.main())
"""
"""Our side, with all the time that an agent on a busy machine may take to hear that its turn is cancelled."""
Ask = Literal["deny", "ask", "allow"]
Answer = Literal[True, False] | None
How = Literal[True, "deaf"]


@pytest.fixture
def gateway() -> Iterator[ScriptedGateway]:
    with scripted_gateway("http://127.0.0.1:9") as running:
        yield running


def agent(**keys: Any) -> AcpAgent:
    return AcpAgent(name="mine", **{"argv": ARGV, "ask": "deny", **keys})


def play(gateway: ScriptedGateway, folder: Path, *acts: dict[str, Any], **keys: Any) -> tuple[int, str, Path]:
    is_review = keys.pop("is_review", False)
    argv = keys.pop("by", ())
    started = start(agent(**keys), folder, json.dumps(acts), gateway=gateway.url, is_review=is_review, argv=argv)
    code, out = started.end()
    return code, out, started.tree


def test_agents_words_are_printed_as_they_are_and_tools_as_lines(gateway: ScriptedGateway, tmp_path: Path) -> None:
    edit = {"kind": "edit", "status": "completed", "content": [_diff(tmp_path, "a.py", "old\n", "new\nmore\n")]}
    code, out, _ = play(
        gateway,
        tmp_path,
        {"say": "I wi"},
        {"say": "ll."},
        {"tool": {"kind": "execute", "status": "in_progress", "rawInput": {"command": "make test"}}},
        {"tool": {"toolCallId": "t2", **edit}},
        {"say": '{"grade": "A"}'},
    )
    assert (code, out) == (0, 'I will.\n$ make test\nedit a.py (+2 -1)\n{"grade": "A"}\n')


def _diff(folder: Path, path: str, old: str, new: str) -> dict[str, Any]:
    return {"type": "diff", "path": str(folder / "tree" / path), "oldText": old, "newText": new}


@pytest.mark.parametrize(
    ("kind", "path", "ask", "outcome"),
    [
        ("read", "/etc/passwd", "deny", "once"),
        ("edit", "src/a.py", "deny", "once"),
        ("edit", "../a.py", "deny", "no"),
        ("edit", ".git/hooks/pre-commit", "deny", "no"),
        ("edit", "link/a.py", "deny", "no"),
        ("execute", None, "deny", "no"),
        ("execute", None, "allow", "once"),
        ("fetch", None, "deny", "no"),
        (None, None, "deny", "no"),
    ],
)
def test_leave_is_given_by_the_policy(
    gateway: ScriptedGateway, tmp_path: Path, kind: str | None, path: str | None, ask: Ask, outcome: str
) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/link").symlink_to(tmp_path)
    call: dict[str, Any] = {"toolCallId": "t", "title": "it", **({"kind": kind} if kind else {})}
    if path:
        call["locations"] = [{"path": str(tmp_path / "tree" / path) if not path.startswith("/") else path}]
    _, out, _ = play(gateway, tmp_path, {"ask": call}, ask=ask)
    assert f"outcome {outcome}" in out
    assert gateway.asked == []


@pytest.mark.parametrize(("answer", "outcome"), [(True, "once"), (False, "no"), (None, "no")])
def test_person_answers_what_the_policy_does_not(
    gateway: ScriptedGateway, tmp_path: Path, answer: Answer, outcome: str
) -> None:
    gateway.answer = answer
    call = {"toolCallId": "t", "title": "it", "kind": "execute", "rawInput": {"command": ["bash", "-c", "make test"]}}
    _, out, _ = play(gateway, tmp_path, {"ask": call}, {"ask": call}, ask="ask", ask_s=0.1)
    assert gateway.asked == ["run: make test"]
    assert out.count(f"outcome {outcome}") == 2
    assert "asks: run: make test" in out


def test_reviewer_may_read_and_nothing_else(gateway: ScriptedGateway, tmp_path: Path) -> None:
    calls = [
        {"ask": {"toolCallId": kind, "title": "it", "kind": kind, "locations": [{"path": str(tmp_path / "tree/a")}]}}
        for kind in ("read", "edit", "execute")
    ]
    _, out, tree = play(gateway, tmp_path, *calls, ask="allow", is_review=True)
    assert [line for line in out.splitlines() if line.startswith("outcome")] == [
        "outcome once",
        "outcome no",
        "outcome no",
    ]
    assert (tree / "SET").read_text() == "plan=\n"


def test_files_are_served_within_the_workspace_alone(gateway: ScriptedGateway, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    secret = tmp_path / "secret"
    secret.write_text("hush")

    def call(method: str, path: Path, **more: Any) -> dict[str, Any]:
        return {"call": f"fs/{method}_text_file", "params": {"path": str(path), **more}}

    _, out, _ = play(
        gateway,
        tmp_path,
        call("write", tree / "deep/a.txt", content="one\ntwo\nthree\n"),
        call("read", tree / "deep/a.txt", line=2, limit=1),
        call("read", secret),
        call("read", tree / "not-there"),
        call("write", tmp_path / "gone", content="x"),
        call("write", tree / ".git/config", content="x"),
        {"call": "terminal/create", "params": {"command": "id"}},
    )
    answers = [json.loads(line) for line in out.splitlines()]
    assert answers[1] == {"content": "two\n"}
    assert ["code" in answer for answer in answers] == [False, False, *[True] * 5]
    assert answers[3]["code"] == -32002  # not found: an agent then makes it
    assert "hush" not in out
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize(
    ("acts", "why"),
    [
        ([{"stop": "refusal"}], "ended: the model refused"),
        ([{"stop": "max_tokens"}], "ended: the model's answer grew too long"),
        ([{"stop": "max_turn_requests"}], "ended: it has used all its turns"),
        ([{"error": "403 usd_per_issue: 5.02 of 5.00 USD spent"}], "ended: the gateway refused the call: 403 usd_per"),
        ([{"say": "API Error: 401 no"}], "ended: the key was not accepted: API Error: 401 no"),
        ([{"stderr": 10}, {"die": 3}], "ended: it ended in the middle of its turn (exit code 3): xxxxxxxxxx"),
    ],
)
def test_what_ends_it_is_the_last_line(
    gateway: ScriptedGateway, tmp_path: Path, acts: list[dict[str, Any]], why: str
) -> None:
    code, out, _ = play(gateway, tmp_path, *acts)
    assert code == 1
    assert out.splitlines()[-1].startswith(why)


def test_failed_call_after_work_is_told_though_the_turn_ended(gateway: ScriptedGateway, tmp_path: Path) -> None:
    tool = {"tool": {"kind": "execute", "status": "completed", "rawInput": {"command": "ls"}}}
    said = "unexpected status 403 Forbidden: the budget is spent: usd_per_issue: 5 of 5 USD"
    code, out, _ = play(gateway, tmp_path, {"say": "Well."}, tool, {"say": said})
    assert (code, out.splitlines()[-1]) == (1, f"ended: the gateway refused the call: {said}")


def test_error_words_of_an_agent_that_worked_are_no_failure(gateway: ScriptedGateway, tmp_path: Path) -> None:
    tool = {"tool": {"kind": "execute", "status": "completed", "rawInput": {"command": "curl"}}}
    code, _, _ = play(gateway, tmp_path, tool, {"say": "It now answers with error 404."})
    assert code == 0


def test_program_that_is_not_there_is_told(gateway: ScriptedGateway, tmp_path: Path) -> None:
    code, out, _ = play(gateway, tmp_path, argv=("/no/such/agent",))
    assert (code, out) == (1, "ended: '/no/such/agent' cannot be started: No such file or directory\n")


def test_much_on_standard_error_stops_nobody(gateway: ScriptedGateway, tmp_path: Path) -> None:
    code, out, _ = play(gateway, tmp_path, {"stderr": 1_000_000}, {"say": "still here"})
    assert (code, out) == (0, "still here\n")


def test_long_line_is_read(gateway: ScriptedGateway, tmp_path: Path) -> None:
    code, out, _ = play(gateway, tmp_path, {"say": "y" * 1_000_000})
    assert (code, out) == (0, "y" * 1_000_000 + "\n")


def test_endless_work_is_cancelled_after_its_turns(gateway: ScriptedGateway, tmp_path: Path) -> None:
    tools = [{"tool": {"toolCallId": f"t{number}", "kind": "read"}} for number in range(4)]
    code, out, tree = play(gateway, tmp_path, *tools, {"hang": True}, turns=3, by=(sys.executable, "-c", PATIENT))
    assert (code, out.splitlines()[-1]) == (1, "ended: it has used all its turns (3)")
    assert (tree / "CANCELLED").exists()


@pytest.mark.parametrize("how", [True, "deaf"])
def test_stop_is_said_first_and_then_made(gateway: ScriptedGateway, tmp_path: Path, how: How) -> None:
    acts = json.dumps([{"spawn": True}, {"hang": how}])
    by = (sys.executable, "-c", PATIENT) if how is True else ()
    started = start(agent(), tmp_path, acts, gateway=gateway.url, argv=by)
    sleeper = _sleeping(started)
    started.child.send_signal(signal.SIGTERM)
    code, out = started.end()
    assert (code, out.splitlines()[-1]) == (1, "ended: it was asked to stop")
    assert (started.tree / "CANCELLED").exists() is (how is True)
    assert not is_alive(sleeper)


def _sleeping(started: Started) -> int:
    said = started.tree / "SLEEPING"
    while not (said.exists() and said.read_text().strip()):
        assert started.child.poll() is None
        time.sleep(0.01)
    pid = int(said.read_text())
    os.kill(pid, 0)
    return pid


def test_words_of_a_person_are_the_next_turn_of_the_same_session(gateway: ScriptedGateway, tmp_path: Path) -> None:
    gateway.words = ["use tabs"]
    started = start(agent(), tmp_path, "begin", gateway=gateway.url)
    code, out = started.end()
    lines = out.splitlines()
    assert code == 0
    assert [line.partition(" in s")[0] for line in lines] == ["heard", "a person says: use tabs", "heard"]
    assert lines[0].split(":")[0] == lines[2].split(":")[0]
    assert gateway.heard == 1


def test_session_is_gone_on_with_in_the_next_attempt(gateway: ScriptedGateway, tmp_path: Path) -> None:
    first, second, reviewer = (
        start(agent(resume=True), tmp_path, "hello", gateway=gateway.url, is_review=is_review).end()[1]
        for is_review in (False, False, True)
    )
    assert first == second
    assert reviewer != first


def test_session_that_is_gone_is_begun_anew(gateway: ScriptedGateway, tmp_path: Path) -> None:
    start(agent(resume=True), tmp_path, "hello", gateway=gateway.url).end()
    (tmp_path / "home/sessions.json").unlink()
    code, out = start(agent(resume=True), tmp_path, "hello", gateway=gateway.url).end()
    assert code == 0
    assert "a new one begins" in out.splitlines()[0]


def test_model_and_mode_are_chosen_among_those_offered(gateway: ScriptedGateway, tmp_path: Path) -> None:
    models = ModelAccess(provider="p", api="openai", model="two")
    code, _, tree = play(gateway, tmp_path, {"say": "x"}, models=models, mode="free")
    assert (code, (tree / "SET").read_text()) == (0, "model=prov/two\nfree=\n")


def test_mode_that_is_not_offered_is_told_with_those_that_are(gateway: ScriptedGateway, tmp_path: Path) -> None:
    code, out, _ = play(gateway, tmp_path, {"say": "x"}, mode="godly")
    assert (code, out) == (1, "ended: the agent offers no mode 'godly'; it offers default, free, plan\n")
