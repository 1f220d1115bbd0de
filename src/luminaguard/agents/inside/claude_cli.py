"""Claude Code without a terminal: `claude -p` and the lines of JSON that it prints."""

import json
import os
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from luminaguard.agents.inside import driver, speech, task
from luminaguard.agents.inside.gateway import Gateway
from luminaguard.agents.inside.processes import ENDS_WITHIN_S, run_lines
from luminaguard.agents.inside.task import EndedError, Task

READING_TOOLS = "Read,Grep,Glob"
ALWAYS = ("-p", "--output-format", "stream-json", "--verbose", "--strict-mcp-config")
ENDS = {
    "error_max_turns": "it has used all its turns",
    "error_max_budget_usd": "it has used all the money that it was given",
}


@dataclass(slots=True)
class Turn:
    """What the lines of one run have said so far."""

    session: str = ""
    is_begun: bool = False
    is_ended: bool = False
    problem: str | None = None
    calls: dict[str, str] = field(default_factory=dict)

    def take(self, line: bytes) -> float | None:
        """Read a line and tell what it says; give the seconds that what follows may take, once it does not matter."""
        try:
            event = json.loads(line)
        except ValueError:
            return None
        if isinstance(event, dict):
            self._event(event)
        return ENDS_WITHIN_S if self.is_ended else None

    def _event(self, event: Mapping[str, Any]) -> None:
        match event.get("type"):
            case "system":
                self._system(event)
            case "assistant":
                for block in _blocks(event):
                    self._block(block)
            case "user":
                for block in _blocks(event):
                    self._result(block)
            case "result":
                self._ended(event)

    def _system(self, event: Mapping[str, Any]) -> None:
        if event.get("subtype") == "init":
            self.is_begun, self.session = True, str(event.get("session_id", ""))
        elif event.get("subtype") == "api_retry":
            speech.tell(f"note: the model call failed ({event.get('error_status')}), it is tried again")

    def _block(self, block: Mapping[str, Any]) -> None:
        if block.get("type") == "text" and isinstance(block.get("text"), str):
            speech.end_line()
            speech.say(block["text"])
            speech.end_line()
        elif block.get("type") == "tool_use":
            tell_tool(str(block.get("name", "")), block.get("input"))

    def _result(self, block: Mapping[str, Any]) -> None:
        if block.get("type") == "tool_result" and block.get("is_error"):
            speech.tell(f"failed: {_text(block.get('content'))}")

    def _ended(self, event: Mapping[str, Any]) -> None:
        self.is_ended = True
        used = event.get("usage")
        if isinstance(used, dict):
            cached = _number(used, "cache_read_input_tokens") + _number(used, "cache_creation_input_tokens")
            speech.usage(tokens_in=_number(used, "input_tokens") + cached, tokens_out=_number(used, "output_tokens"))
        for denied in event.get("permission_denials") or []:
            speech.tell(f"denied: {denied.get('tool_name') if isinstance(denied, dict) else denied}")
        # Never by the subtype: an API error is said to be a success.
        if event.get("is_error") or event.get("subtype") in ENDS:
            words = str(event.get("result") or "; ".join(map(str, event.get("errors") or [])))
            self.problem = ENDS.get(str(event.get("subtype"))) or task.reason_of(words)
        elif event.get("stop_reason") == "refusal":
            self.problem = task.reason_of(f"refused: {event.get('result', '')}")


def _blocks(event: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    message = event.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _text(content: object) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content)


def _number(found: Mapping[str, Any], name: str) -> int:
    number = found.get(name)
    return number if isinstance(number, int) else 0


def tell_tool(name: str, given: object) -> None:
    """Tell a use of one of Claude Code's tools."""
    said = given if isinstance(given, dict) else {}
    path = _inside(str(said.get("file_path") or said.get("notebook_path") or said.get("path") or ""))
    match name:
        case "Bash":
            speech.command(str(said.get("command", "")))
        case "Edit" | "MultiEdit" | "NotebookEdit":
            speech.tell(f"edit {path}")
        case "Write":
            speech.tell(f"write {path}")
        case "Read":
            speech.tell(f"read {path}")
        case "Grep" | "Glob":
            speech.tell(f"search {said.get('pattern', '')} {path}".rstrip())
        case "TodoWrite":
            todos = [todo for todo in said.get("todos") or [] if isinstance(todo, dict)]
            speech.plan([(str(todo.get("content", "")), str(todo.get("status", ""))) for todo in todos])
        case _:
            speech.tell(f"tool {name} {json.dumps(said, ensure_ascii=False)[:200]}")


def _inside(path: str) -> str:
    root = os.getcwd() + os.sep  # noqa: PTH109 text that is cut off a text
    return path.removeprefix(root)


def argv_for(told: Task, *, session: str, is_new: bool) -> list[str]:
    """Give the command line of one run; the prompt comes on standard input."""
    argv = [*(told.argv or ("claude",)), *ALWAYS, "--max-turns", str(told.turns)]
    # The walls are the sandbox: within them it need not ask.
    argv += ["--dangerously-skip-permissions"]
    if told.is_review:
        argv += ["--tools", READING_TOOLS]
    if told.model:
        argv += ["--model", told.model]
    if told.max_usd is not None:
        argv += ["--max-budget-usd", f"{told.max_usd:.4f}"]
    return [*argv, "--session-id" if is_new else "--resume", session]


def drive(told: Task, prompt: str) -> None:
    """Run turn after turn: the prompt, then what a person has said meanwhile."""
    gateway = Gateway(told.gateway, told.key)
    kept = task.kept_session(told)
    session, is_new = kept or str(uuid.uuid4()), kept is None
    while prompt:
        turn = _one(told, prompt, session=session, is_new=is_new)
        if not turn.is_begun and not is_new and kept:
            speech.tell("note: the session of the earlier attempt is not there any more; a new one begins")
            session, is_new, kept = str(uuid.uuid4()), True, None
            continue
        if turn.problem is not None:
            raise EndedError(turn.problem)
        session, is_new = turn.session or session, False
        task.keep_session(told, session)
        if prompt := gateway.words():
            speech.tell(f"a person says: {prompt}")


def _one(told: Task, prompt: str, *, session: str, is_new: bool) -> Turn:
    turn = Turn()
    argv = argv_for(told, session=session, is_new=is_new)
    code, said = run_lines(argv, env=os.environ, stdin=prompt, each=turn.take)
    if not turn.is_ended and turn.problem is None:
        turn.problem = f"it ended without a result (exit code {code}): {' '.join(said.split())[-500:]}"
    return turn


def main() -> int:
    """Do what the environment says."""
    return driver.run(drive)


if __name__ == "__main__":
    sys.exit(main())
