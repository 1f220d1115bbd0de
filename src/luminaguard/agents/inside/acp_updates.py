"""What an agent reports of its turn, as plain lines."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from acp import schema

from luminaguard.agents.inside import speech
from luminaguard.agents.inside.acp_policy import command_of, paths_of

NOT_TOLD = "Warning: Model metadata for"
ENDED = ("completed", "failed")
WORDS_KEPT = 4000


@dataclass(slots=True)
class Called:
    """A use of a tool, as far as it is known."""

    title: str = ""
    kind: str = "other"
    raw: Any = None
    paths: list[str] = field(default_factory=list)
    added: int = 0
    removed: int = 0
    is_told: bool = False

    def take(self, update: schema.ToolCallStart | schema.ToolCallProgress | schema.ToolCallUpdate) -> None:
        """Add what an update says."""
        self.title, self.kind = update.title or self.title, update.kind or self.kind
        self.raw = update.raw_input or self.raw
        diffs = [part for part in update.content or [] if isinstance(part, schema.FileEditToolCallContent)]
        named = [it.path for it in diffs] or [it.path for it in update.locations or []] or paths_of(update.raw_input)
        self.paths = named or self.paths
        if diffs:
            counts = [_counted(diff.old_text or "", diff.new_text) for diff in diffs]
            self.added, self.removed = sum(plus for plus, _ in counts), sum(minus for _, minus in counts)

    def tell(self, root: str) -> None:
        """Print it, once."""
        if self.is_told:
            return
        self.is_told = True
        shown = ", ".join(path.removeprefix(root.rstrip("/") + "/") for path in self.paths) or self.title
        if command := command_of(self.raw) or (self.title if self.kind == "execute" else ""):
            speech.command(command)
        elif self.kind in {"edit", "delete", "move", "read"}:
            counts = f" (+{self.added} -{self.removed})" if self.added or self.removed else ""
            speech.tell(f"{self.kind} {shown}{counts}")
        elif self.kind != "think":
            speech.tell(f"{'tool' if self.kind == 'other' else self.kind} {self.title}")

    @property
    def is_known(self) -> bool:
        """Tell whether there is enough to tell: it begins without its arguments, and an edit without its lines."""
        if self.kind == "execute":
            return bool(command_of(self.raw))
        return bool(self.raw or self.paths) and (self.kind != "edit" or bool(self.added or self.removed))

    @property
    def wish(self) -> str:
        """What it wants to do, for a person."""
        if command := command_of(self.raw):
            return f"run: {speech.shortened(command, 1000)}"
        return f"{self.kind}: {', '.join(self.paths) or self.title}"


def _counted(old: str, new: str) -> tuple[int, int]:
    before, after = Counter(old.splitlines()), Counter(new.splitlines())
    return (after - before).total(), (before - after).total()


class Updates:
    """Follows one session. `exhausted` is set when more tools were used than allowed; `words` are the last ones."""

    def __init__(self, *, root: str, most: int) -> None:
        self._root, self._most = root, most
        self._calls: dict[str, Called] = {}
        self._message: str | None = None
        self._usage: schema.UsageUpdate | None = None
        self.exhausted = asyncio.Event()
        self.is_silent = False
        self.words = ""

    def called(self, update: schema.ToolCallStart | schema.ToolCallProgress | schema.ToolCallUpdate) -> Called:
        """Give what is known of a use of a tool, with what an update adds."""
        if update.tool_call_id not in self._calls:
            self.words = ""
        call = self._calls.setdefault(update.tool_call_id, Called())
        call.take(update)
        if len(self._calls) > self._most:
            self.exhausted.set()
        return call

    def take(self, update: object) -> None:
        """Tell an update."""
        if self.is_silent:
            return
        if isinstance(update, schema.AgentMessageChunk):
            self._say(update)
        elif isinstance(update, schema.ToolCallStart | schema.ToolCallProgress):
            self._tool(update)
        elif isinstance(update, schema.AgentPlanUpdate):
            speech.plan([(entry.content, entry.status) for entry in update.entries])
        elif isinstance(update, schema.UsageUpdate):
            self._usage = update

    def _say(self, update: schema.AgentMessageChunk) -> None:
        text = update.content.text if isinstance(update.content, schema.TextContentBlock) else ""
        if text.startswith(NOT_TOLD):
            return
        if update.message_id != self._message:
            self._message = update.message_id
            speech.end_line()
            self.words += "\n"
        self.words = (self.words + text)[-WORDS_KEPT:]
        speech.say(text)

    def _tool(self, update: schema.ToolCallStart | schema.ToolCallProgress) -> None:
        call = self.called(update)
        if call.is_known or update.status in ENDED:
            call.tell(self._root)
        if update.status == "failed":
            speech.tell(f"failed: {' '.join(_texts(update))[:500] or call.title}")

    def end(self, usage: schema.Usage | None) -> None:
        """Tell what the turn has used."""
        cost = self._usage.cost if self._usage else None
        if usage is not None:
            tokens_in = usage.total_tokens - usage.output_tokens
            speech.usage(tokens_in=tokens_in, tokens_out=usage.output_tokens, usd=cost.amount if cost else None)
        elif self._usage is not None:
            speech.tell(f"usage: {self._usage.used} of {self._usage.size} tokens of context")


def _texts(update: schema.ToolCallStart | schema.ToolCallProgress) -> Iterator[str]:
    for part in update.content or []:
        if isinstance(part, schema.ContentToolCallContent) and isinstance(part.content, schema.TextContentBlock):
            yield part.content.text
