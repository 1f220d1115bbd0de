"""What an agent may do when it asks: reading, and writing in its workspace; anything else as the settings say."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

Policy = Literal["allow", "deny", "ask"]
READING = frozenset({"read", "search", "think"})
WRITING = frozenset({"edit", "delete", "move"})
PATH_KEYS = ("path", "file_path", "filePath", "filepath", "absolute_path", "notebook_path")


def is_inside(path: str, root: str) -> bool:
    """Tell whether a path leads to something below `root`, whatever links are on the way."""
    return (found := _relative(path, root)) is not None and found != Path()


def is_history(path: str, root: str) -> bool:
    """Tell whether a path leads into `.git`, whose hooks and settings are programs."""
    found = _relative(path, root)
    return found is not None and found.parts[:1] == (".git",)


def _relative(path: str, root: str) -> Path | None:
    try:
        real, top = (Path(root) / path).resolve(), Path(root).resolve()
    except (OSError, ValueError, RuntimeError):  # a circle of links, a NUL
        return None
    return real.relative_to(top) if real.is_relative_to(top) else None


def decide(kind: str | None, paths: Sequence[str], *, root: str, policy: Policy, is_review: bool) -> Policy:
    """Decide on a wish.

    Args:
        kind: what sort of thing it is, in the protocol's words.
        paths: the files that it is about.
        root: the workspace.
        policy: what becomes of anything that is not decided by itself.
        is_review: nothing but reading is allowed.
    """
    if kind in READING:
        return "allow"
    if is_review:
        return "deny"
    if kind in WRITING and paths and all(is_inside(path, root) and not is_history(path, root) for path in paths):
        return "allow"
    return policy


def paths_of(raw: object) -> list[str]:
    """Give the paths that the arguments of a tool name."""
    if not isinstance(raw, Mapping):
        return []
    return [value for key in PATH_KEYS if isinstance(value := raw.get(key), str)]


def picked(options: Sequence[tuple[str, str]], *, ok: bool) -> str | None:
    """Choose among pairs of kind and id: for once rather than for ever; None where no such answer is offered."""
    wanted = ("allow_once", "allow_always") if ok else ("reject_once", "reject_always")
    return next((id_ for kind in wanted for found, id_ in options if found == kind), None)


def command_of(raw: object) -> str:
    """Give the command that the arguments of a tool name, "" where none."""
    found: Any = raw.get("command") or raw.get("cmd") if isinstance(raw, Mapping) else None
    if isinstance(found, list):
        words = [str(word) for word in found]
        return words[-1] if len(words) == 3 and words[1] in {"-c", "-lc"} else " ".join(words)
    return found if isinstance(found, str) else ""
