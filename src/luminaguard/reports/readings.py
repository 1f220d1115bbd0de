"""Values out of a fact's data. What is absent or of another type reads as nothing.

An older or a newer version of us may have written it.
"""

import math
from collections.abc import Mapping, Sequence

from luminaguard.model.facts import Fact
from luminaguard.model.ids import Json
from luminaguard.model.work import FileChange, Finding, Severity

Data = Mapping[str, Json]
"""The data of a fact, or an object inside it."""


def by_name(facts: Sequence[Fact]) -> dict[str, list[Fact]]:
    """Sort facts by their names, each list in order."""
    named: dict[str, list[Fact]] = {}
    for fact in facts:
        named.setdefault(fact.name, []).append(fact)
    return named


def text_at(data: Data, key: str) -> str:
    """Read a text, "" where there is none."""
    return maybe_text(data, key) or ""


def maybe_text(data: Data, key: str) -> str | None:
    """Read a text or a number that was meant as one, None where there is neither."""
    value = data.get(key)
    if value is None or isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def maybe_number(data: Data, key: str) -> float | None:
    """Read a finite number from 0 up, None where there is none."""
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # An int beyond the floats raises where float() is asked for it.
    return float(value) if 0 <= value < 1e18 and math.isfinite(value) else None


def number_at(data: Data, key: str) -> float:
    """Read a number, 0.0 where there is none."""
    return maybe_number(data, key) or 0.0


def flag_at(data: Data, key: str) -> bool:
    """Read a bool; only a true one counts."""
    return data.get(key) is True


def texts_at(data: Data, key: str) -> tuple[str, ...]:
    """Read a list of texts."""
    value = data.get(key)
    if not isinstance(value, list):
        return ()
    return tuple(str(item) for item in value if isinstance(item, str | int) and not isinstance(item, bool))


def rows_at(data: Data, key: str) -> tuple[Data, ...]:
    """Read a list of objects."""
    value = data.get(key)
    return tuple(item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()


def files_at(data: Data) -> tuple[FileChange, ...]:
    """Read the files of an `agent` or `landed` fact."""
    return tuple(
        FileChange(
            path=text_at(row, "path"), added=int(number_at(row, "added")), removed=int(number_at(row, "removed"))
        )
        for row in rows_at(data, "files")
    )


def findings_at(data: Data) -> tuple[Finding, ...]:
    """Read the findings of a `review` fact, worst first; one of unknown severity counts as high."""
    found = (
        Finding(
            severity=_severity(text_at(row, "severity")),
            file=text_at(row, "file"),
            line=int(number_at(row, "line")),
            text=text_at(row, "text"),
        )
        for row in rows_at(data, "findings")
    )
    return tuple(sorted(found, key=lambda finding: -finding.severity.rank))


def _severity(name: str) -> Severity:
    return Severity(name) if name in Severity.__members__.values() else Severity.HIGH
