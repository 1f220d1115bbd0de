"""The tools of the built-in agent: a shell, and the reading and changing of files."""

import os
import re
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from luminaguard.agents.inside import processes, speech

OUTPUT_CHARS = 30_000
READ_LINES = 2000
COMMAND_S, COMMAND_MOST_S = 300.0, 3600.0
DRAIN_S = 0.3
HELD_PIECES = 16
"""Of 64 KiB: as much as a pipe can hold."""
LISTED = 500
SEARCHED_BYTES = 2_000_000
NOT_SEARCHED = frozenset({".git", "node_modules", ".venv", "__pycache__", ".mypy_cache", ".tox", "target"})


class ToolError(Exception):
    """A tool cannot do what was asked; the model is told the message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """What the model may use: `schema` is of its arguments, `changes` says that it may change something."""

    name: str
    about: str
    schema: Mapping[str, Any]
    use: Callable[[Mapping[str, Any]], str]
    changes: bool = False


def bounded(text: str, chars: int = OUTPUT_CHARS) -> str:
    """Keep the beginning and, twice as much, the end of a text that is too long."""
    if len(text) <= chars:
        return text
    head, tail = chars // 3, chars - chars // 3
    return f"{text[:head]}\n[… {len(text) - chars} characters left out …]\n{text[-tail:]}"


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str):
        raise ToolError(f"'{name}' must be a text")
    return value


def _number(given: Mapping[str, Any], name: str, default: float) -> float:
    value = given.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ToolError(f"'{name}' must be a number of at least 0")
    return float(value)


class _Kept:
    """What a command prints: the first and the last of it, so that memory stays bounded."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._head, self._tail, self._dropped = bytearray(), bytearray(), 0
        self._stream, self._has_ended = stream, False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        while not self._has_ended:
            select.select([self._stream], [], [])
            self._take()

    def _take(self) -> bool:
        """Take in what has been said by now; False where that is nothing, or the end."""
        with self._lock:
            if self._has_ended or not select.select([self._stream], [], [], 0)[0]:
                return False
            piece = os.read(self._stream.fileno(), 65_536)
            self._has_ended = not piece
            room = OUTPUT_CHARS - len(self._head)
            self._head += piece[: max(0, room)]
            self._tail += piece[max(0, room) :]
            over = len(self._tail) - 2 * OUTPUT_CHARS
            if over > OUTPUT_CHARS:
                del self._tail[:over]
                self._dropped += over
            return bool(piece)

    def text(self) -> str:
        # What went on in the background may hold the stream open for ever.
        self._thread.join(DRAIN_S)
        for _ in range(HELD_PIECES):
            if not self._take():
                break
        with self._lock:
            gap = f"\n[… {self._dropped} bytes left out …]\n".encode() if self._dropped else b""
            return bounded((bytes(self._head) + gap + bytes(self._tail)).decode(errors="replace"))


