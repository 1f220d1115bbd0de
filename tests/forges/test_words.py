import pytest

from luminaguard.forges.words import kind_of, priority_of, seconds_of, state_of


@pytest.mark.parametrize(
    ("word", "state"),
    [
        *[(word, "open") for word in ("open", "To Do", "todo", "in_progress", "In-Progress", "📋 Ready", "deferred")],
        *[(word, "closed") for word in ("closed", "DONE", "✅ Done", "Won't Do", "wont-do", "cancelled", "completed")],
        ("flying", None),
    ],
)
def test_states(word: str, state: str | None) -> None:
    assert state_of(word) == state


@pytest.mark.parametrize(
    ("word", "number"),
    [("P0", 0), ("p4", 4), ("2", 2), ("High", 1), ("medium", 2), ("low", 3), ("P5", None), ("-1", None)],
)
def test_priorities(word: str, number: int | None) -> None:
    assert priority_of(word) == number


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2h", 7200),
        ("30m", 1800),
        ("45", 2700),
        ("1.5 days", 43200),
        ("1h 30m", 5400),
        ("1 hour and 5 min", 3900),
        *[(text, None) for text in ("", "0", "-5", "soon", "2x", "h", "1h?", "9" * 30)],
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("word", "kind"), [("Bug", "bug"), ("feature", "implementation"), ("documentation", "docs"), ("task", None)]
)
def test_kinds(word: str, kind: str | None) -> None:
    assert kind_of(word) == kind
