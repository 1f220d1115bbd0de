"""Reading answers of forges tolerantly: what is missing or of another type reads as nothing, and fails nothing else.

Servers of several years and look-alikes answer too; a strict model would lose a list for one field of one issue.
"""

import time
from calendar import timegm

from luminaguard.model.ids import Json


def at(value: Json, *keys: str) -> Json:
    """Follow keys through objects; None where there is nothing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def text_at(value: Json, *keys: str) -> str:
    """Give the text at a place; "" where there is none."""
    found = at(value, *keys)
    return found if isinstance(found, str) else ""


def number_at(value: Json, *keys: str) -> int:
    """Give the whole number at a place; 0 where there is none."""
    found = at(value, *keys)
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def true_at(value: Json, *keys: str) -> bool:
    """Tell whether there is a true at a place."""
    return at(value, *keys) is True


def list_at(value: Json, *keys: str) -> list[Json]:
    """Give the list at a place; an empty one where there is none."""
    found = at(value, *keys)
    return found if isinstance(found, list) else []


def seconds_at(value: Json, *keys: str) -> float:
    """Give the time at a place ("2026-11-21T10:00:00Z") in seconds since the epoch; 0.0 where there is none."""
    try:
        return float(timegm(time.strptime(text_at(value, *keys)[:19], "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return 0.0


def names_in(items: list[Json], key: str) -> tuple[str, ...]:
    """Give the names in a list of objects, or of bare texts, as labels come in both forms."""
    names = [item if isinstance(item, str) else text_at(item, key) for item in items]
    return tuple(name for name in names if name)
