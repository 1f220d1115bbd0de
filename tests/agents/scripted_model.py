"""A model server without a model: it answers real agent programs by a script that the prompt itself names.

The issue's text carries a marker, `[[s:edit notes.txt=one line\\n]]`; how often a tool was used since says which step
comes next. So the server keeps nothing, one serves any number of agents, and the product needs no hook for tests.

    [[s:NAME ARGUMENT]]   what a worker does: see SCRIPTS; the last marker in the prompts counts
    [[r:NAME]]            what a reviewer answers: review-clean (the default), review-blocking, review-malformed
    [[tokens:IN/OUT]]     what every answer is said to have cost

It speaks Anthropic Messages, OpenAI Responses and Chat Completions, and Gemini, streaming and not. As a program:
`python scripted_model.py --port 0` prints its address.
"""

import argparse
import contextlib
import json
import re
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from scripted_wires import WIRES, Call, Custom, Reply, Say, Tokens, wire_of

SHELLS = ("Bash", "bash", "shell", "exec_command", "shell_command", "run_shell_command", "local_shell", "execute")
WRITERS = ("Write", "write", "write_file", "create_file", "create")
COMMAND_WORDS = ("command", "cmd", "script")
PATH_WORDS = ("file_path", "filePath", "path", "absolute_path", "filename")
TEXT_WORDS = ("content", "contents", "file_text", "text")
MARKER = re.compile(r"\[\[([sr]):([\w-]+)(?: (.*?))?\]\]", re.DOTALL)
TOKENS = re.compile(r"\[\[tokens:(\d+)/(\d+)\]\]")
FOLDER = re.compile(r"(?:[Ww]orking directory: |<cwd>)(/[^\s<]*)")
HUNT = (
    "(env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline; mount; ls -lR /run /tmp $HOME;"
    " find / -xdev -type f -size -200k -newer /usr/bin/env -exec cat {} +) 2>/dev/null"
    " | tr -d '\\000' | head -c 3000000 > LOOT.txt"
)
FINDING = "must be mended: [[s:edit MENDED.txt=mended\\n]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """Run a command by the agent's own shell tool. `is_held`: answered so only when the test lets go."""

    command: str
    is_held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Write a file by the agent's own tool."""

    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """Answer with an HTTP status; `retry_s` says when to come again."""

    status: int
    retry_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang:
    """Never answer."""


Step = Shell | Write | Say | Fail | Hang


def edit(argument: str) -> Write:
    """Read "path=text", with \\n for the end of a line."""
    path, _, text = argument.partition("=")
    return Write(path=path.strip(), text=text.replace("\\n", "\n"))


def review(*, grade: str, findings: list[dict[str, Any]]) -> Say:
    return Say(text=json.dumps({"grade": grade, "findings": findings}))


def blocking(prompt: str) -> Say:
    """Block until what the finding asks for is in the diff."""
    if "+mended" in prompt:
        return review(grade="A", findings=[])
    found = {"severity": "high", "file": "MENDED.txt", "line": 1, "text": FINDING}
    return review(grade="D", findings=[found])


