"""An issue as the tracker stores it: one JSON document, and the digests that tell whether it changed."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Issue, IssueState, Kind, Origin

_TICK = re.compile(r"^(\s*[-*+] \[)[xX](\])", re.MULTILINE)
_EMPTY = r"\1 \2"
_SAID = tuple(field.name for field in fields(Issue) if field.name not in ("id", "state", "origin"))
"""What a document holds; the rest has columns of its own."""


def document_of(issue: Issue) -> str:
    """Write down what is said of an issue."""
    return json.dumps({name: _written(getattr(issue, name)) for name in _SAID}, ensure_ascii=False)


def origin_of(issue: Issue) -> str | None:
    """Write down where an issue was read."""
    return None if issue.origin is None else json.dumps([issue.origin.path, issue.origin.line])


def issue_from(issue: str, state: str, document: str, origin: str | None) -> Issue:
    """Read an issue that `document_of` and `origin_of` wrote."""
    keys: dict[str, Any] = json.loads(document)
    for key in ("labels", "needs", "blocks", "touches"):
        keys[key] = tuple(keys[key])
    keys["kind"] = keys["kind"] and Kind(keys["kind"])
    if origin is not None:
        path, line = json.loads(origin)
        keys["origin"] = Origin(path=path, line=line)
    return Issue(id=IssueId(issue), state=IssueState(state), **keys)


def digest_of(text: str) -> str:
    """Give a short text that tells long ones apart."""
    return hashlib.sha256(text.encode()).hexdigest()


def asked(issue: Issue) -> str:
    """Give the words that say what is asked, whichever of its boxes are ticked."""
    return f"{issue.title}\n{_TICK.sub(_EMPTY, issue.body)}"


def _written(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else value
