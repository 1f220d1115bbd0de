"""The checklist of an attempt: what has to happen until an issue is closed, ticked from facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from luminaguard.model.facts import Fact
from luminaguard.reports.readings import files_at, flag_at, text_at
from luminaguard.reports.standing import delivered
from luminaguard.reports.wording import plain

_BEGINS_AGAIN = frozenset({"attempt", "retry", "conflict"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecklistItem:
    """One thing to do, and whether a fact says that it is done. `deliverable` marks what the issue itself asks for."""

    text: str
    done: bool = False
    deliverable: bool = False


def attempt_checklist(
    facts: Sequence[Fact], *, deliverables: Sequence[str], target: str, checks: Sequence[str]
) -> tuple[ChecklistItem, ...]:
    """Give the checklist of the present attempt; without facts, of an issue that nothing was done for yet.

    A deliverable that names a changed file is ticked when the file is delivered; any other one when the work has
    landed, because only the gates can say that a sentence is fulfilled.
    """
    seen = _present_attempt(facts)
    landed = "landed" in seen
    changed = tuple(file.path for fact in seen.values() for file in files_at(fact.data))
    commands = ": " + ", ".join(plain(command) for command in checks) if checks else ""
    return (
        ChecklistItem(text=f"Up to date with {plain(target)}", done=landed or bool({"placed", "agent"} & seen.keys())),
        *(
            ChecklistItem(
                text=plain(wanted), done=landed or any(_names(wanted, path) for path in changed), deliverable=True
            )
            for wanted in deliverables
        ),
        ChecklistItem(text=f"Checks pass{commands}", done="checks" in seen and flag_at(seen["checks"].data, "ok")),
        ChecklistItem(text="Committed", done=landed or _has_work(seen)),
        ChecklistItem(text="Published", done="published" in seen),
        ChecklistItem(text=f"Landed on {plain(target)}", done=landed),
        ChecklistItem(text="Issue closed", done="closed" in seen and flag_at(seen["closed"].data, "closed")),
    )


def _present_attempt(facts: Sequence[Fact]) -> dict[str, Fact]:
    """Keep the last fact of each name since the work began again."""
    seen: dict[str, Fact] = {}
    for fact in facts:
        name = fact.name
        if name in _BEGINS_AGAIN and "landed" not in seen:
            seen.clear()
        seen[name] = fact
    return seen


def _has_work(seen: Mapping[str, Fact]) -> bool:
    """Tell whether the attempt left commits: its own, or those of an earlier one that it began with."""
    if "agent" not in seen or text_at(seen["agent"].data, "problem"):
        return False
    opened = seen["attempt"].data if "attempt" in seen else {}
    return delivered(seen["agent"]) or text_at(opened, "start") != text_at(opened, "target")


def _names(wanted: str, path: str) -> bool:
    words = (word.strip("`'\"()[]<>,;:").rstrip(".") for word in wanted.split())
    return any(word and (word == path or path.endswith(f"/{word}")) for word in words)
