"""Names that tell one string from another."""

from typing import NewType, TypeAlias, Union

IssueId = NewType("IssueId", str)
"""An issue's id as its tracker spells it, without a leading '#': "154", "BACK-12", "quarry-42q8.4"."""

Oid = NewType("Oid", str)
"""A git object id: 40 (SHA-1) or 64 (SHA-256) hex digits."""

RunId = NewType("RunId", str)
"""One run over a backlog: "20261121-211403-5f3a"; sorts by its start."""

# A PEP 695 alias needs Python 3.12.
Json: TypeAlias = Union[bool, int, float, str, "list[Json]", "dict[str, Json]", None]
"""What JSON can say."""


def natural(issue: str) -> tuple[tuple[int, int, str], ...]:
    """Give the key that sorts ids as people count: "9" before "10", "x-2" before "x-10"."""
    parts: list[tuple[int, int, str]] = []
    digits, text = "", ""
    for char in issue:
        if char.isascii() and char.isdigit():
            if text:
                parts.append((1, 0, text))
                text = ""
            digits += char
            continue
        if digits:
            parts.append((0, int(digits), digits))
            digits = ""
        text += char
    if digits:
        parts.append((0, int(digits), digits))
    if text:
        parts.append((1, 0, text))
    return tuple(parts)
