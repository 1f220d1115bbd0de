"""Untrusted text for Markdown: it shows as it is written and changes nothing around it."""

import re
from collections.abc import Sequence

from luminaguard.model.work import FileChange
from luminaguard.reports.wording import plain

_SPECIAL = re.compile(r"([\\`*_\[\]|~])")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# At the beginning of a line these make headings, lists and rules.
_LEADING = re.compile(r"^(\d+(?=[.)])|(?=[+=#-]))([.)+=-]|#(?=#*(?:\s|$)))")
# A forge that shows the text calls people by these and writes into issues that are named; backslashes do not stop it.
_CALLING = re.compile(
    r"@(?=\w)|#(?=\d)|\bGH-(?=\d)|:(?=//\S+/(?:issues|pulls?|merge_requests|work_items|discussions)/\d)", re.IGNORECASE
)
_NOTHING_SEEN = "&#8203;"
_CODE = re.compile(r"(?<!`)`([^`|\\]+)`(?!`)")


def markdown(text: str) -> str:
    """Escape one line of text for anywhere in Markdown, table cells too; on a forge it calls nobody and no issue."""
    return _LEADING.sub(r"\1\\\2", _escaped(plain(text)))


def prose(text: str) -> str:
    """Escape as `markdown` does, but keep what its writer set as code."""
    parts = _CODE.split(plain(text))
    line = "".join(f"`{part}`" if place % 2 else _escaped(part) for place, part in enumerate(parts))
    return _LEADING.sub(r"\1\\\2", line)


def _escaped(line: str) -> str:
    inert = _CALLING.sub(rf"\g<0>{_NOTHING_SEEN}", "".join(_HTML.get(char, char) for char in line))
    return _SPECIAL.sub(r"\\\1", inert)


def uncalled(text: str) -> str:
    """Break what calls people and issues on a forge, with a character that nobody sees; the rest stays Markdown."""
    return _CALLING.sub("\\g<0>\u200b", text)


def code(text: str) -> str:
    """Set one line of text as code; what code cannot hold safely in a table is escaped as text."""
    line = plain(text)
    if not line or any(char in line for char in "`\\|"):
        return markdown(line)
    return f"`{line}`"


def counts_text(file: FileChange) -> str:
    """Give the lines of one file: "+41 -0"."""
    return f"+{file.added} -{file.removed}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a Markdown table. The cells must be escaped already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
