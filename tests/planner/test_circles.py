import pytest

from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId
from luminaguard.model.plan import Edge
from luminaguard.planner.circles import settled
from luminaguard.planner.edges import Bond, Claim


def claim(before: str, after: str, bond: Bond) -> Claim:
    return Claim(edge=Edge(before=IssueId(before), after=IssueId(after), why=f"{before} before {after}"), bond=bond)


def kept(*claims: Claim) -> list[tuple[str, str]]:
    ids = {name for one in claims for name in (one.edge.before, one.edge.after)}
    return [(one.edge.before, one.edge.after) for one in settled(sorted(ids), claims).claims]


def test_claims_without_a_circle_are_all_kept() -> None:
    assert kept(claim("1", "2", Bond.HINT), claim("2", "3", Bond.NEED), claim("1", "3", Bond.FAMILY)) == [
        ("1", "2"), ("2", "3"), ("1", "3"),
    ]  # fmt: skip


def test_only_the_loose_edge_of_a_circle_is_dropped() -> None:
    need, family, outside = claim("1", "2", Bond.NEED), claim("2", "1", Bond.FAMILY), claim("3", "1", Bond.FAMILY)
    assert kept(need, family, outside) == [("1", "2"), ("3", "1")]


def test_hint_is_dropped_before_a_parent_edge() -> None:
    assert kept(claim("1", "2", Bond.HINT), claim("2", "3", Bond.FAMILY), claim("3", "1", Bond.FAMILY)) == [
        ("2", "3"), ("3", "1"),
    ]  # fmt: skip


def test_each_dropped_edge_is_said_on_the_issue_that_would_have_waited() -> None:
    result = settled([IssueId("1"), IssueId("2")], [claim("1", "2", Bond.NEED), claim("2", "1", Bond.HINT)])
    assert [(notice.issue, notice.text) for notice in result.notices] == [
        ("1", "2 before 1: not followed, or the needs would go in a circle: 2 itself waits for 1")
    ]


def test_shortest_firm_circle_is_named() -> None:
    firm = [("1", "2"), ("2", "3"), ("3", "4"), ("4", "1"), ("2", "1")]
    with pytest.raises(UserFault, match=r"circle: 1 needs 2 \(2 before 1\); 2 needs 1 \(1 before 2\)$"):
        settled([IssueId(str(number)) for number in range(1, 5)], [claim(*pair, Bond.NEED) for pair in firm])


@pytest.mark.parametrize("bond", [Bond.HINT, Bond.FAMILY])
def test_circle_of_ten_thousand_loose_edges_loses_one(bond: Bond) -> None:
    ids = [IssueId(str(number)) for number in range(10_000)]
    claims = [claim(before, after, bond) for before, after in zip(ids, [*ids[1:], ids[0]], strict=True)]
    assert len(settled(ids, claims).notices) == 1
