"""Codex without a terminal: `codex exec --json` and the lines of JSON that it prints."""

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from luminaguard.agents.inside import driver, speech, task
from luminaguard.agents.inside.gateway import Gateway
from luminaguard.agents.inside.processes import ENDS_WITHIN_S, run_lines
from luminaguard.agents.inside.task import EndedError, Task

OPTIONS = ("--json", "--skip-git-repo-check")
# The walls are the sandbox; codex's own cannot be made within them, and keeps .git read-only.
UNBOUND = "--dangerously-bypass-approvals-and-sandbox"
NOT_TOLD = ("Model metadata for", "under a temporary dir")
TOOLS = frozenset({"command_execution", "file_change", "mcp_tool_call", "web_search"})


@dataclass(slots=True)
class Turn:
    """What the lines of one run have said so far. `turns` counts uses of tools: codex has no limit of its own."""

    most: int
    session: str = ""
    used: int = 0
    is_ended: bool = False
    problem: str | None = None

    def take(self, line: bytes) -> float | None:
        """Read a line and tell what it says; give the seconds that what follows may take, once it does not matter."""
        try:
            event = json.loads(line)
        except ValueError:
            return None
        if isinstance(event, dict):
            self._event(event)
        if self.problem is not None:
            return 0.0
        return ENDS_WITHIN_S if self.is_ended else None

    def _event(self, event: Mapping[str, Any]) -> None:
        match event.get("type"):
            case "thread.started":
                self.session = str(event.get("thread_id", ""))
            case "item.started" | "item.updated" | "item.completed":
                item = event.get("item")
                self._item(item if isinstance(item, dict) else {}, how=str(event["type"]).partition(".")[2])
            case "error":
                self._error(str(event.get("message", "")))
            case "turn.completed":
                self.is_ended = True
                self._usage(event.get("usage"))
            case "turn.failed":
                error = event.get("error")
                words = error.get("message") if isinstance(error, dict) else error
                self.problem = task.reason_of(str(words or ""))

    def _error(self, words: str) -> None:
        # It would wait for minutes for what cannot come.
        if task.is_final(words):
            self.problem = task.reason_of(words)
        else:
            speech.tell(f"note: {words}")

    def _item(self, item: Mapping[str, Any], *, how: str) -> None:
        kind = str(item.get("type"))
        if kind in TOOLS and how == "completed":
            self.used += 1
            if self.used > self.most:
                self.problem = f"it has used all its turns ({self.most})"
        if tell := _TOLD.get((kind, how)):
            tell(item)

    def _usage(self, used: object) -> None:
        if isinstance(used, dict):
            tokens_in, tokens_out = used.get("input_tokens"), used.get("output_tokens")
            if isinstance(tokens_in, int) and isinstance(tokens_out, int):
                speech.usage(tokens_in=tokens_in, tokens_out=tokens_out)


_VERBS = {"add": "write", "delete": "delete", "update": "edit"}


def _tell_command(item: Mapping[str, Any]) -> None:
    speech.command(_unwrapped(str(item.get("command", ""))))


def _tell_exit(item: Mapping[str, Any]) -> None:
    if item.get("exit_code"):
        speech.tell(f"exit code {item['exit_code']}")


def _tell_files(item: Mapping[str, Any]) -> None:
    for change in _dicts(item.get("changes")):
        speech.tell(f"{_VERBS.get(str(change.get('kind')), 'edit')} {change.get('path', '')}")


def _tell_words(item: Mapping[str, Any]) -> None:
    speech.end_line()
    speech.say(str(item.get("text", "")))
    speech.end_line()


def _tell_plan(item: Mapping[str, Any]) -> None:
    entries = _dicts(item.get("items"))
    speech.plan([(str(it.get("text", "")), "completed" if it.get("completed") else "") for it in entries])


def _tell_tool(item: Mapping[str, Any]) -> None:
    speech.tell(f"tool {item.get('tool') or item.get('type')} {item.get('query', '')}".rstrip())


def _tell_note(item: Mapping[str, Any]) -> None:
    if not any(words in str(item.get("message")) for words in NOT_TOLD):
        speech.tell(f"note: {item.get('message')}")


_TOLD: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], None]] = {
    ("command_execution", "started"): _tell_command,
    ("command_execution", "completed"): _tell_exit,
    ("file_change", "completed"): _tell_files,
    ("agent_message", "completed"): _tell_words,
    ("todo_list", "started"): _tell_plan,
    ("todo_list", "updated"): _tell_plan,
    ("mcp_tool_call", "completed"): _tell_tool,
    ("web_search", "completed"): _tell_tool,
    ("error", "completed"): _tell_note,
}


def _dicts(found: object) -> list[dict[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _unwrapped(command: str) -> str:
    """Take off the shell that codex puts around a command."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    return words[2] if len(words) == 3 and words[1] in {"-c", "-lc"} else command


def argv_for(told: Task, *, session: str | None) -> list[str]:
    """Give the command line of one run; the prompt comes on standard input."""
    program = [*(told.argv or ("codex",)), "exec"]
    model = ["--model", told.model] if told.model else []
    resumed = ["resume", session] if session else []
    return [*program, *resumed, *OPTIONS, UNBOUND, *model, "-"]


def drive(told: Task, prompt: str) -> None:
    """Run turn after turn: the prompt, then what a person has said meanwhile."""
    gateway = Gateway(told.gateway, told.key)
    session = kept = task.kept_session(told)
    used = 0
    while prompt:
        turn = _one(told, prompt, session=session, used=used)
        if session is not None and session == kept and not turn.session:
            speech.tell("note: the session of the earlier attempt is not there any more; a new one begins")
            session = kept = None
            continue
        if turn.problem is not None:
            raise EndedError(turn.problem)
        session, used, kept = turn.session or session, turn.used, None
        if session:
            task.keep_session(told, session)
        if prompt := gateway.words():
            speech.tell(f"a person says: {prompt}")


def _one(told: Task, prompt: str, *, session: str | None, used: int) -> Turn:
    turn = Turn(most=told.turns, used=used)
    code, said = run_lines(argv_for(told, session=session), env=os.environ, stdin=prompt, each=turn.take)
    if not turn.is_ended and turn.problem is None:
        turn.problem = f"it ended without a result (exit code {code}): {' '.join(said.split())[-500:]}"
    return turn


def main() -> int:
    """Do what the environment says."""
    return driver.run(drive)


if __name__ == "__main__":
    sys.exit(main())