def shell(given: Mapping[str, Any]) -> str:
    """Run a command; at the end of its time it is killed with all that it has started."""
    command = _text(given, "command")
    timeout_s = min(_number(given, "timeout_s", COMMAND_S), COMMAND_MOST_S)
    speech.command(command)
    before = frozenset(processes.descendants(os.getpid()))
    try:
        child = subprocess.Popen(
            ("bash", "-c", command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as exc:
        raise ToolError(f"cannot run it: {exc}") from None
    assert child.stdout is not None
    kept = _Kept(child.stdout)
    try:
        code = child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        processes.end_all(spare=before)
        child.poll()
        speech.tell(f"stopped after {timeout_s:.0f} s")
        return f"{kept.text()}\n[stopped: it took longer than {timeout_s:.0f} s]"
    except BaseException:
        processes.end_all(spare=before)
        raise
    if code:
        speech.tell(f"exit code {code}" if code > 0 else f"killed by {signal.Signals(-code).name}")
    return f"{kept.text()}\n[exit code {code}]"


def _place(path: str, *, changed: bool) -> Path:
    """Find a path; one that is to be changed must lie in the working folder, and not in its history."""
    if "\0" in path or not path:
        raise ToolError("'path' is not usable")
    root = Path.cwd().resolve()
    found = (root / path).resolve()
    if changed and (not found.is_relative_to(root) or ".git" in found.relative_to(root).parts):
        raise ToolError(f"{path} is outside the working folder, or in .git")
    return found


def _content(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        raise ToolError(f"{path} is not a text file") from None
    except OSError as exc:
        raise ToolError(f"{path}: {exc.strerror}") from None


def read(given: Mapping[str, Any]) -> str:
    """Give the lines of a file, numbered."""
    path = _text(given, "path")
    first = max(1, int(_number(given, "from_line", 1)))
    count = int(_number(given, "lines", READ_LINES)) or READ_LINES
    speech.tell(f"read {path}")
    lines = _content(_place(path, changed=False)).splitlines()
    shown = "\n".join(f"{number}\t{line}" for number, line in enumerate(lines[first - 1 : first - 1 + count], first))
    left = len(lines) - (first - 1 + count)
    return bounded(shown) + (f"\n[{left} more lines]" if left > 0 else "") if lines else "[the file is empty]"


def write(given: Mapping[str, Any]) -> str:
    """Write a whole file."""
    path, text = _text(given, "path"), _text(given, "text")
    speech.tell(f"write {path}")
    _put(_place(path, changed=True), text)
    return f"wrote {len(text.splitlines())} lines"


def _put(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode(errors="surrogateescape"))
    except OSError as exc:
        raise ToolError(f"{path}: {exc.strerror}") from None


def edit(given: Mapping[str, Any]) -> str:
    """Replace a piece of a file, which must stand there exactly once."""
    path, old, new = _text(given, "path"), _text(given, "old"), _text(given, "new")
    place = _place(path, changed=True)
    text = _content(place)
    count = text.count(old) if old else 0
    if count == 0:
        raise ToolError(f"'old' does not stand in {path}; read it again and copy it exactly")
    if count > 1 and given.get("all") is not True:
        raise ToolError(f"'old' stands {count} times in {path}; take more lines around it, or all = true")
    speech.tell(f"edit {path} (+{len(new.splitlines()) * count} -{len(old.splitlines()) * count})")
    _put(place, text.replace(old, new))
    return f"replaced {count} time{'s' if count > 1 else ''}"


def listed(given: Mapping[str, Any]) -> str:
    """Give the files below a folder."""
    path = str(given.get("path") or ".")
    speech.tell(f"list {path}")
    place = _place(path, changed=False)
    if not place.is_dir():
        raise ToolError(f"{path} is not a folder")
    names: list[str] = []
    for found in _walk(place):
        if len(names) == LISTED:
            return "\n".join([*names, f"[more than {LISTED} files: name a folder]"])
        names.append(str(found.relative_to(place)))
    return "\n".join(names) or "[no files]"


def _walk(folder: Path) -> Iterator[Path]:
    for top, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in NOT_SEARCHED)
        yield from (Path(top) / name for name in sorted(names))


def search(given: Mapping[str, Any]) -> str:
    """Give the lines that a regular expression finds."""
    pattern, path = _text(given, "pattern"), str(given.get("path") or ".")
    speech.tell(f"search {pattern} {path}")
    try:
        wanted = re.compile(pattern)
    except re.error as exc:
        raise ToolError(f"'pattern' is no regular expression: {exc}") from None
    place = _place(path, changed=False)
    found: list[str] = []
    for file in [place] if place.is_file() else _walk(place):
        found += _matches(file, wanted)
        if len(found) > LISTED:
            return "\n".join([*found[:LISTED], f"[more than {LISTED} lines: look for less]"])
    return bounded("\n".join(found)) or "[nothing found]"


def _matches(file: Path, wanted: re.Pattern[str]) -> list[str]:
    try:
        if file.stat().st_size > SEARCHED_BYTES or not file.is_file():
            return []
        text = file.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return []
    root = Path.cwd()
    name = file.relative_to(root) if file.is_relative_to(root) else file
    lines = enumerate(text.splitlines(), 1)
    return [f"{name}:{number}: {line[:300]}" for number, line in lines if wanted.search(line[:10_000])]


def _schema(needed: Mapping[str, str], **more: tuple[str, str]) -> dict[str, Any]:
    texts = {name: {"type": "string", "description": about} for name, about in needed.items()}
    others = {name: {"type": kind, "description": about} for name, (kind, about) in more.items()}
    return {"type": "object", "properties": texts | others, "required": list(needed)}


TOOLS: Sequence[Tool] = (
    Tool(
        name="shell",
        about="Run a command with bash in the working folder. There is no terminal and no input.",
        schema=_schema(
            {"command": "the command"},
            timeout_s=("number", f"seconds that it may take, {COMMAND_S:.0f} if none are given"),
        ),
        use=shell,
        changes=True,
    ),
    Tool(
        name="read",
        about="Read a text file, with line numbers.",
        schema=_schema(
            {"path": "the file"},
            from_line=("integer", "the first line, from 1"),
            lines=("integer", f"how many, {READ_LINES} if none are given"),
        ),
        use=read,
    ),
    Tool(
        name="write",
        about="Write a whole file, and the folders above it.",
        schema=_schema({"path": "the file, in the working folder", "text": "all that it shall hold"}),
        use=write,
        changes=True,
    ),
    Tool(
        name="edit",
        about="Replace a piece of a file. The piece must stand there exactly once, to the letter.",
        schema=_schema(
            {"path": "the file", "old": "the piece, without line numbers", "new": "what takes its place"},
            all=("boolean", "true replaces every one"),
        ),
        use=edit,
        changes=True,
    ),
    Tool(name="list", about="List the files below a folder.", schema=_schema({}, path=("string", "it")), use=listed),
    Tool(
        name="search",
        about="Find lines by a regular expression (Python's), in a file or in all files below a folder.",
        schema=_schema({"pattern": "the expression"}, path=("string", "file or folder; the working folder if none")),
        use=search,
    ),
)
