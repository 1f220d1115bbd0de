"""The lines of JSON that agent programs print: recorded ones are told as they should be, and none breaks a driver."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luminaguard.agents.inside import claude_cli, codex_cli, speech
from luminaguard.agents.inside.task import is_final, reason_of

RECORDED = Path(__file__).parent / "recorded"
Take = Callable[[bytes], float | None]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
WORDS = st.sampled_from(
    (
        *("type", "subtype", "item", "message", "content", "usage", "result", "error", "id", "name", "input", "text"),
        *("command", "changes", "items", "errors", "permission_denials", "todos", "is_error", "exit_code", "kind"),
    )
)
KINDS = st.sampled_from(
    (
        *("system", "assistant", "user", "result", "init", "api_retry", "tool_use", "tool_result", "text"),
        *("thread.started", "item.started", "item.updated", "item.completed", "error", "turn.completed"),
        *("turn.failed", "command_execution", "file_change", "agent_message", "todo_list", "Bash", "TodoWrite"),
    )
)
EVENT = st.recursive(
    st.dictionaries(WORDS, KINDS | JSON, max_size=6),
    lambda inner: st.dictionaries(WORDS, KINDS | inner | st.lists(inner, max_size=3) | JSON, max_size=6),
    max_leaves=6,
)


def claude() -> claude_cli.Turn:
    return claude_cli.Turn()


def codex(*, most: int = 100) -> codex_cli.Turn:
    return codex_cli.Turn(most=most)


@pytest.mark.parametrize("make", [claude, codex])
@given(event=EVENT)
def test_event_of_any_form_is_taken(make: Callable[[], claude_cli.Turn | codex_cli.Turn], event: object) -> None:
    make().take(json.dumps(event).encode())


@pytest.mark.parametrize("make", [claude, codex])
@given(line=st.binary(max_size=60))
def test_line_that_is_no_event_is_passed_over(
    make: Callable[[], claude_cli.Turn | codex_cli.Turn], line: bytes
) -> None:
    turn = make()
    assert turn.take(line) is None
    assert turn.problem is None


def told(name: str, take: Take, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Play a recorded stream; what was printed."""
    speech.end_line()
    capsys.readouterr()
    for line in (RECORDED / name).read_bytes().splitlines():
        take(line)
    return capsys.readouterr().out.splitlines()


def test_claudes_edit_and_commit_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    turn = claude()
    lines = told("claude-submit.jsonl", turn.take, capsys)
    assert [line.split()[0] for line in lines] == ["write", "$", "Done:", "usage:"]
    assert (turn.is_begun, turn.is_ended, turn.problem) == (True, True, None)
    assert turn.session


def test_claudes_api_error_is_a_failure_though_it_is_said_to_be_a_success(capsys: pytest.CaptureFixture[str]) -> None:
    turn = claude()
    told("claude-err403.jsonl", turn.take, capsys)
    assert turn.problem == "the gateway refused the call: Failed to authenticate. API Error: 403 scripted error 403"


def test_claudes_refusal_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    turn = claude()
    told("claude-refusal.jsonl", turn.take, capsys)
    assert turn.problem is not None
    assert turn.problem.startswith("the model refused: ")


def test_claudes_turns_are_counted_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    turn = claude()
    told("claude-loop.jsonl", turn.take, capsys)
    assert turn.problem == "it has used all its turns"


def test_codexs_commands_are_told_without_their_shell(capsys: pytest.CaptureFixture[str]) -> None:
    turn = codex()
    lines = told("codex-submit.jsonl", turn.take, capsys)
    assert lines[0].startswith('$ mkdir -p "$(dirname')
    assert lines[1].startswith("$ git add -A && git commit")
    assert lines[2] == "Done: the change is committed."
    assert lines[3].startswith("usage: ")
    assert (turn.is_ended, turn.problem, turn.used) == (True, None, 2)


def test_codex_is_stopped_at_the_first_word_of_a_refused_call(capsys: pytest.CaptureFixture[str]) -> None:
    turn = codex()
    told("codex-err403.jsonl", turn.take, capsys)
    assert turn.problem is not None
    assert turn.problem.startswith("the gateway refused the call: ")


def test_codexs_turns_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    turn = codex(most=1)
    told("codex-submit.jsonl", turn.take, capsys)
    assert turn.problem == "it has used all its turns (1)"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("API Error: 403 usd_per_issue: 5 of 5 USD spent", "the gateway refused the call"),
        ("last status: 429 Too Many Requests", "rate-limited"),
        ("401 Unauthorized", "the key was not accepted"),
        ("prompt is too long: 300000 tokens", "the context is full"),
        ("Incomplete response returned, reason: content_filter", "the model refused"),
        ("500 Internal Server Error", "the model call failed"),
    ],
)
def test_words_of_a_failed_call_are_sorted(words: str, reason: str) -> None:
    assert reason_of(words) == f"{reason}: {words}"


@pytest.mark.parametrize(("words", "final"), [("status 403", True), ("status 500", False), ("port 14039", False)])
def test_refusals_and_limits_are_final(words: str, final: object) -> None:
    assert is_final(words) is final


@given(text=st.text())
def test_line_of_ours_is_one_line(text: str) -> None:
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speech, "say", lines.append)
        speech.tell(text)
    assert "".join(lines).count("\n") == 1
    assert "\x1b" not in "".join(lines)
