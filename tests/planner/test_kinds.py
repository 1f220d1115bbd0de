import pytest

from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Issue, Kind
from luminaguard.planner.kinds import kind_of


def kind(title: str, *labels: str, field: Kind | None = None) -> Kind:
    return kind_of(Issue(id=IssueId("1"), title=title, labels=labels, kind=field))


def test_field_wins_over_everything() -> None:
    assert kind("fix: it", "docs", field=Kind.TEST) is Kind.TEST


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("bug", Kind.BUG),
        ("Type: Bug", Kind.BUG),
        ("kind/documentation", Kind.DOCS),
        ("spike", Kind.RESEARCH),
        ("rfc", Kind.DESIGN),
        ("enhancement", Kind.IMPLEMENTATION),
    ],
)
def test_label_wins_over_the_title(label: str, expected: Kind) -> None:
    assert kind("Bump everything", "area/docs", "good first issue", label) is expected


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("fix: docs are wrong", Kind.BUG),
        ("feat(errors)!: test the crash", Kind.IMPLEMENTATION),
        ("docs: fix the bug list", Kind.DOCS),
        ("[P1] chore(deps): fix it", Kind.CHORE),
        ("Research isolation levels", Kind.RESEARCH),
        ("Spike: a new store", Kind.RESEARCH),
        ("Evaluate three queues", Kind.RESEARCH),
        ("Evaluate and replace the prompts library", Kind.IMPLEMENTATION),
        ("Design the hypervisor abstraction trait", Kind.DESIGN),
        ("Create hypervisor trait abstraction", Kind.DESIGN),
        ("Hypervisor interface", Kind.DESIGN),
        ("Implement the KVM interface", Kind.IMPLEMENTATION),
        ("Fix the crash at start", Kind.BUG),
        ("TUI: Fix the docs view", Kind.BUG),
        ("The daemon crashes at start", Kind.BUG),
        ("Add error reporting", Kind.IMPLEMENTATION),
        ("Add tests for the parser", Kind.TEST),
        ("Improve Python test coverage to 80%", Kind.TEST),
        ("Document the parser", Kind.DOCS),
        ("Update the README", Kind.DOCS),
        ("Bump cryptography to 46.0.6", Kind.CHORE),
        ("Rename the package", Kind.CHORE),
        ("Remove the sequences feature", Kind.IMPLEMENTATION),
        ("Hybrid document-level search", Kind.IMPLEMENTATION),
        ("Board columns", Kind.IMPLEMENTATION),
        ("", Kind.IMPLEMENTATION),
    ],
)
def test_title_tells_the_kind(title: str, expected: Kind) -> None:
    assert kind(title) is expected
