import pytest
from hypothesis import given
from hypothesis import strategies as st

from luminaguard.model.ids import IssueId
from luminaguard.planner.schedule import forecast, remaining_path, start_order

A, B, C, D = (IssueId(name) for name in ("2", "10", "11", "12"))
NOTHING: frozenset[IssueId] = frozenset()


@st.composite
def graphs(draw: st.DrawFn) -> dict[IssueId, frozenset[IssueId]]:
    """Needs without a circle, in no particular order: each issue may need any that has a lower number."""
    ids = [IssueId(str(number)) for number in range(draw(st.integers(0, 14)))]
    needs = {
        issue: draw(st.frozensets(st.sampled_from(ids[:place]), max_size=4)) if place else frozenset()
        for place, issue in enumerate(ids)
    }
    return {issue: needs[issue] for issue in draw(st.permutations(ids))}


@st.composite
def works(draw: st.DrawFn) -> tuple[dict[IssueId, frozenset[IssueId]], dict[IssueId, float]]:
    needs = draw(graphs())
    return needs, {issue: float(draw(st.integers(1, 1000))) for issue in needs}


def test_remaining_path_is_the_longest_chain_that_begins_with_an_issue() -> None:
    needs = {A: NOTHING, B: frozenset({A}), C: frozenset({A}), D: frozenset({B, C})}
    assert remaining_path(needs, {A: 1.0, B: 5.0, C: 2.0, D: 1.0}) == {A: 7.0, B: 6.0, C: 3.0, D: 1.0}


def test_longest_path_starts_first_then_the_most_urgent_then_the_lowest_id() -> None:
    needs = {C: NOTHING, D: frozenset({C}), B: NOTHING, A: NOTHING, IssueId("3"): NOTHING}
    order = start_order(needs, dict.fromkeys(needs, 60.0), {B: 1, A: None, IssueId("3"): 2})
    assert order == (C, B, A, "3", D)


def test_no_issues_take_no_time() -> None:
    assert forecast({}, {}, {}, slots=3).makespan_s == 0


def test_slot_that_is_free_takes_whatever_can_start() -> None:
    needs = {A: NOTHING, B: frozenset({A}), C: NOTHING, D: NOTHING}
    result = forecast(needs, {A: 10.0, B: 10.0, C: 5.0, D: 5.0}, {}, slots=2)
    assert (result.makespan_s, result.lower_bound_s, result.sequential_s) == (20.0, 20.0, 30.0)


@pytest.mark.parametrize("slots", [1, 2, 3, 8])
@given(work=works())
def test_forecast_lies_between_its_bounds(
    slots: int, work: tuple[dict[IssueId, frozenset[IssueId]], dict[IssueId, float]]
) -> None:
    result = forecast(*work, {}, slots=slots)
    assert result.lower_bound_s <= result.makespan_s <= result.sequential_s == sum(work[1].values())
    assert result.makespan_s <= (2 - 1 / slots) * result.lower_bound_s + 1e-6
    if slots == 1:
        assert result.makespan_s == result.sequential_s
    if slots >= len(work[0]):
        assert result.makespan_s == max(remaining_path(*work).values(), default=0.0)


@given(work=works())
def test_start_order_holds_every_issue_once_and_puts_needs_first(
    work: tuple[dict[IssueId, frozenset[IssueId]], dict[IssueId, float]],
) -> None:
    needs, _ = work
    place = {issue: number for number, issue in enumerate(start_order(*work, {}))}
    assert place.keys() == needs.keys()
    assert all(place[before] < place[after] for after, needed in needs.items() for before in needed)
