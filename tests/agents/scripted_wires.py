"""How a reply looks on the wire of each API, at once and as a stream of events."""

import itertools
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Use a tool."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Custom:
    """Use a tool that takes free text (OpenAI Responses only)."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """Say something, and end the turn."""

    text: str
    is_refusal: bool = False
    is_cut: bool = False


Reply = Call | Custom | Say


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What a reply is said to have cost."""

    input: int
    output: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A reply on one wire: the whole body, and the server-sent events of the stream."""

    whole: dict[str, Any]
    events: Iterator[str]


def wire_of(path: str) -> str | None:
    """Tell the API by the path."""
    if path.endswith("/messages"):
        return "anthropic"
    if path.endswith("/responses"):
        return "responses"
    if path.endswith("/chat/completions"):
        return "chat"
    return "gemini" if re.search(r":(generateContent|streamGenerateContent)$", path) else None


def _id(kind: str) -> str:
    return f"{kind}_{time.time_ns()}{next(_NUMBERS)}"


def _event(said: dict[str, Any], *, name: str | None = None) -> str:
    return (f"event: {name}\n" if name else "") + f"data: {json.dumps(said)}\n\n"


def _pieces(text: str) -> list[str]:
    size = max(8, len(text) // 10)
    return [text[at : at + size] for at in range(0, len(text), size)] or [""]


def anthropic(reply: Reply, tokens: Tokens, model: str) -> Answer:
    if isinstance(reply, Say):
        block: dict[str, Any] = {"type": "text", "text": reply.text}
        empty, stop = {**block, "text": ""}, "refusal" if reply.is_refusal else "end_turn"
        deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(reply.text)]
    else:
        assert isinstance(reply, Call)
        block = {"type": "tool_use", "id": _id("toolu"), "name": reply.name, "input": reply.arguments}
        empty, stop = {**block, "input": {}}, "tool_use"
        deltas = [{"type": "input_json_delta", "partial_json": it} for it in _pieces(json.dumps(reply.arguments))]
    usage = {"input_tokens": tokens.input, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    begin = {"id": _id("msg"), "type": "message", "role": "assistant", "model": model, "stop_sequence": None}
    whole = {**begin, "content": [block], "stop_reason": stop, "usage": {**usage, "output_tokens": tokens.output}}
    started: dict[str, Any] = {**begin, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": started},
        {"type": "content_block_start", "index": 0, "content_block": empty},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop, "stop_sequence": None},
            "usage": {"output_tokens": tokens.output},
        },
        {"type": "message_stop"},
    ]
    return Answer(whole=whole, events=(_event(event, name=str(event["type"])) for event in events))


def responses(reply: Reply, tokens: Tokens, model: str) -> Answer:
    item = _item(reply)
    usage = {
        "input_tokens": tokens.input,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tokens.input + tokens.output,
    }
    begin = {"id": _id("resp"), "object": "response", "created_at": int(time.time()), "model": model, "error": None}
    is_refusal = isinstance(reply, Say) and reply.is_refusal
    end = {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}} if is_refusal else {}
    whole = {**begin, "status": "completed", "output": [item], "usage": usage, **end}
    first = {"type": "response.created", "response": {**begin, "status": "in_progress", "output": []}}
    last = {"type": "response.incomplete" if is_refusal else "response.completed", "response": whole}
    events = [first, *_item_events(item), last]
    numbered = ({**event, "sequence_number": number} for number, event in enumerate(events))
    return Answer(whole=whole, events=(_event(event, name=str(event["type"])) for event in numbered))


def _item(reply: Reply) -> dict[str, Any]:
    if isinstance(reply, Call):
        called = {"call_id": _id("call"), "name": reply.name, "arguments": json.dumps(reply.arguments)}
        return {"id": _id("fc"), "type": "function_call", "status": "completed", **called}
    if isinstance(reply, Custom):
        called = {"call_id": _id("call"), "name": reply.name, "input": reply.text}
        return {"id": _id("ctc"), "type": "custom_tool_call", "status": "completed", **called}
    content = [{"type": "output_text", "text": reply.text, "annotations": []}]
    return {"id": _id("msg"), "type": "message", "status": "completed", "role": "assistant", "content": content}


def _item_events(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    about = {"item_id": item["id"], "output_index": 0}
    bare: dict[str, dict[str, Any]] = {
        "message": {"content": []},
        "function_call": {"arguments": ""},
        "custom_tool_call": {"input": ""},
    }
    started = {**item, "status": "in_progress", **bare[item["type"]]}
    yield {"type": "response.output_item.added", "output_index": 0, "item": started}
    if item["type"] == "message":
        text = item["content"][0]["text"]
        part = {"type": "output_text", "text": "", "annotations": []}
        yield {"type": "response.content_part.added", **about, "content_index": 0, "part": part}
        for piece in _pieces(text):
            yield {"type": "response.output_text.delta", **about, "content_index": 0, "delta": piece}
        yield {"type": "response.output_text.done", **about, "content_index": 0, "text": text}
        yield {"type": "response.content_part.done", **about, "content_index": 0, "part": item["content"][0]}
    elif item["type"] == "function_call":
        yield {"type": "response.function_call_arguments.delta", **about, "delta": item["arguments"]}
        yield {"type": "response.function_call_arguments.done", **about, "arguments": item["arguments"]}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}


def chat(reply: Reply, tokens: Tokens, model: str) -> Answer:
    begin = {"id": _id("chatcmpl"), "created": int(time.time()), "model": model}
    usage = {
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
    }
    message: dict[str, Any]
    if isinstance(reply, Say):
        message, why = {"role": "assistant", "content": reply.text}, "content_filter" if reply.is_refusal else "stop"
        deltas: list[dict[str, Any]] = [{"content": piece} for piece in _pieces(reply.text)]
    else:
        assert isinstance(reply, Call)
        function = {"name": reply.name, "arguments": json.dumps(reply.arguments)}
        call = {"id": _id("call"), "type": "function", "function": function}
        message, why = {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
        deltas = [{"tool_calls": [{**call, "index": 0}]}]

    def chunk(delta: dict[str, Any], *, ended: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": ended}
        return _event({**begin, "object": "chat.completion.chunk", "choices": [choice]})

    def events() -> Iterator[str]:
        yield chunk({"role": "assistant", "content": "" if isinstance(reply, Say) else None})
        yield from map(chunk, deltas)
        yield chunk({}, ended=why)
        yield _event({**begin, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        yield "data: [DONE]\n\n"

    choice = {"index": 0, "message": message, "finish_reason": why, "logprobs": None}
    return Answer(whole={**begin, "object": "chat.completion", "choices": [choice], "usage": usage}, events=events())


def gemini(reply: Reply, tokens: Tokens, model: str) -> Answer:
    if isinstance(reply, Say):
        part: dict[str, Any] = {"text": reply.text}
        why = "SAFETY" if reply.is_refusal else "STOP"
    else:
        assert isinstance(reply, Call)
        part, why = {"functionCall": {"name": reply.name, "args": reply.arguments}}, "STOP"
    usage = {
        "promptTokenCount": tokens.input,
        "candidatesTokenCount": tokens.output,
        "totalTokenCount": tokens.input + tokens.output,
    }
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": why, "index": 0}
    whole = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model, "responseId": _id("r")}
    return Answer(whole=whole, events=iter([_event(whole)]))


WIRES: Mapping[str, Callable[[Reply, Tokens, str], Answer]] = {
    "anthropic": anthropic,
    "responses": responses,
    "chat": chat,
    "gemini": gemini,
}
