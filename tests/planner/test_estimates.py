import math

import pytest

from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Issue, Kind
from luminaguard.planner.estimates import Estimate, estimate_of
from luminaguard.planner.prose import read


def estimate(body: str = "", *labels: str, field: float | None = None, kind: Kind = Kind.BUG) -> Estimate:
    return estimate_of(Issue(id=IssueId("1"), title="", labels=labels, estimate_s=field), kind, read(body))


def test_field_wins_over_label_and_label_over_text() -> None:
    assert estimate("Estimate: 3h", "size/S", field=60.0) == Estimate(seconds=60.0, source="field")
    assert estimate("Estimate: 3h", "size/S") == Estimate(seconds=1800.0, source="label size/S")
    assert estimate("Estimate: 3h") == Estimate(seconds=10800.0, source='text "Estimate: 3h"')


@pytest.mark.parametrize("field", [0.0, -5.0, math.nan, math.inf])
def test_field_that_is_no_duration_counts_as_none(field: float) -> None:
    assert estimate(field=field) == Estimate(seconds=2400.0, source="kind bug")


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ("estimate: 2h", 7200),
        ("**Estimate:** 2 hours", 7200),
        ("- Effort: 30m", 1800),
        ("Estimated effort: 1.5 h", 5400),
        ("Effort: 2-3 days", 3 * 8 * 3600),
        ("Size: XL", 4 * 3600),
        ("Story points: 5", 9000),
        ("Time: 45 minutes", 2700),
    ],
)
def test_text_tells_the_estimate(body: str, seconds: float) -> None:
    assert estimate(f"Words.\n\n{body}\n").seconds == seconds


@pytest.mark.parametrize("label", ["estimate: 2h", "effort/2h", "size/L", "size: large", "points: 4", "sp:4"])
def test_label_tells_the_estimate(label: str) -> None:
    assert estimate("", "bug", label) == Estimate(seconds=7200.0, source=f"label {label}")


@pytest.mark.parametrize(
    "body",
    ["Estimate: soon", "Time: 0h", "Size: small-ish", "Size: 20 files", "```\nEstimate: 3h\n```", "timeout: 5 m", ""],
)
def test_text_that_tells_no_estimate_leaves_it_to_the_kind(body: str) -> None:
    assert estimate(body, "size/unknown", kind=Kind.RESEARCH) == Estimate(seconds=1800.0, source="kind research")
