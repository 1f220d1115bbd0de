"""Records of calls, on request: a file of JSON lines for each attempt, keys taken out."""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from luminaguard.gateway.base import Pass
from luminaguard.gateway.book import Cost
from luminaguard.gateway.keys import without_keys

MOST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call as it was."""

    who: Pass
    provider: str
    path: str
    began: float
    ended: float
    status: int
    request: bytes
    answer: bytes
    cost: Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcripts:
    """A folder with a file for each attempt; `keys` are all that must not be in them."""

    folder: Path
    keys: tuple[bytes, ...]

    def add(self, call: Call, *, dummy: str) -> None:
        """Append a call."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys = (*self.keys, dummy.encode())
        line = {
            "time": call.began,
            "seconds": round(call.ended - call.began, 3),
            "provider": call.provider,
            "path": call.path,
            "status": call.status,
            "model": call.cost.model,
            "input_tokens": call.cost.usage.input,
            "cached_tokens": call.cost.usage.cached,
            "output_tokens": call.cost.usage.output,
            "usd": call.cost.usd if call.cost.priced else None,
            "estimated": call.cost.estimated,
            "request": without_keys(call.request[:MOST_BYTES], keys).decode(errors="replace"),
            "answer": without_keys(call.answer[:MOST_BYTES], keys).decode(errors="replace"),
        }
        fd = os.open(self.folder / name_of(call.who), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "ab") as file:
            file.write(json.dumps(line).encode() + b"\n")


def name_of(who: Pass) -> str:
    """Name an attempt's file: "RUN-issue-12-2-work.jsonl"."""
    name = f"{who.run}-issue-{who.issue}-{who.attempt}-{who.role}"
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:120].lstrip(".")
    # Two issues must not share a file because their ids differ in what a file name cannot hold.
    return f"{plain}.jsonl" if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.jsonl"
