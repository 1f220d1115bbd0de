"""An issue's text as lines: the section that each stands in, and whether it is code or a quotation."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LONGEST = 4_000
"""Characters of a line that are read: what people write is shorter, and patterns must not meet a megabyte."""

_HEADING = re.compile(r" {0,3}#{1,6}\s+(\S.*)$")
_BOLD = re.compile(r"\s*(\*\*|__)(\S.{0,60}?)\1\s*:?\s*$")
_COLON = re.compile(r"\s*([A-Z][\w /&'-]{1,40}):\s*$")
_LABEL = re.compile(r"\s*(?:[-*+]\s+)?(?:\*\*|__)?([A-Za-z][A-Za-z /&-]{1,30})(?:\*\*|__)?\s*:(?:\*\*|__)?\s+\S")
_LISTED = re.compile(r"\s*(?:[-*+]|\d+[.)])\s|\s{2,}\S")
_FENCE = re.compile(r"\s*(?:(?:[-*+]|\d+[.)])\s+)?(`{3,}(?=[^`]*$)|~{3,})")
_INLINE = re.compile(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)")
_COMMENT = re.compile(r"<!--.*?-->")
_STRUCK = re.compile(r"~~.+?~~")
_NOT_WORDS = re.compile(r"[^a-z0-9 /&-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line that is not blank. `section` is its heading and `label` its "Label:", both in plain lower case."""

    text: str
    section: str = ""
    label: str = ""
    code: bool = False
    quoted: bool = False


def read(body: str) -> tuple[Line, ...]:
    """Cut a text into its lines. HTML comments are gone; headings are lines of no section.

    A bold line or a line that ends in a colon is a heading too; its section ends where the list below it does.
    """
    lines: list[Line] = []
    chapter, section, gap = "", "", False
    for text, code in _uncommented(body):
        if code:
            lines.append(Line(text=text, section=section, code=True))
            continue
        if not text.strip():
            gap = True
            continue
        start = text.lstrip()[0]
        if start == "#" and (heading := _HEADING.match(text)):
            chapter = section = _plain(heading[1])
            lines.append(Line(text=heading[1].rstrip(" #")))
        elif title := _title(text, start):
            section = _plain(title[title.lastindex or 0])
            lines.append(Line(text=text))
        else:
            if gap and section != chapter and lines[-1].section == section and not _LISTED.match(text):
                section = chapter
            lines.append(Line(text=text, section=section, label=_label(text), quoted=start == ">"))
        gap = False
    return tuple(lines)


def without_code(text: str) -> str:
    """Blank code spans and struck-out words."""
    if "`" in text:
        text = _INLINE.sub(lambda span: " " * len(span[0]), text)
    return _STRUCK.sub(lambda span: " " * len(span[0]), text) if "~~" in text else text


def one_line(text: str, *, limit: int = 120) -> str:
    """Make text that anybody may have written fit to be quoted: one line, nothing unprintable, not endless."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    clean = " ".join(text.split())
    return clean if len(clean) <= limit else clean[: limit - 1].rstrip() + "…"


def _title(text: str, start: str) -> re.Match[str] | None:
    if start in "*_":
        return _BOLD.match(text)
    return _COLON.match(text) if text.rstrip().endswith(":") else None


def _plain(title: str) -> str:
    return " ".join(_NOT_WORDS.sub(" ", title.lower()).split())


def _label(text: str) -> str:
    if ":" not in text[:50]:
        return ""
    found = _LABEL.match(text)
    return _plain(found[1]) if found else ""


def _uncommented(body: str) -> Iterator[tuple[str, bool]]:
    """Yield each line and whether it is fenced code."""
    fence, comment = "", False
    for line in body.splitlines():
        text = line[:_LONGEST]
        if fence:
            mark = text.strip()
            closes = mark.startswith(fence) and not mark.strip(fence[0])
            fence = "" if closes else fence
            yield text, True
            continue
        if comment:
            _, closed, text = text.partition("-->")
            if not closed:
                continue
        comment = False
        if "<!--" in text and "<!--" in without_code(text):
            text, opened, _ = _COMMENT.sub(" ", text).partition("<!--")
            comment = bool(opened)
        if ("`" in text or "~" in text) and (opening := _FENCE.match(text)):
            fence = opening[1]
            yield "", True
            continue
        yield text, False
