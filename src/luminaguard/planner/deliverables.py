"""What an issue must deliver, in its own words: the checklist of its attempt."""

import re
from collections.abc import Iterable, Iterator

from luminaguard.model.plan import Touch
from luminaguard.planner.prose import Line, one_line

_BOX = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+\[(?P<mark>[ xX])\]\s+(?P<rest>\S.*)$")
_ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+(?P<rest>\S.*)$")
_NUMBER = re.compile(r"(?:#\d+|\(?\d+[.)])\s+(?=\S)")
_REFERENCE = re.compile(
    r"[\s\[(*]*(?:[\w.-]+/[\w.-]+)?(?:#\d+|https?://\S+/(?:issues|pull)/\d+|[A-Za-z][\w]*-\d+(?:\.\d+)*)[\s\])*]*$"
)
_LABELLED = re.compile(r"[^:]*:[\s*_]*(?P<rest>\S.*)$")
_PROMISES = frozenset({"deliverable", "deliverables"})
_CRITERIA = ("acceptance", "definition of done", "done when", "success criteria")
_MOST = 12


def deliverables_of(lines: Iterable[Line], touches: Iterable[Touch]) -> tuple[str, ...]:
    """List at most 12 things that must be there in the end: what is promised, what is to be ticked, declared files.

    Args:
        lines: the issue's text.
        touches: its predicted files; only declared ones are promises.
    """
    found: dict[str, None] = {}
    for text in _promised(lines):
        if not _REFERENCE.match(text):
            found.setdefault(one_line(text, limit=160))
    for touch in touches:
        if touch.source == "declared" and not any(touch.path in text for text in found):
            found.setdefault(one_line(touch.path, limit=160))
    return tuple(found)[:_MOST]


def _promised(lines: Iterable[Line]) -> Iterator[str]:
    for line in lines:
        if line.code or line.quoted:
            continue
        if "] " in line.text and (box := _BOX.match(line.text)):
            if box["mark"] == " ":
                yield _NUMBER.sub("", box["rest"], count=1) if _NUMBER.match(box["rest"]) else box["rest"]
        elif line.label in _PROMISES and (rest := _LABELLED.match(line.text)):
            yield rest["rest"]
        elif (line.section in _PROMISES or line.section.startswith(_CRITERIA)) and (item := _ITEM.match(line.text)):
            yield item["rest"]
