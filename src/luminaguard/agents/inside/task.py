"""What a driver is told to do, and what it says of its end."""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

TASK_IN = "LUMINAGUARD_AGENT"
SESSION_FILE = ".luminaguard-session.json"
WORDS_CHARS = 2000
WALLED_AT = Path("/run/luminaguard/inside")
"""Where this folder is seen behind walls."""
HOMES = ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One attempt, as the driver's environment says it.

    `gateway` and `provider` make the address of the models, spoken to as `api` says; `key` is the dummy one. `files`
    are written into the home before the agent starts, `env` is added to its environment.
    """

    agent: str
    argv: tuple[str, ...] = ()
    gateway: str = ""
    provider: str = ""
    api: str = "openai"
    key: str = ""
    model: str = ""
    mode: str = ""
    ask: Literal["allow", "deny", "ask"] = "deny"
    ask_s: float = 0.0
    turns: int = 100
    max_usd: float | None = None
    is_review: bool = False
    is_resumed: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


class EndedError(Exception):
    """The agent did not end its turn of itself; the message is one sentence that says why."""


class StoppedError(BaseException):
    """We were asked to stop. Nobody but the way out may catch it."""


def read_task() -> Task:
    """Read the task and take it out of the environment, which the agent inherits."""
    told = json.loads(os.environ.pop(TASK_IN))
    return Task(**{**told, "argv": tuple(told.get("argv", ()))})


@contextlib.contextmanager
def prepared(task: Task) -> Iterator[None]:
    """Set the environment and write the agent's configuration into its home.

    Where there are no walls the home is the user's own, with the user's own configuration: then it is another one.
    """
    os.environ.update(task.env)
    if Path(__file__).parent == WALLED_AT or not task.provider:
        write_files(task)
        yield
        return
    with tempfile.TemporaryDirectory(prefix="luminaguard-home-", ignore_cleanup_errors=True) as home:
        for name in HOMES:
            os.environ.pop(name, None)
        os.environ["HOME"] = home
        write_files(task)
        yield


def write_files(task: Task) -> None:
    """Write the agent's configuration into the home."""
    for name, text in task.files.items():
        path = Path.home() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def kept_session(task: Task) -> str | None:
    """Give the session of an earlier attempt, where the home was kept and this agent left one."""
    if not task.is_resumed or task.is_review:
        return None
    try:
        found = json.loads((Path.home() / SESSION_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    session = found.get(task.agent) if isinstance(found, dict) else None
    return session if isinstance(session, str) else None


def keep_session(task: Task, session: str) -> None:
    """Write the session down for the next attempt."""
    if task.is_resumed and not task.is_review:
        (Path.home() / SESSION_FILE).write_text(json.dumps({task.agent: session}), encoding="utf-8")


KINDS = (
    (re.compile(r"\b403\b|the budget is spent"), "the gateway refused the call"),
    (re.compile(r"\b429\b|rate.?limit|too many requests", re.IGNORECASE), "rate-limited"),
    (re.compile(r"\b401\b|authenticat|unauthorized", re.IGNORECASE), "the key was not accepted"),
    (re.compile(r"context.?length|context.?window|prompt is too long", re.IGNORECASE), "the context is full"),
    (re.compile(r"content.?filter|refus|safeguards|safety", re.IGNORECASE), "the model refused"),
)


def reason_of(words: str) -> str:
    """Sort an agent's words about a failed model call, and keep them, on one line."""
    kept = " ".join(words.split())[:WORDS_CHARS]
    kind = next((kind for pattern, kind in KINDS if pattern.search(words)), "the model call failed")
    return f"{kind}: {kept}" if kept else kind


def is_final(words: str) -> bool:
    """Tell whether words about a failed call say that trying again is of no use: a budget, a limit, a wrong key."""
    return re.search(r"\b(401|403|429)\b|the budget is spent", words) is not None
