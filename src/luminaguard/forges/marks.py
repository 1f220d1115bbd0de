"""The hidden marks by which what we wrote is known again.

A mark counts only in what we ourselves wrote, as anybody may copy it into a text of theirs.
"""

import re
from hashlib import sha256

from luminaguard.model.issue import Issue

LONGEST = 65_000
"""GitHub takes 65,536 characters; the others take more."""

_BEGIN = "<!-- luminaguard:"
_MARK = re.compile(rf"{_BEGIN}[^>]{{1,120}} -->")
_FOREIGN = re.compile(rf"{_BEGIN}(?=\S)")  # with a space it is the name of an issue's copy, which goes along
_IMPORT = re.compile(rf"{_BEGIN}(import [0-9a-f]{{16}}) -->")


def marked(text: str, key: str) -> str:
    """Put the mark beneath a text, cut to what every forge takes.

    Marks in the text itself are broken: an agent's words go out in our name, and must not pass for another comment.
    """
    body = text if len(text) <= LONGEST else f"{text[:LONGEST]}\n\n(cut: it has {len(text)} characters)"
    return f"{_FOREIGN.sub('<!-- said: ', body)}\n\n{mark(key)}"


def mark(key: str) -> str:
    """Give the hidden mark of a key."""
    return f"{_BEGIN}{key} -->"


def is_marked(text: str) -> bool:
    """Tell whether a text has any mark of ours."""
    return _MARK.search(text) is not None


def report_key(title: str) -> str:
    """Give the key of a report by its title."""
    return f"report {_digest(title)[:12]}"


def comment_key(key: str) -> str:
    """Give the key of a comment that somebody else asked for: none of ours, whatever theirs is."""
    return f"comment {_digest(key)[:16]}"


def import_key(issue: Issue) -> str:
    """Give the key of an issue that is brought in from elsewhere."""
    where = issue.url or (issue.origin.path if issue.origin else "")
    said = f"{where}\n{issue.id}\n{issue.title}"
    return f"import {_digest(said)[:16]}"


def import_in(text: str) -> str:
    """Read the key of an import from a text that has its mark; "" where there is none."""
    found = _IMPORT.search(text)
    return found[1] if found else ""


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
