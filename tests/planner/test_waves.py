import pytest
from hypothesis import given
from hypothesis import strategies as st

from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, natural
from luminaguard.planner.waves import waves

A, B, C = IssueId("2"), IssueId("10"), IssueId("11")


@st.composite
def graphs(draw: st.DrawFn) -> dict[IssueId, frozenset[IssueId]]:
    """Needs without a circle, in no particular order: each issue may need any that has a lower number."""
    ids = [IssueId(str(number)) for number in range(draw(st.integers(0, 14)))]
    needs = {
        issue: draw(st.frozensets(st.sampled_from(ids[:place]), max_size=4)) if place else frozenset()
        for place, issue in enumerate(ids)
    }
    return {issue: needs[issue] for issue in draw(st.permutations(ids))}


def test_no_issues_make_no_wave() -> None:
    assert waves({}) == ()


def test_issues_of_a_wave_are_sorted_as_people_count() -> None:
    assert waves({B: frozenset(), C: frozenset(), A: frozenset()}) == ((A, B, C),)


def test_issue_stands_behind_the_last_that_it_needs() -> None:
    assert waves({C: frozenset({A, B}), B: frozenset({A}), A: frozenset()}) == ((A,), (B,), (C,))


def test_circle_is_the_users_to_mend() -> None:
    with pytest.raises(UserFault, match="2, 10"):
        waves({A: frozenset({B}), B: frozenset({A}), C: frozenset()})


@given(graphs())
def test_waves_hold_every_issue_once_behind_all_that_it_needs_and_no_later(
    needs: dict[IssueId, frozenset[IssueId]],
) -> None:
    result = waves(needs)
    place = {issue: number for number, wave in enumerate(result) for issue in wave}
    assert sorted(issue for wave in result for issue in wave) == sorted(needs)
    for issue, needed in needs.items():
        assert place[issue] == max((place[other] + 1 for other in needed), default=0)
    assert all(wave == tuple(sorted(wave, key=natural)) for wave in result)
