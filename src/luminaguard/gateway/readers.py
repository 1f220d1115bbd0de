"""Reads from an answer as it passes what the call used: no byte of it is changed or held back here. Pure.

Each event of a stream is one line of JSON behind "data:", as all providers send it. Only lines that speak of usage are
parsed; of the others the text is measured, to tell what went by if a stream is cut before it says.
"""

import json
import re
from typing import Literal, Protocol

from luminaguard.gateway.counting import Usage
from luminaguard.model.ids import Json

Wire = Literal["messages", "responses", "chat", "generate"]
"""What a call speaks: Anthropic Messages, OpenAI Responses, OpenAI Chat Completions, Gemini."""
BYTES_PER_TOKEN = 4
LONGEST_LINE = 16 * 1024 * 1024
LARGEST_BODY = 32 * 1024 * 1024
MOST_TOKENS = 10**12
TEXT = re.compile(
    rb'"(?:text|delta|content|thinking|partial_json|arguments|input|reasoning|reasoning_content)" ?: ?'
    rb'"((?:[^"\\]|\\.)*+)"'
)
REPEATED = b'.done"'
"""Marks the events of OpenAI Responses that say once more, as a whole, what has passed in pieces."""
NO_USAGE = re.compile(rb'"usage" ?: ?null')


class Tally:
    """What an answer has said so far. `complete`: it has said all that it will."""

    __slots__ = ("_wire", "complete", "counts", "model", "passed")

    def __init__(self, wire: Wire) -> None:
        self._wire: Wire = wire
        self.complete = False
        self.model = ""
        self.counts: dict[str, int] = {}
        self.passed = 0

    def usage(self, *, input_guess: int) -> Usage:
        """Give the usage; what the answer has not said is guessed from what went in and what passed."""
        counts = self.counts
        output = counts.get("output", 0)
        if not self.complete:
            output = max(output, -(-self.passed // BYTES_PER_TOKEN))
        return Usage(
            input=counts.get("input", input_guess),
            cached=counts.get("cached", 0),
            written=counts.get("written", 0),
            written_1h=counts.get("written_1h", 0),
            output=output,
        )

    def see(self, said: Json) -> None:
        """Take in one event, or a whole body."""
        if isinstance(said, list):  # Gemini streams without `alt=sse` are one array
            for one in said:
                self.see(one)
        if not isinstance(said, dict):
            return
        if self._wire == "messages":
            self._see_messages(said)
        elif self._wire == "responses":
            self._see_responses(said)
        elif self._wire == "chat":
            self._see_chat(said)
        else:
            self._see_generate(said)

    def _see_messages(self, said: dict[str, Json]) -> None:
        inner = said.get("message")
        message = inner if isinstance(inner, dict) else said
        self._name(message.get("model"))
        usage = message.get("usage")
        if isinstance(usage, dict):
            self._take_messages(usage)
            self.complete = self.complete or said.get("type") in ("message_delta", "message")

    def _take_messages(self, usage: dict[str, Json]) -> None:
        # Each field on its own: the last event repeats some of the first and leaves out others.
        self._take("fresh", usage, "input_tokens")
        self._take("cached", usage, "cache_read_input_tokens")
        self._take("kept", usage, "cache_creation_input_tokens")
        self._take("output", usage, "output_tokens")
        kept = usage.get("cache_creation")
        if isinstance(kept, dict):
            self._take("written_1h", kept, "ephemeral_1h_input_tokens")
        counts = self.counts
        counts["written"] = max(0, counts.get("kept", 0) - counts.get("written_1h", 0))
        counts["input"] = counts.get("fresh", 0) + counts.get("cached", 0) + counts.get("kept", 0)

    def _see_responses(self, said: dict[str, Json]) -> None:
        inner = said.get("response")
        response = inner if isinstance(inner, dict) else said
        self._name(response.get("model"))
        usage = response.get("usage")
        if isinstance(usage, dict):
            self._take("input", usage, "input_tokens")
            self._take("output", usage, "output_tokens")
            self._take_details(usage.get("input_tokens_details"))
            self.complete = True

    def _see_chat(self, said: dict[str, Json]) -> None:
        self._name(said.get("model"))
        usage = said.get("usage")
        if isinstance(usage, dict):
            self._take("input", usage, "prompt_tokens")
            self._take("output", usage, "completion_tokens")
            self._take("cached", usage, "prompt_cache_hit_tokens")
            self._take_details(usage.get("prompt_tokens_details"))
            # Some servers count along in each event; what settles it comes last, without choices or with an end.
            self.complete = not _goes_on(said.get("choices"))

    def _take_details(self, details: Json) -> None:
        if isinstance(details, dict):
            self._take("cached", details, "cached_tokens")
            self._take("written", details, "cache_write_tokens")

    def _see_generate(self, said: dict[str, Json]) -> None:
        self._name(said.get("modelVersion"))
        usage = said.get("usageMetadata")
        if isinstance(usage, dict):
            for name, key in (
                ("prompt", "promptTokenCount"),
                ("tools", "toolUsePromptTokenCount"),
                ("cached", "cachedContentTokenCount"),
                ("said", "candidatesTokenCount"),
                ("thought", "thoughtsTokenCount"),
            ):
                self._take(name, usage, key)
            counts = self.counts
            counts["input"] = counts.get("prompt", 0) + counts.get("tools", 0)
            counts["output"] = counts.get("said", 0) + counts.get("thought", 0)
            self.complete = self.complete or _has_ended(said)

    def _name(self, model: Json) -> None:
        if isinstance(model, str) and model:
            self.model = model[:200]

    def _take(self, name: str, usage: dict[str, Json], key: str) -> None:
        value = usage.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS:
            self.counts[name] = value


def _goes_on(choices: Json) -> bool:
    """Tell whether a chat event has choices of which none has ended."""
    if not isinstance(choices, list) or not choices:
        return False
    return not any(isinstance(choice, dict) and choice.get("finish_reason") for choice in choices)


def _has_ended(said: dict[str, Json]) -> bool:
    candidates = said.get("candidates")
    if not isinstance(candidates, list) or not candidates:
        return True  # nothing came of it: the prompt was blocked
    return any(isinstance(candidate, dict) and candidate.get("finishReason") for candidate in candidates)


class Reader(Protocol):
    """Something that an answer is shown to, piece by piece."""

    tally: Tally

    def feed(self, chunk: bytes) -> None:
        """Take in the next piece."""

    def end(self) -> None:
        """Take in that there is no more."""


class EventReader:
    """Reads a stream of server-sent events, however it was cut into pieces."""

    __slots__ = ("_rest", "tally")

    def __init__(self, wire: Wire) -> None:
        self.tally = Tally(wire)
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Take in the next piece."""
        end = chunk.rfind(b"\n") + 1
        if not end:
            self._keep(chunk)
            return
        lines = bytes(self._rest) + chunk[:end] if self._rest else chunk[:end]
        self._rest.clear()
        self._keep(chunk[end:])
        self._see(lines)

    def _keep(self, part: bytes) -> None:
        # A line that never ends must not cost memory without end: what is longer is not read.
        if len(self._rest) + len(part) <= LONGEST_LINE:
            self._rest += part

    def end(self) -> None:
        """Take in the last line where nothing ended it."""
        self._see(bytes(self._rest))
        self._rest.clear()

    def _see(self, lines: bytes) -> None:
        tally = self.tally
        if REPEATED not in lines:
            tally.passed += sum(map(len, TEXT.findall(lines)))
        else:
            kept = (line for line in lines.split(b"\n") if REPEATED not in line)
            tally.passed += sum(len(text) for line in kept for text in TEXT.findall(line))
        if b"usage" not in lines:
            return
        for line in lines.split(b"\n"):
            if b"usage" in line and line.startswith(b"data:") and NO_USAGE.search(line) is None:
                said = _parsed(line[5:])
                if said is not None:
                    tally.see(said)


class BodyReader:
    """Reads an answer that is one JSON text."""

    __slots__ = ("_parts", "_room", "tally")

    def __init__(self, wire: Wire) -> None:
        self.tally = Tally(wire)
        self._parts: list[bytes] = []
        self._room = LARGEST_BODY

    def feed(self, chunk: bytes) -> None:
        """Take in the next piece."""
        self.tally.passed += len(chunk)
        self._room -= len(chunk)
        if self._room >= 0:
            self._parts.append(chunk)
        else:
            self._parts.clear()

    def end(self) -> None:
        """Read what has come in."""
        said = _parsed(b"".join(self._parts))
        self._parts.clear()
        if said is not None:
            self.tally.see(said)
            self.tally.complete = self.tally.complete or bool(self.tally.counts)


def _parsed(text: bytes) -> Json:
    try:
        said: Json = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return said
