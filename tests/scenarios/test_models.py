"""Whole runs with an agent that calls a model: through the gateway, with a dummy key, within a budget."""

import contextlib
import json
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator

import pytest
from real_agents import agents_folder, is_installed
from scripted_model import ScriptedModel, scripted_model
from stage import Stage, skip_or_fail

from luminaguard.gateway.process import socket_path_for

KEY = "sk-real-0f3b9a7c5d1e-never-inside"
BUILTIN = 'protocol = "builtin"\nprovider = "lab"\nmodel = "scripted-1"\n'
REAL = {
    "codex": 'protocol = "codex"\nprovider = "lab"\nmodel = "scripted-1"\n',
    "codex-acp": 'protocol = "acp"\nargv = ["codex-acp"]\nprovider = "lab"\nmodel = "scripted-1"\nask = "allow"\n',
    "opencode": 'protocol = "acp"\nargv = ["opencode", "acp"]\nprovider = "lab"\nmodel = "scripted-1"\nask = "allow"\n',
    "claude": 'protocol = "claude"\nprovider = "ant"\n',
}


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedModel]:
    with scripted_model() as running:
        yield running


Play = Callable[..., Stage]


@pytest.fixture
def play(walled: Stage, model: ScriptedModel) -> Play:
    """Make the repository of a run whose agent is `agent`; the issues' texts say what its model does."""

    model.asked.clear()
    model.let_go.clear()

    def make(*issues: str, agent: str = BUILTIN, checks: str = '["true"]', more: str = "") -> Stage:
        walled.env["LAB_KEY"] = KEY
        walled.commit("Set up", {"luminaguard.toml": settings(model.url, agent=agent, checks=checks, more=more)})
        for number, body in enumerate(issues, start=1):
            walled.issue(str(number), f"Issue {number}", body)
        return walled

    return make


def settings(url: str, *, agent: str, checks: str, more: str) -> str:
    return f"""\
[run]
isolation = "namespace"
agent = "tested"

[agents.tested]
{agent}
[providers.lab]
api = "openai"
base_url = "{url}"
key_env = "LAB_KEY"

[providers.ant]
api = "anthropic"
base_url = "{url}"
key_env = "LAB_KEY"

[prices."scripted-1"]
input = 1000.0
output = 1000.0

[checks]
run = {checks}

{more}
"""


def submit(path: str) -> str:
    return f"Please. [[s:submit {path}=made\\n]] [[tokens:100/20]]"


def must_hold_no_key(stage: Stage) -> None:
    """The real key is nowhere in what a run leaves behind, byte by byte."""
    for path in [*stage.state.rglob("*"), *socket_path_for(stage.state).parent.iterdir()]:
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
    assert KEY not in stage.say("report").stdout


def test_three_issues_land_and_what_they_cost_is_told(play: Play) -> None:
    stage = play(submit("1.txt"), submit("2.txt"), submit("3.txt") + " Depends on #1.")
    assert stage.run().returncode == 0
    stage.must_be_whole(landed=["1", "2", "3"])
    assert stage.show("3.txt") == "made"
    for issue in stage.issues_told().values():
        cost = issue["cost"]
        assert isinstance(cost, dict)
        # Three calls each, of 100 tokens in and 20 out, at a tenth of a cent a token.
        assert (cost["input_tokens"], cost["output_tokens"]) == (300, 60)
        assert cost["usd"] == pytest.approx(0.36)
    must_hold_no_key(stage)


def test_words_alone_are_no_work_and_the_reason_is_told(play: Play) -> None:
    stage = play("Please. [[s:say All done!]]", more="")
    assert stage.run("--attempts", "2").returncode == 1
    told = stage.issues_told()["1"]
    assert told["state"] == "failed"
    assert "nothing changed" in str(told["why"])
    assert "All done!" in stage.say("logs", "1").stdout


def test_a_refusal_ends_with_the_models_own_words(play: Play) -> None:
    stage = play("Please. [[s:refusal]]")
    assert stage.run("--attempts", "1").returncode == 1
    assert stage.issues_told()["1"]["state"] == "failed"
    assert "I can't help with that." in stage.say("logs", "1").stdout


