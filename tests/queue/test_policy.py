"""The merge queue's answers, event by event."""

from dataclasses import replace

import pytest

from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.work import Candidate, Change, Conflict, Verdict
from luminaguard.queue.policy import (
    Accepted,
    Action,
    BaseJudged,
    BlameBase,
    Clashed,
    Compose,
    Composed,
    Dropped,
    Enqueued,
    Event,
    Foundered,
    HandBack,
    Judge,
    JudgeBase,
    Judged,
    Land,
    Landed,
    Moved,
    State,
    Withdrawn,
    decide,
)

RED, RED_AGAIN = Verdict(ok=False, why="red"), Verdict(ok=False, why="red again")
GREEN = Verdict(ok=True, why="green")
BASE = Oid("b" * 40)
CANDIDATE = Candidate(commit=Oid("c" * 40), tree=Oid("d" * 40), base=BASE)
CONFLICT = Conflict(base=BASE, paths=("a.py",), hunks="<<<<<<<")


def change(issue: str) -> Change:
    return Change(issue=IssueId(issue), attempt=1, commit=Oid("a" * 40), title=f"Change {issue}")


def fed(*events: Event) -> tuple[State, list[Action]]:
    """Feed events from the beginning; return the last state and the answers to the last event."""
    state, actions = State(), list[Action]()
    for event in events:
        decision = decide(state, event)
        state, actions = decision.state, list(decision.actions)
    return state, actions


A, B, C = change("a"), change("b"), change("c")
A_IN = Enqueued(change=A, rank=1.0)
B_IN = Enqueued(change=B, rank=1.0)
COMPOSED = Composed(candidate=CANDIDATE)
RED_TWICE = (A_IN, COMPOSED, Judged(verdict=RED), Judged(verdict=RED_AGAIN))
JUDGE = Judge(changes=(A,), candidate=CANDIDATE)
LAND = Land(changes=(A,), candidate=CANDIDATE)


@pytest.mark.parametrize(
    ("events", "answers"),
    [
        pytest.param((A_IN,), [Compose(changes=(A,))], id="the first change is composed at once"),
        pytest.param((A_IN, B_IN), [], id="a second change waits"),
        pytest.param((A_IN, COMPOSED), [JUDGE], id="a candidate is judged"),
        pytest.param(
            (A_IN, Clashed(conflict=CONFLICT)), [HandBack(change=A, because=CONFLICT)], id="a clash goes back"
        ),
        pytest.param((A_IN, COMPOSED, Judged(verdict=GREEN)), [LAND], id="green lands"),
        pytest.param(
            (A_IN, COMPOSED, Judged(verdict=RED)), [replace(JUDGE, afresh=True)], id="a first red is judged afresh"
        ),
        pytest.param((A_IN, COMPOSED, Judged(verdict=RED), Judged(verdict=GREEN)), [LAND], id="a flake lands"),
        pytest.param(RED_TWICE, [JudgeBase(base=BASE)], id="a second red asks for the base"),
        pytest.param(
            (*RED_TWICE, BaseJudged(verdict=GREEN)),
            [HandBack(change=A, because=RED_AGAIN)],
            id="red on a green base goes back with the last verdict",
        ),
        pytest.param(
            (*RED_TWICE, BaseJudged(verdict=RED)),
            [BlameBase(change=A, verdict=RED_AGAIN, base_verdict=RED)],
            id="red on a red base blames the base",
        ),
        pytest.param((A_IN, COMPOSED, Judged(verdict=GREEN), Landed()), [Accepted(change=A)], id="landed is accepted"),
        pytest.param(
            (A_IN, COMPOSED, Judged(verdict=GREEN), Moved()), [Compose(changes=(A,))], id="moved composes afresh"
        ),
        pytest.param((A_IN, Foundered()), [Dropped(change=A)], id="what the machine failed is dropped"),
        pytest.param((A_IN, B_IN, Withdrawn(issue=B.issue)), [Dropped(change=B)], id="a waiting change is dropped"),
        pytest.param((A_IN, Withdrawn(issue=C.issue)), [], id="withdrawing what is not there does nothing"),
    ],
)
def test_event_is_answered(events: tuple[Event, ...], answers: list[Action]) -> None:
    assert fed(*events)[1] == answers


@pytest.mark.parametrize(
    "answer", [COMPOSED, Clashed(conflict=CONFLICT), Foundered()], ids=["composed", "clashed", "foundered"]
)
def test_change_withdrawn_while_it_is_composed_is_dropped_by_the_answer(answer: Event) -> None:
    state, actions = fed(A_IN, B_IN, Withdrawn(issue=A.issue), answer)
    assert actions == [Dropped(change=A), Compose(changes=(B,))]
    assert not state.is_withdrawn, "the next change has nothing to do with it"


def test_change_withdrawn_while_it_is_judged_does_not_land_although_it_is_green() -> None:
    _, actions = fed(A_IN, COMPOSED, Withdrawn(issue=A.issue), Judged(verdict=GREEN))
    assert actions == [Dropped(change=A)]


def test_change_withdrawn_while_it_lands_has_landed() -> None:
    _, actions = fed(A_IN, COMPOSED, Judged(verdict=GREEN), Withdrawn(issue=A.issue), Landed())
    assert actions == [Accepted(change=A)]


def test_change_withdrawn_while_it_lands_is_not_tried_again_when_the_target_moved() -> None:
    _, actions = fed(A_IN, COMPOSED, Judged(verdict=GREEN), Withdrawn(issue=A.issue), Moved())
    assert actions == [Dropped(change=A)]


def test_moved_target_forgets_what_was_red_on_the_old_one() -> None:
    events = (A_IN, COMPOSED, Judged(verdict=RED), Judged(verdict=GREEN), Moved(), COMPOSED, Judged(verdict=RED))
    assert fed(*events)[1] == [replace(JUDGE, afresh=True)]


def test_higher_rank_goes_first_and_arrival_decides_between_equals() -> None:
    low, high = Enqueued(change=C, rank=0.5), Enqueued(change=change("d"), rank=2.0)
    state, _ = fed(A_IN, low, B_IN, high, Enqueued(change=change("e"), rank=1.0))
    assert [entry.change.issue for entry in state.waiting] == ["d", "b", "e", "c"]


@pytest.mark.parametrize(
    "event",
    [
        COMPOSED,
        Clashed(conflict=CONFLICT),
        Judged(verdict=GREEN),
        BaseJudged(verdict=GREEN),
        Landed(),
        Moved(),
        Foundered(),
    ],
    ids=lambda event: type(event).__name__,
)
def test_answer_that_nobody_waits_for_changes_nothing(event: Event) -> None:
    assert decide(State(), event).state == State()
    for awaited in ((A_IN,), (A_IN, COMPOSED), RED_TWICE, (A_IN, COMPOSED, Judged(verdict=GREEN))):
        state, asked = fed(*awaited)
        if _answers(asked[0], event):
            continue
        decision = decide(state, event)
        assert (decision.state, decision.actions) == (state, ())


def _answers(asked: Action, event: Event) -> bool:
    match asked:
        case Compose():
            return isinstance(event, Composed | Clashed | Foundered)
        case Judge():
            return isinstance(event, Judged | Foundered)
        case JudgeBase():
            return isinstance(event, BaseJudged | Foundered)
        case _:
            return isinstance(event, Landed | Moved | Foundered)
