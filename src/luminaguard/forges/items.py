"""What an issue tells of itself alike on every forge."""

import re

from luminaguard.forges.answers import at, number_at, text_at
from luminaguard.forges.words import priority_of
from luminaguard.model.ids import Json

_PRIORITY = re.compile(r"(?:prio(?:rity)?\s*[-:/ ]+\s*)(.+)|([pP][0-4])(?:\b.*)?", re.IGNORECASE)


def is_issue(item: Json) -> bool:
    """Tell an issue from a pull request, which the same list holds on GitHub and Gitea."""
    return number_at(item, "number") > 0 and not isinstance(at(item, "pull_request"), dict)


def is_closed(item: Json) -> bool:
    """Tell of an issue or a pull request."""
    return text_at(item, "state") == "closed"


def priority_in(labels: tuple[str, ...]) -> int | None:
    """Take the priority from labels: "P1", "priority/high", "prio: 2"; the most urgent one counts."""
    found = [
        priority_of((said[1] or said[2]).strip()) for label in labels if (said := _PRIORITY.fullmatch(label.strip()))
    ]
    return min((one for one in found if one is not None), default=None)
