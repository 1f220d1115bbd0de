"""Real agent programs, through each of our drivers, behind walls and gateway: what they make, and how they end."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from real_lab import ISSUE, REAL_KEY, RUN, Lab

from luminaguard.agents.access import Api, ModelAccess
from luminaguard.agents.acp import AcpAgent
from luminaguard.agents.base import Agent
from luminaguard.agents.builtin import BuiltinAgent
from luminaguard.agents.claude import ClaudeAgent
from luminaguard.agents.codex import CodexAgent
from luminaguard.gates.review import parse_answer
from luminaguard.gateway.base import Budget


def models(api: Api) -> ModelAccess:
    return ModelAccess(provider=api, api=api, model="scripted-1")


def acp(*argv: str, api: Api, **keys: Any) -> Agent:
    return AcpAgent(name="mine", argv=argv, models=models(api), **{"ask": "allow", **keys})


AGENTS: Mapping[str, Callable[..., Agent]] = {
    "builtin": lambda turns=100: BuiltinAgent(name="mine", models=models("openai"), turns=turns),
    "claude": lambda **keys: ClaudeAgent(name="mine", models=models("anthropic"), **keys),
    "codex": lambda **keys: CodexAgent(name="mine", models=models("openai"), **keys),
    "claude-agent-acp": lambda **keys: acp("claude-agent-acp", api="anthropic", **keys),
    "codex-acp": lambda **keys: acp("codex-acp", api="openai", **keys),
    "opencode": lambda **keys: acp("opencode", "acp", api="openai", **keys),
}
every = pytest.mark.parametrize("name", AGENTS)
RESUMING = tuple(name for name in AGENTS if name != "builtin")
PATIENT = ("codex-acp", "opencode")
"""They wait for as long as a provider says, and tell nobody."""


@every
def test_it_makes_a_change_and_commits_it(lab: Lab, name: str) -> None:
    worked = lab.work(AGENTS[name](), "Do it. [[s:submit notes/a.txt=one\\ntwo\\n]]")
    assert (worked.ended.cause, worked.ended.exit_code) == ("exited", 0), worked.log
    assert (worked.tree / "notes/a.txt").read_text() == "one\ntwo\n"
    assert worked.subjects == ["Make the change", "first"]
    assert "$ git add -A && git commit" in worked.log
    assert "Done: the change is committed." in worked.log
    assert {asked.key for asked in lab.model.asked} == {REAL_KEY}
    spent = sum(it.input_tokens for it in lab.ledger.spent(RUN).values())
    assert spent > 0


@every
def test_hanging_agent_is_stopped_and_leaves_nothing(lab: Lab, name: str) -> None:
    sleeping, log = lab.folder / "tree/SLEEPING", lab.folder / "place1/log"

    def is_asleep() -> bool:
        return sleeping.exists() and b"sleep 86399" in log.read_bytes()

    worked = lab.work(AGENTS[name](), "[[s:sleep 86399]]", stop_when=is_asleep)
    assert worked.ended.cause == "cancelled", worked.log
    assert worked.last_line == "ended: it was asked to stop"
    assert "$ echo $$ > SLEEPING; sleep 86399" in worked.log
    assert running("sleep\x0086399") == []


def running(words: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = process.read_bytes().decode(errors="replace")
        except OSError:
            continue
        found += [line] if words in line else []
    return found


@every
def test_model_that_never_answers_is_stopped(lab: Lab, name: str) -> None:
    worked = lab.work(AGENTS[name](), "[[s:hang]]", stop_when=lambda: bool(lab.model.asked))
    assert (worked.ended.cause, worked.last_line) == ("cancelled", "ended: it was asked to stop")


@every
def test_refusal_is_told(lab: Lab, name: str) -> None:
    worked = lab.work(AGENTS[name](), "[[s:refusal]]")
    assert worked.ended.exit_code == 1, worked.log
    assert worked.last_line.startswith("ended: the model refused")


@every
def test_spent_budget_ends_it_with_the_gateways_words(lab: Lab, name: str) -> None:
    lab.ledger.allow(RUN, Budget(tokens_per_issue=1_000_000))
    worked = lab.work(AGENTS[name](), "[[s:loop]] [[tokens:400000/0]]")
    assert worked.ended.exit_code == 1, worked.log
    assert worked.last_line.startswith("ended: the gateway refused the call: ")
    assert "tokens_per_issue" in worked.last_line
    assert (lab.ledger.refusal(RUN, ISSUE) or "?") in " ".join(worked.log.split())


@every
def test_limit_of_a_provider_ends_it(lab: Lab, name: str) -> None:
    is_patient = name in PATIENT

    def limited() -> bool:
        return is_patient and bool(lab.ledger.limits(RUN))

    worked = lab.work(AGENTS[name](), "[[s:err429 3600]]", stop_when=limited)
    assert worked.ended.exit_code == 1, worked.log
    assert len(lab.ledger.limits(RUN)) >= 1
    if not is_patient:
        assert worked.last_line.startswith("ended: rate-limited: ")


@every
def test_key_hunt_finds_the_dummy_alone(lab: Lab, name: str) -> None:
    worked = lab.work(AGENTS[name](), "[[s:keyhunt]]")
    loot = (worked.tree / "LOOT.txt").read_bytes()
    assert b"lg-" in loot
    assert REAL_KEY.encode() not in loot
    assert REAL_KEY not in worked.log


@every
def test_endless_work_ends_with_its_turns(lab: Lab, name: str) -> None:
    worked = lab.work(AGENTS[name](turns=3), "[[s:loop]]")
    assert worked.ended.exit_code == 1, worked.log
    assert worked.last_line.startswith("ended: it has used all its turns")


@every
def test_words_of_a_person_reach_it(lab: Lab, name: str) -> None:
    lab.ledger.say(RUN, ISSUE, number=1, text="And: [[s:edit said.txt=heard\\n]]")
    worked = lab.work(AGENTS[name](), "[[s:edit a.txt=x\\n]]")
    assert worked.ended.exit_code == 0, worked.log
    assert (worked.tree / "said.txt").read_text() == "heard\n"
    assert lab.ledger.heard(RUN, ISSUE) == 1


@pytest.mark.parametrize("name", RESUMING)
def test_next_attempt_goes_on_with_the_session(lab: Lab, name: str) -> None:
    lab.work(AGENTS[name](resume=True), "The word is xyzzy. [[s:say understood]]")
    lab.model.asked.clear()
    worked = lab.work(AGENTS[name](resume=True), "[[s:edit a.txt=x\\n]]")
    assert worked.ended.exit_code == 0, worked.log
    assert (worked.tree / "a.txt").read_text() == "x\n"
    assert any("The word is xyzzy." in asked.prompt for asked in lab.model.asked)


@every
def test_reviewer_answers_and_changes_nothing(lab: Lab, name: str) -> None:
    asked = 'Review this. [[s:edit a.txt=x\\n]] [[r:review-blocking]] Answer {"grade": "", "findings": []}'
    worked = lab.work(AGENTS[name](), asked, is_review=True)
    answer = parse_answer(worked.log)
    assert answer is not None, worked.log
    assert [finding.file for finding in answer.findings] == ["MENDED.txt"]
    assert not (worked.tree / "a.txt").exists()


@pytest.mark.parametrize("name", ["claude-agent-acp", "opencode"])
def test_command_that_nobody_allows_is_not_run(lab: Lab, name: str) -> None:
    worked = lab.work(AGENTS[name](ask="deny"), "[[s:shell touch RUN]]")
    assert "denied: run: touch RUN" in worked.log
    assert not (worked.tree / "RUN").exists()


def test_only_what_is_named_in_the_table_is_tested() -> None:
    package = json.loads((Path(__file__).parent / "package.json").read_text())
    docs = (Path(__file__).parents[3] / "docs/agents.md").read_text()
    assert all(version in docs for version in package["dependencies"].values())