def test_a_model_that_never_answers_is_stopped_at_the_end_of_the_issues_time(play: Play) -> None:
    stage = play("Please. [[s:hang]]")
    assert stage.run("--minutes-per-issue", "0.05").returncode == 1
    told = stage.issues_told()["1"]
    assert told["state"] == "held"
    assert "minutes_per_issue" in str(told["why"])
    stage.must_be_whole(landed=[])


def test_a_spent_budget_stops_it_and_says_on_what_and_what_to_type(play: Play) -> None:
    stage = play("Please. [[s:loop]] [[tokens:100/100]]")
    assert stage.run("--usd-per-issue", "0.5").returncode == 1
    told = stage.issues_told()["1"]
    assert told["state"] == "held"
    assert "usd_per_issue: 0.60 of 0.50 USD spent (attempt 1: 0.60)" in str(told["why"])
    problems = stage.say("problems").stdout
    assert "luminaguard retry 1, then, with more to spend: luminaguard run --usd-per-issue 1" in problems
    assert len(stage.facts("1", "placed")) == 1
    assert "usd_per_issue" in stage.say("logs", "1").stdout


def test_a_providers_limit_pauses_the_run_and_uses_up_no_attempt(play: Play, model: ScriptedModel) -> None:
    stage = play("Please. [[s:err429 20]]", "Please. [[s:submit 2.txt=made\\n]]")
    session = stage.start("--attempts", "1", "--slots", "1")
    stage.wait_for("the limit", lambda: stage.facts("run", "limited"))
    stage.wait_for("the end of the attempt", lambda: stage.facts(None, "again"))
    # Each limit lasts 20 s, which a busy machine may need to ask: the next attempt meets the next one.
    stage.wait_for("the pause in the status", lambda: "no agent starts until" in stage.say("status").stdout)
    assert {fact.data["why"] for fact in stage.facts("1", "again")} == {"limited"}
    assert stage.say("cancel", "1").returncode == 0
    session.wait(stage.patience_s)
    assert stage.issues_told()["2"]["state"] == "landed"


def test_who_hunts_for_the_key_finds_a_dummy(play: Play) -> None:
    stage = play("Please. [[s:keyhunt]]")
    assert stage.run().returncode == 0
    loot = stage.git("show", "main:LOOT.txt")
    assert "lg-" in loot
    assert KEY not in loot
    must_hold_no_key(stage)


def is_held(model: ScriptedModel) -> bool:
    """Whether an agent waits for an answer of the model that the test holds back."""
    return any((asked.script, asked.step) == ("held", 1) for asked in model.asked)


def words_at_the_gateway(stage: Stage) -> list[str]:
    """What the session has taken out of the journal and left for the agent's next turn."""
    with contextlib.closing(sqlite3.connect(f"file:{stage.state}/gateway/ledger.db?mode=ro", uri=True)) as ledger:
        return [str(text) for (text,) in ledger.execute("select text from words")]


def test_what_a_person_says_reaches_the_agent_at_work(play: Play, model: ScriptedModel) -> None:
    stage = play("Please. [[s:held]]")
    session = stage.start("--attempts", "1")
    stage.wait_for("the agent to be held", lambda: is_held(model))
    assert "next turn" in stage.say("say", "1", "mind the gap").stdout
    stage.wait_for("the words at the gateway", lambda: words_at_the_gateway(stage))
    model.let_go.set()
    session.wait(stage.patience_s)
    assert "mind the gap" in stage.say("logs", "1").stdout


def test_a_paused_run_starts_nothing_until_it_is_resumed(play: Play, model: ScriptedModel) -> None:
    stage = play("Please. [[s:held]]", submit("2.txt"))
    session = stage.start("--slots", "1", "--attempts", "1")
    stage.wait_for("an agent", lambda: stage.facts(None, "placed"))
    assert stage.say("pause").returncode == 0
    model.let_go.set()
    assert session.wait(stage.patience_s) == 1
    assert len({fact.subject for fact in stage.facts(None, "placed")}) == 1
    assert "luminaguard resume" in stage.say("problems").stdout
    assert stage.say("resume").returncode == 0
    stage.run("--attempts", "1")
    assert stage.issues_told()["2"]["state"] == "landed"


