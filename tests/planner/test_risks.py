import pytest

from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Issue, Kind
from luminaguard.model.plan import Level, Overlap, Present, Touch
from luminaguard.planner.risks import Known, highest, risks_of


def known(
    *,
    body: str = "Text",
    kind: Kind = Kind.BUG,
    hours: float = 1.0,
    touches: tuple[str, ...] = (),
    deliverables: tuple[str, ...] = ("it works",),
    present: Present | None = None,
    dependents: int = 0,
    overlap: float | None = None,
    unknown: tuple[str, ...] = (),
) -> Known:
    one, other = IssueId("1"), IssueId("2")
    return Known(
        issue=Issue(id=one, title="A title", body=body),
        kind=kind,
        estimate_s=hours * 3600,
        touches=tuple(Touch(path=path, source="named", confidence=0.6) for path in touches),
        deliverables=deliverables,
        present=present or Present(),
        dependents=dependents,
        overlaps=() if overlap is None else (Overlap(a=one, b=other, paths=("src/a.py",), probability=overlap),),
        unknown=unknown,
    )


def test_issue_of_which_nothing_is_wrong_has_no_risk() -> None:
    assert risks_of(known()) == ()
    assert highest(()) is Level.LOW


@pytest.mark.parametrize(
    ("facts", "level", "why"),
    [
        (known(body=" "), Level.MEDIUM, "no description"),
        (known(deliverables=()), Level.LOW, "no deliverable"),
        (known(dependents=3), Level.MEDIUM, "3 issues wait for it"),
        (known(dependents=8), Level.HIGH, "8 issues wait for it"),
        (known(overlap=0.36), Level.MEDIUM, "src/a.py at the same time as 2"),
        (known(overlap=0.1), Level.LOW, "src/a.py at the same time as 2"),
        (known(hours=5), Level.MEDIUM, "estimated at 5 hours"),
        (known(hours=9), Level.HIGH, "estimated at 9 hours"),
        (known(unknown=("#99",)), Level.MEDIUM, "refers to #99"),
        (known(present=Present(branch="feature/issue-1", commits_ahead=1)), Level.LOW, "holds 1 commit that"),
        (known(touches=(".github/workflows/ci.yml",)), Level.MEDIUM, ".github/workflows/ci.yml"),
        (known(touches=("tools/Makefile",)), Level.MEDIUM, "tools/Makefile"),
        (known(kind=Kind.RESEARCH), Level.LOW, "its result is a document"),
    ],
)
def test_each_fact_is_a_risk_with_a_level_and_a_mitigation(facts: Known, level: Level, why: str) -> None:
    (risk,) = risks_of(facts)
    assert risk.risk is level
    assert why in risk.why
    assert risk.mitigation


def test_highest_risk_comes_first_and_is_the_issues() -> None:
    risks = risks_of(known(kind=Kind.DOCS, dependents=9, unknown=("#99",)))
    assert [risk.risk for risk in risks] == [Level.HIGH, Level.MEDIUM, Level.LOW]
    assert highest(risks) is Level.HIGH
