"""The two wires that the built-in agent speaks: OpenAI-compatible Chat Completions, and Anthropic Messages."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from luminaguard.agents.inside.builtin_tools import Tool
from luminaguard.agents.inside.task import EndedError

ANSWER_TOKENS = 16_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The model wants to use a tool. `arguments` None: what it gave is no JSON object."""

    id: str
    name: str
    arguments: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One answer of the model. `raw` goes back to it as it came."""

    text: str
    calls: tuple[Call, ...]
    raw: Any
    tokens_in: int = 0
    tokens_out: int = 0
    is_cut: bool = False
    is_refusal: bool = False


@dataclass(slots=True, kw_only=True)
class Asked:
    """Words of ours or of a person."""

    text: str


@dataclass(slots=True, kw_only=True)
class Result:
    """What a tool gave; `text` is shortened when the context gets too long."""

    id: str
    text: str


Message = Asked | Said | Result


class Wire(Protocol):
    """How one API says all this."""

    path: str
    headers: Mapping[str, str]

    def body(self, model: str, system: str, messages: Sequence[Message], tools: Sequence[Tool]) -> dict[str, Any]:
        """Write a request."""

    def read(self, answer: Any) -> Said:
        """Read an answer.

        Raises:
            EndedError: it is none of this API's.
        """


class Chat:
    """Chat Completions, as OpenAI, ollama, vLLM, OpenRouter and LiteLLM speak it."""

    path = "/v1/chat/completions"
    headers: Mapping[str, str] = {}

    def body(self, model: str, system: str, messages: Sequence[Message], tools: Sequence[Tool]) -> dict[str, Any]:
        """Write a request."""
        functions = [
            {"type": "function", "function": {"name": it.name, "description": it.about, "parameters": it.schema}}
            for it in tools
        ]
        said = [{"role": "system", "content": system}, *map(self._message, messages)]
        return {"model": model, "messages": said, "tools": functions}

    def _message(self, message: Message) -> Any:
        if isinstance(message, Said):
            return message.raw
        if isinstance(message, Result):
            return {"role": "tool", "tool_call_id": message.id, "content": message.text}
        return {"role": "user", "content": message.text}

    def read(self, answer: Any) -> Said:
        """Read an answer."""
        try:
            choice = answer["choices"][0]
            message = choice["message"]
            calls = message.get("tool_calls") or []
            read = tuple(_called(it["id"], it["function"]["name"], it["function"]["arguments"]) for it in calls)
        except (KeyError, IndexError, TypeError, AttributeError):
            raise EndedError(_no_answer(answer)) from None
        usage = answer.get("usage") or {}
        why = choice.get("finish_reason")
        text = _plain(message.get("content")) or ""
        raw = {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}
        return Said(
            text=text,
            calls=read,
            raw=raw,
            tokens_in=usage.get("prompt_tokens") or 0,
            tokens_out=usage.get("completion_tokens") or 0,
            is_cut=why == "length",
            is_refusal=why == "content_filter" or bool(message.get("refusal")),
        )


class Messages:
    """Anthropic Messages."""

    path = "/v1/messages"
    headers: Mapping[str, str] = {"anthropic-version": "2023-06-01"}

    def body(self, model: str, system: str, messages: Sequence[Message], tools: Sequence[Tool]) -> dict[str, Any]:
        """Write a request. What was sent before is marked for the cache: it is nine tenths of the price."""
        turns = _joined(messages)
        turns[-1]["content"][-1] = {**turns[-1]["content"][-1], "cache_control": _CACHED}
        return {
            "model": model,
            "max_tokens": ANSWER_TOKENS,
            "system": [{"type": "text", "text": system, "cache_control": _CACHED}],
            "messages": turns,
            "tools": [{"name": it.name, "description": it.about, "input_schema": it.schema} for it in tools],
        }

    def read(self, answer: Any) -> Said:
        """Read an answer."""
        try:
            blocks = [block for block in answer["content"] if block["type"]]
            calls = tuple(_called(it["id"], it["name"], it["input"]) for it in blocks if it["type"] == "tool_use")
            text = "".join(it["text"] for it in blocks if it["type"] == "text")
        except (KeyError, TypeError):
            raise EndedError(_no_answer(answer)) from None
        usage = answer.get("usage") or {}
        cached = (usage.get("cache_read_input_tokens") or 0) + (usage.get("cache_creation_input_tokens") or 0)
        return Said(
            text=text,
            calls=calls,
            raw=blocks,
            tokens_in=(usage.get("input_tokens") or 0) + cached,
            tokens_out=usage.get("output_tokens") or 0,
            is_cut=answer.get("stop_reason") in {"max_tokens", "pause_turn"},
            is_refusal=answer.get("stop_reason") == "refusal",
        )


_CACHED = {"type": "ephemeral"}


def _joined(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Put messages of one side that follow each other into one turn, as the API wants it."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        if isinstance(message, Said):
            # An empty answer may not be sent back.
            turns.append({"role": "assistant", "content": message.raw or [{"type": "text", "text": "(nothing)"}]})
            continue
        if isinstance(message, Result):
            block = {"type": "tool_result", "tool_use_id": message.id, "content": message.text}
        else:
            block = {"type": "text", "text": message.text}
        if not turns or turns[-1]["role"] != "user":
            turns.append({"role": "user", "content": []})
        turns[-1]["content"].append(block)
    return turns


def _called(id_: object, name: object, given: object) -> Call:
    if isinstance(given, str):
        try:
            given = json.loads(given or "{}")
        except ValueError:
            given = None
    return Call(id=str(id_), name=str(name), arguments=given if isinstance(given, dict) else None)


def _plain(content: object) -> str | None:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else None


def _no_answer(answer: object) -> str:
    return f"the model's answer cannot be read: {json.dumps(answer)[:300]}"


WIRES: Mapping[str, Wire] = {"openai": Chat(), "anthropic": Messages()}