def test_a_review_that_blocks_goes_back_and_lands_when_it_is_mended(play: Play) -> None:
    stage = play(submit("1.txt") + " [[r:review-blocking]]", more='[review]\nagent = "tested"\n')
    assert stage.run().returncode == 0
    assert [fact.data["ok"] for fact in stage.facts("1", "review")] == [False, True]
    assert stage.show("MENDED.txt") == "mended"
    assert [fact.data["grade"] for fact in stage.facts("1", "review")] == ["D", "A"]
    assert all(fact.data["input_tokens"] for fact in stage.facts("1", "review"))
    stage.must_be_whole(landed=["1"])


def test_a_review_that_cannot_be_read_holds_the_change(play: Play) -> None:
    stage = play(submit("1.txt") + " [[r:review-malformed]]", more='[review]\nagent = "tested"\n')
    assert stage.run().returncode == 1
    told = stage.issues_told()["1"]
    assert told["state"] == "held"
    assert "no readable answer" in str(told["why"])


@pytest.mark.parametrize("victim", ["agent", "gateway", "orchestrator"])
def test_whoever_is_killed_nothing_is_lost_and_spending_is_counted(
    play: Play, model: ScriptedModel, victim: str
) -> None:
    stage = play("Please. [[s:held]] [[tokens:100/20]]", submit("2.txt"))
    session = stage.start("--attempts", "1", "--slots", "2")
    stage.wait_for("the agent to be held", lambda: is_held(model))
    os.kill(session.pid if victim == "orchestrator" else _one(stage, victim), signal.SIGKILL)
    model.let_go.set()
    session.wait(stage.patience_s)
    stage.run("--attempts", "1")
    assert stage.issues_told()["2"]["state"] == "landed"
    spent = json.loads(stage.say("status", "--json").stdout)["issues"][0]["cost"]
    assert spent["input_tokens"] >= 100
    stage.must_be_whole(landed=["2"])


def _one(stage: Stage, victim: str) -> int:
    if victim == "agent":
        return stage.shims("1")[0]
    return next(pid for pid, words in stage.processes() if "luminaguard.gateway.serve" in words)


@pytest.mark.agents
@pytest.mark.parametrize("agent", REAL)
def test_a_real_agent_lands_three_issues(play: Play, agent: str) -> None:
    if not is_installed():
        skip_or_fail("the agents are not installed: make agents")
    stage = play(submit("1.txt"), submit("2.txt"), submit("3.txt") + " Depends on #1.", agent=REAL[agent])
    stage.env["PATH"] = os.pathsep.join((str(agents_folder() / "bin"), stage.env["PATH"]))
    ran = stage.run()
    assert ran.returncode == 0, (ran.stdout, ran.stderr, stage.logs())
    stage.must_be_whole(landed=["1", "2", "3"])
    assert all(issue["cost"]["input_tokens"] for issue in stage.issues_told().values())  # type: ignore[index]
    must_hold_no_key(stage)


@pytest.mark.agents
@pytest.mark.parametrize("answer", ["approve", "reject"])
def test_what_an_agent_asks_waits_for_a_person(play: Play, answer: str) -> None:
    if not is_installed():
        skip_or_fail("the agents are not installed: make agents")
    stage = play(
        "Please. [[s:shell echo made > 1.txt]] [[tokens:10/10]]", agent=REAL["opencode"].replace('"allow"', '"ask"')
    )
    stage.env["PATH"] = os.pathsep.join((str(agents_folder() / "bin"), stage.env["PATH"]))
    session = stage.start("--attempts", "1")
    stage.wait_for("the question", lambda: stage.facts("1", "asked"))
    problems = stage.say("problems").stdout
    assert "its agent asks" in problems
    assert "luminaguard approve 1, or luminaguard reject 1 --why TEXT" in problems
    assert stage.say(answer, "1", *(("--why", "not that way") if answer == "reject" else ())).returncode == 0
    assert session.wait(stage.patience_s) == (0 if answer == "approve" else 1), (stage.said(session), stage.logs())
    assert stage.issues_told()["1"]["state"] == ("landed" if answer == "approve" else "failed")
    assert f"answered: {'yes' if answer == 'approve' else 'no'}" in stage.say("logs", "1").stdout