SCRIPTS: Mapping[str, Callable[[str], list[Step]]] = {
    "ok": lambda _: [Shell(command="printf 'hello from agent\\n' > AGENT_OUT.txt && pwd"), Say(text="Done.")],
    "edit": lambda argument: [edit(argument), Say(text="Done: the change is made.")],
    "submit": lambda argument: [
        edit(argument),
        Shell(command="git add -A && git commit -q -m 'Make the change' && git log --oneline -1"),
        Say(text="Done: the change is committed."),
    ],
    "say": lambda argument: [Say(text=argument or "Only words.")],
    "shell": lambda argument: [Shell(command=argument), Say(text="Done: the command has run.")],
    "sleep": lambda argument: [
        Shell(command=f"echo $$ > SLEEPING; sleep {argument or 600}"),
        Say(text="Done sleeping."),
    ],
    "held": lambda _: [
        Shell(command="echo held"),
        Shell(command="echo let go", is_held=True),
        Say(text="Done waiting."),
    ],
    "loop": lambda _: [Shell(command="echo again")] * 100_000,
    "big": lambda _: [Shell(command="seq 1 100000"), Say(text="big " * 20_000)],
    "keyhunt": lambda _: [Shell(command=HUNT), Say(text="Done: the loot is in LOOT.txt.")],
    "refusal": lambda _: [Say(text="I can't help with that.", is_refusal=True)],
    "cut": lambda _: [Say(text="a part of an answer", is_cut=True)],
    "hang": lambda _: [Hang()],
    "err401": lambda _: [Fail(status=401)],
    "err403": lambda _: [Fail(status=403)],
    "err429": lambda argument: [Fail(status=429, retry_s=int(argument or 120))],
    "err500": lambda _: [Fail(status=500)],
    "review-clean": lambda _: [review(grade="A", findings=[])],
    "review-malformed": lambda _: [Say(text='All fine: {"findings": "none"}')],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as the model saw it. `key` is the credential that came with it."""

    path: str
    key: str
    script: str
    step: int
    tools: tuple[str, ...]
    prompt: str
    last_result: str


@dataclass(slots=True)
class Turn:
    """One turn of a conversation, whatever the API calls it."""

    role: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What all APIs say in their own words. A tool without a schema is free text."""

    turns: list[Turn]
    tools: dict[str, dict[str, Any] | None]

    @property
    def prompt(self) -> str:
        return "\n".join(turn.text for turn in self.turns if turn.role == "user")


def strings(found: Any) -> Iterator[str]:
    """Give every piece of text in a message's content."""
    if isinstance(found, str):
        yield found
    elif isinstance(found, list):
        for part in found:
            yield from strings(part)
    elif isinstance(found, dict):
        for name in ("text", "content", "parts", "output"):
            yield from strings(found.get(name))


def read_anthropic(body: dict[str, Any]) -> Request:
    turns = [Turn("system", " ".join(strings(body.get("system"))))]
    for message in body.get("messages", []):
        content = message["content"]
        for block in content if isinstance(content, list) else [{"type": "text", "text": content}]:
            role = "tool" if block.get("type") == "tool_result" else message["role"]
            if block.get("type") in {"text", "tool_result"}:
                turns.append(Turn(role, " ".join(strings(block))))
    return Request(turns=turns, tools={tool["name"]: tool.get("input_schema") or {} for tool in body.get("tools", [])})


def read_responses(body: dict[str, Any]) -> Request:
    said = body.get("input", [])
    items = [{"role": "user", "content": said}] if isinstance(said, str) else said
    turns = [Turn("system", str(body.get("instructions", "")))]
    for item in items:
        kind = item.get("type", "message")
        if kind == "message" or kind.endswith("_output"):
            role = item.get("role", "user") if kind == "message" else "tool"
            turns.append(Turn(role, " ".join(strings(item))))
    return Request(turns=turns, tools=dict(_response_tools(body.get("tools") or [])))


def _response_tools(tools: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any] | None]]:
    for tool in tools:
        if tool.get("type") == "namespace":
            continue  # tools of other servers, which no script uses
        if "name" in tool:
            yield tool["name"], None if tool.get("type") == "custom" else tool.get("parameters") or {}


def read_chat(body: dict[str, Any]) -> Request:
    turns = [Turn(message["role"], " ".join(strings(message.get("content")))) for message in body.get("messages", [])]
    functions = [tool["function"] for tool in body.get("tools") or []]
    return Request(turns=turns, tools={it["name"]: it.get("parameters") or {} for it in functions})


def read_gemini(body: dict[str, Any]) -> Request:
    turns = [Turn("system", " ".join(strings(body.get("systemInstruction"))))]
    for message in body.get("contents", []):
        for part in message.get("parts", []):
            if "functionResponse" in part:
                turns.append(Turn("tool", json.dumps(part["functionResponse"].get("response"))))
            else:
                turns.append(Turn("assistant" if message.get("role") == "model" else "user", part.get("text", "")))
    found = [it for tool in body.get("tools") or [] for it in tool.get("functionDeclarations", [])]
    return Request(
        turns=turns, tools={it["name"]: it.get("parametersJsonSchema") or it.get("parameters") or {} for it in found}
    )


