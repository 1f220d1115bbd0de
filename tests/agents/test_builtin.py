"""The built-in agent, as a real process against the scripted model, over both of its wires."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playing import Started, start
from scripted_gateway import ScriptedGateway, scripted_gateway
from scripted_model import ScriptedModel, scripted_model
from tests.alive import is_alive

from luminaguard.agents.access import Api, ModelAccess
from luminaguard.agents.builtin import BuiltinAgent
from luminaguard.agents.inside.builtin_tools import _Kept
from luminaguard.gates.review import parse_answer

both_wires = pytest.mark.parametrize("api", ["openai", "anthropic"])


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with scripted_model() as running:
        yield running


@pytest.fixture
def gateway(model: ScriptedModel) -> Iterator[ScriptedGateway]:
    with scripted_gateway(model.url) as running:
        yield running


def agent(api: Api = "openai", *, turns: int = 20) -> BuiltinAgent:
    return BuiltinAgent(name="own", models=ModelAccess(provider="prov", api=api, model="scripted-1"), turns=turns)


def play(
    gateway: ScriptedGateway, folder: Path, prompt: str, *, api: Api = "openai", turns: int = 20
) -> tuple[int, str, Path]:
    started = start(agent(api, turns=turns), folder, prompt, gateway=gateway.url)
    code, out = started.end()
    return code, out, started.tree


@both_wires
def test_it_makes_the_change_and_tells_tool_by_tool(gateway: ScriptedGateway, tmp_path: Path, api: Api) -> None:
    code, out, tree = play(gateway, tmp_path, "Do it. [[s:submit notes/a.txt=one\\ntwo\\n]]", api=api)
    assert code == 0
    assert (tree / "notes/a.txt").read_text() == "one\ntwo\n"
    assert out.splitlines()[:3] == [
        "write notes/a.txt",
        "$ git add -A && git commit -q -m 'Make the change' && git log --oneline -1",
        "Done: the change is committed.",
    ]
    assert out.splitlines()[-1].startswith("usage: ")


@both_wires
def test_calls_carry_the_dummy_key_and_go_to_the_provider(model: ScriptedModel, tmp_path: Path, api: Api) -> None:
    started = start(agent(api), tmp_path, "[[s:say hello]]", gateway=model.url)
    started.end()
    assert [(it.key, it.path.startswith("/prov/v1/")) for it in model.asked] == [("lg-dummy", True)]


@both_wires
@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("refusal", "ended: the model refused: I can't help with that."),
        ("err403", "ended: the gateway refused the call: 403 scripted error 403"),
        ("err429", "ended: rate-limited: 429 scripted error 429"),
        ("err401", "ended: the key was not accepted: 401 scripted error 401"),
    ],
)
def test_what_ends_it_is_the_last_line(
    gateway: ScriptedGateway, tmp_path: Path, api: Api, script: str, why: str
) -> None:
    code, out, _ = play(gateway, tmp_path, f"[[s:{script}]]", api=api)
    assert (code, out.splitlines()[-1]) == (1, why)


def test_refused_call_is_made_once(gateway: ScriptedGateway, tmp_path: Path) -> None:
    play(gateway, tmp_path, "[[s:err403]]")
    assert len(gateway.calls) == 1


def test_what_the_other_side_is_to_blame_for_is_tried_again(gateway: ScriptedGateway, tmp_path: Path) -> None:
    gateway.first_answers = [(503, b"{}")]
    code, out, _ = play(gateway, tmp_path, "[[s:say at last]]")
    assert (code, "at last" in out, "note: the model call failed (503); again in 1 s" in out) == (0, True, True)


def test_endless_work_ends_with_its_turns(gateway: ScriptedGateway, tmp_path: Path) -> None:
    code, out, _ = play(gateway, tmp_path, "[[s:loop]]", turns=3)
    assert (code, out.splitlines()[-1], len(gateway.calls)) == (1, "ended: it has used all its turns (3)", 3)


@both_wires
def test_words_of_a_person_are_heard_before_the_next_call(gateway: ScriptedGateway, tmp_path: Path, api: Api) -> None:
    gateway.words, gateway.words_after = ["[[s:edit said.txt=heard\\n]]"], 1
    code, out, tree = play(gateway, tmp_path, "[[s:edit a.txt=x\\n]]", api=api)
    assert (code, (tree / "said.txt").read_text(), (tree / "a.txt").read_text()) == (0, "heard\n", "x\n")
    assert "a person says: [[s:edit said.txt=heard\\n]]" in out
    assert gateway.heard == 1


def test_words_after_the_last_turn_make_another(gateway: ScriptedGateway, tmp_path: Path) -> None:
    gateway.words, gateway.words_after = ["[[s:edit said.txt=heard\\n]]"], 1
    code, _, tree = play(gateway, tmp_path, "[[s:say done]]")
    assert (code, (tree / "said.txt").read_text()) == (0, "heard\n")


def test_reviewer_has_no_tool_that_changes_anything(gateway: ScriptedGateway, tmp_path: Path) -> None:
    asked = 'Review. [[r:review-blocking]] Answer {"grade": "", "findings": []}'
    started = start(agent(), tmp_path, asked, gateway=gateway.url, is_review=True)
    code, out = started.end()
    names = {tool["function"]["name"] for tool in gateway.calls[0]["tools"]}
    answer = parse_answer(out)
    assert (code, names) == (0, {"read", "list", "search"})
    assert answer is not None
    assert [finding.file for finding in answer.findings] == ["MENDED.txt"]


def test_big_output_reaches_the_model_shortened(model: ScriptedModel, tmp_path: Path) -> None:
    start(agent(), tmp_path, "[[s:big]]", gateway=model.url).end()
    result = model.asked[-1].last_result
    assert len(result) < 40_000
    assert result.startswith("1\n2\n")
    assert "100000\n\n[exit code 0]" in result


def test_what_a_command_said_last_is_heard_also_where_its_reader_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Kept, "_drain", lambda self: None)  # as where its thread has not had its turn
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as stream, open(writing, "wb", buffering=0) as command:  # noqa: PTH123
        kept = _Kept(stream)
        command.write(b"last words")
        assert kept.text() == "last words"


def test_full_context_is_shortened_and_tried_again(gateway: ScriptedGateway, tmp_path: Path) -> None:
    full = json.dumps({"error": {"message": "prompt is too long: 300000 tokens"}}).encode()
    gateway.first_answers = [(400, full)]
    code, out, _ = play(gateway, tmp_path, "[[s:say fits]]")
    assert (code, "fits" in out) == (0, True)


def test_it_ends_when_it_is_asked_to_and_leaves_nothing(gateway: ScriptedGateway, tmp_path: Path) -> None:
    started = start(agent(), tmp_path, "[[s:sleep 600]]", gateway=gateway.url)
    sleeper = _sleeping(started)
    started.child.send_signal(signal.SIGTERM)
    code, out = started.end()
    assert (code, out.splitlines()[-1]) == (1, "ended: it was asked to stop")
    assert not is_alive(sleeper)


def _sleeping(started: Started) -> int:
    """Wait for what the script says when it sleeps."""
    said = started.tree / "SLEEPING"
    while not (said.exists() and said.read_text().strip()):
        assert started.child.poll() is None
        time.sleep(0.01)
    pid = int(said.read_text())
    os.kill(pid, 0)
    return pid


def test_task_is_out_of_the_environment_of_its_tools(model: ScriptedModel, tmp_path: Path) -> None:
    start(agent(), tmp_path, "[[s:shell env]]", gateway=model.url).end()
    assert "LUMINAGUARD_AGENT" not in model.asked[-1].last_result