READERS: Mapping[str, Callable[[dict[str, Any]], Request]] = {
    "anthropic": read_anthropic,
    "responses": read_responses,
    "chat": read_chat,
    "gemini": read_gemini,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do now: the script's name, how far it has come, and the step."""

    name: str
    number: int
    step: Step


def plan(request: Request) -> Plan:
    """Find the script that the prompt names, and the step that it has come to."""
    found, at = None, 0
    # Another reviewer's prompt quotes the issue, marker and all.
    wanted = "r" if '"findings"' in request.prompt else "s"
    for number, turn in enumerate(request.turns):
        for match in MARKER.finditer(turn.text) if turn.role == "user" else ():
            if match[1] == wanted:
                found, at = match, number
    if found is None:
        found = MARKER.search("[[r:review-clean]]" if wanted == "r" else "[[s:say No script was named.]]")
    assert found is not None
    if found[2] == "review-blocking":
        return Plan(name=found[2], number=0, step=blocking(request.prompt))
    steps = SCRIPTS[found[2]](found[3] or "")
    number = sum(1 for turn in request.turns[at + 1 :] if turn.role == "tool")
    return Plan(name=found[2], number=number, step=steps[min(number, len(steps) - 1)])


def reply_to(step: Shell | Write | Say, request: Request) -> Reply:
    """Turn a step into a use of the tools that were offered."""
    if isinstance(step, Say):
        return step
    if not request.tools:  # a side request, for a title
        return Say(text="A title")
    if isinstance(step, Write):
        return _written(step, request)
    name = next((name for name in SHELLS if name in request.tools), None)
    if name is None:
        return Say(text=f"no shell among the tools: {', '.join(request.tools)}")
    return Call(name=name, arguments=_filled(request.tools[name] or {}, {"command": step.command}))


def _written(step: Write, request: Request) -> Reply:
    name = next((name for name in WRITERS if request.tools.get(name) is not None), None)
    if name is None and "apply_patch" in request.tools and request.tools["apply_patch"] is None:
        lines = "".join(f"+{line}\n" for line in step.text.splitlines())
        return Custom(name="apply_patch", text=f"*** Begin Patch\n*** Add File: {step.path}\n{lines}*** End Patch\n")
    if name is None:
        return reply_to(Shell(command=_shell_write(step)), request)
    found = FOLDER.search("\n".join(turn.text for turn in request.turns))
    path = f"{found[1].rstrip('/')}/{step.path}" if found else step.path
    return Call(name=name, arguments=_filled(request.tools[name] or {}, {"path": path, "text": step.text}))


def _shell_write(step: Write) -> str:
    path = shlex.quote(step.path)
    return f'mkdir -p "$(dirname {path})" && printf %s {shlex.quote(step.text)} > {path}'


def _filled(schema: dict[str, Any], wanted: dict[str, str]) -> dict[str, Any]:
    """Fill a tool's own schema."""
    given: dict[str, Any] = {}
    for name, about in schema.get("properties", {}).items():
        kind = about.get("type")
        if "command" in wanted and name in COMMAND_WORDS:
            given[name] = ["bash", "-c", wanted["command"]] if kind == "array" else wanted["command"]
        elif "path" in wanted and name in PATH_WORDS:
            given[name] = wanted["path"]
        elif "text" in wanted and name in TEXT_WORDS:
            given[name] = wanted["text"]
        elif name in schema.get("required", []):
            given[name] = about["enum"][0] if about.get("enum") else _SOME.get(str(kind), "scripted")
    return given


_SOME: Mapping[str, Any] = {"boolean": False, "integer": 100_000, "number": 100_000, "array": [], "object": {}}


@dataclass(slots=True)
class ScriptedModel:
    """The running server: its address, and what it was asked."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)
    ending: threading.Event = field(default_factory=threading.Event)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    model: ScriptedModel

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 its name in the standard library
        pass

    def do_HEAD(self) -> None:
        self._json({})

    def do_GET(self) -> None:
        model = {"id": "scripted-1", "object": "model", "type": "model", "display_name": "Scripted", "created": 1}
        self._json({"object": "list", "data": [model], "models": [], "has_more": False})

    def do_POST(self) -> None:
        raw = self._body()
        path = self.path.partition("?")[0]
        if path.endswith(("count_tokens", ":countTokens")):
            self._json({"input_tokens": len(raw) // 4, "totalTokens": len(raw) // 4})
            return
        wire = wire_of(path)
        if wire is None:
            self._json({"error": {"message": f"nothing at {path}"}}, status=404)
            return
        self._answer(wire, json.loads(raw), size=len(raw))

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        parts = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, wire: str, body: dict[str, Any], *, size: int) -> None:
        request = READERS[wire](body)
        now = plan(request)
        self.server.model.asked.append(self._asked(request, now))
        step = now.step
        if isinstance(step, Hang):
            self.server.model.ending.wait()
            self.close_connection = True
            return
        if isinstance(step, Fail):
            self._fail(step)
            return
        if isinstance(step, Shell) and step.is_held:
            self.server.model.let_go.wait()
        said = TOKENS.search(request.prompt)
        tokens = Tokens(input=int(said[1]), output=int(said[2])) if said else Tokens(input=size // 4, output=20)
        is_streamed = bool(body.get("stream")) or "stream" in self.path.rpartition(":")[2]
        answer = WIRES[wire](reply_to(step, request), tokens, str(body.get("model", "scripted-1")))
        if is_streamed:
            events = list(answer.events)
            if wire == "chat" and not (body.get("stream_options") or {}).get("include_usage"):
                del events[-2]
            self._stream(events, is_cut=isinstance(step, Say) and step.is_cut)
        else:
            self._json(answer.whole)

    def _asked(self, request: Request, now: Plan) -> Asked:
        bearer = self.headers.get("authorization", "").removeprefix("Bearer ")
        results = [turn.text for turn in request.turns if turn.role == "tool"]
        return Asked(
            path=self.path,
            key=bearer or self.headers.get("x-api-key", "") or self.headers.get("x-goog-api-key", ""),
            script=now.name,
            step=now.number,
            tools=tuple(request.tools),
            prompt=request.prompt,
            last_result=results[-1] if results else "",
        )

    def _fail(self, step: Fail) -> None:
        kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
        headers = {}
        if step.retry_s is not None:
            headers = {"retry-after": str(step.retry_s), "x-ratelimit-reset-requests": f"{step.retry_s}s"}
        kind = kinds.get(step.status, "api_error")
        error = {"type": kind, "message": f"scripted error {step.status}", "code": kind}
        self._json({"type": "error", "error": error}, status=step.status, headers=headers)

    def _json(self, said: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        raw = json.dumps(said).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def _stream(self, events: list[str], *, is_cut: bool) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in events[: len(events) // 2] if is_cut else events:
            raw = event.encode()
            self.wfile.write(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")
        self.close_connection = is_cut
        if not is_cut:
            self.wfile.write(b"0\r\n\r\n")


@contextlib.contextmanager
def scripted_model(port: int = 0) -> Iterator[ScriptedModel]:
    """Serve until the end of the block."""
    server = _Server(("127.0.0.1", port), _Handler)
    server.model = ScriptedModel(url=f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.model
    finally:
        server.model.ending.set()
        server.model.let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description="a model server without a model")
    parser.add_argument("--port", type=int, default=0)
    with scripted_model(parser.parse_args().port) as model:
        sys.stdout.write(model.url + "\n")
        sys.stdout.flush()
        model.ending.wait()


if __name__ == "__main__":
    main()
