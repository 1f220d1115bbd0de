import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import Issue, IssueState, Kind, Origin
from luminaguard.model.plan import Level, Plan, Present
from luminaguard.planner.plan import plan


def issue(
    name: str,
    body: str = "",
    *,
    title: str = "A title",
    needs: tuple[str, ...] = (),
    blocks: tuple[str, ...] = (),
    parent: str | None = None,
    labels: tuple[str, ...] = (),
    closed: bool = False,
    touches: tuple[str, ...] = (),
    line: int = 1,
) -> Issue:
    return Issue(
        id=IssueId(name),
        title=title,
        body=body,
        state=IssueState.CLOSED if closed else IssueState.OPEN,
        labels=labels,
        needs=tuple(map(IssueId, needs)),
        blocks=tuple(map(IssueId, blocks)),
        parent=IssueId(parent) if parent else None,
        touches=touches,
        origin=Origin(path="issues.jsonl", line=line),
    )


def planned(
    *issues: Issue, select: tuple[str, ...] | None = None, tracked: tuple[str, ...] = (), slots: int = 2
) -> Plan:
    return plan(
        issues,
        base=Oid("a" * 40),
        tracked=frozenset(tracked),
        present={},
        slots=slots,
        select=None if select is None else frozenset(map(IssueId, select)),
        repository="me/mine",
    )


def pairs(result: Plan) -> list[tuple[str, str]]:
    return [(edge.before, edge.after) for edge in result.edges]


def texts(result: Plan) -> list[str]:
    return [notice.text for notice in result.notices]


def test_seed_backlog_has_two_waves() -> None:
    result = planned(
        issue("155", "Depends on #154", title="Implement the hypervisor driver"),
        issue("152", "Write down what there is.", title="Research isolation levels"),
        issue("154", "Define the trait.", title="Design the hypervisor abstraction trait"),
    )
    assert result.waves == (("152", "154"), ("155",))
    assert [one.kind for one in result.issues] == [Kind.RESEARCH, Kind.DESIGN, Kind.IMPLEMENTATION]
    assert [(edge.before, edge.after, edge.why) for edge in result.edges] == [
        ("154", "155", '155 says "Depends on #154"')
    ]
    assert result.issues[2].needs == ("154",)
    assert result.forecast.makespan_s == result.forecast.lower_bound_s == 7200.0


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (issue("2", needs=("1",)), 'field "needs" of 2'),
        (issue("2", labels=("blocked-by:#1",)), 'label "blocked-by:#1" of 2'),
        (issue("2", labels=("depends:1",)), 'label "depends:1" of 2'),
        (issue("2", "Requires #1"), '2 says "Requires #1"'),
        (issue("2", "- [ ] #1"), '2 says "- [ ] #1"'),
    ],
)
def test_edge_names_the_field_or_quotes_the_words(one: Issue, why: str) -> None:
    result = planned(issue("1"), one)
    assert [(edge.before, edge.after, edge.why) for edge in result.edges] == [("1", "2", why)]


def test_blocking_turns_the_edge_round() -> None:
    assert pairs(planned(issue("1", blocks=("2",)), issue("2"), issue("3", "Blocks #1"))) == [("3", "1"), ("1", "2")]


def test_field_is_named_where_the_text_says_the_same() -> None:
    result = planned(issue("1"), issue("2", "Depends on #1", needs=("1",)))
    assert [edge.why for edge in result.edges] == ['field "needs" of 2']


def test_parent_is_done_after_its_children() -> None:
    result = planned(issue("1", title="Epic"), issue("2", parent="1"), issue("3", "Part of #1"))
    assert result.waves == (("2", "3"), ("1",))


def test_need_of_a_closed_issue_is_satisfied() -> None:
    result = planned(issue("1", closed=True), issue("2", "Depends on #1", needs=("1",)))
    assert (result.edges, result.notices, result.waves) == ((), (), (("2",),))


def test_closed_issue_has_no_say() -> None:
    assert planned(issue("1", "Blocks #2. Depends on #77", closed=True), issue("2")).notices == ()


def test_unknown_reference_is_a_notice_and_a_risk_and_work_goes_on() -> None:
    result = planned(issue("1", "Depends on #99"))
    assert texts(result) == ['1 says "Depends on #99": this backlog has no issue #99; it is not waited for']
    assert result.waves == (("1",),)
    assert any("#99" in risk.why and risk.risk is Level.MEDIUM for risk in result.risks)


def test_reference_to_another_repository_is_a_notice() -> None:
    result = planned(issue("1", "Depends on you/yours#1, me/mine#2"), issue("2"))
    assert pairs(result) == [("2", "1")]
    (text,) = texts(result)
    assert "you/yours#1 is in another repository" in text


def test_issue_that_names_itself_is_a_notice() -> None:
    result = planned(issue("1", "Depends on #1"))
    assert result.edges == ()
    assert "names the issue itself" in texts(result)[0]


def test_field_with_an_old_prefix_is_resolved() -> None:
    assert pairs(planned(issue("BACK-3"), issue("BACK-4", needs=("task-3",)))) == [("BACK-3", "BACK-4")]


def test_two_issues_of_one_id_are_the_users_to_mend() -> None:
    with pytest.raises(UserFault, match=r"two issues have the id 7 \(issues.jsonl:3, issues.jsonl:9\)"):
        planned(issue("7", line=3), issue("8"), issue("7", line=9))


def test_circle_of_needs_is_named_whole_with_its_reasons() -> None:
    with pytest.raises(UserFault) as caught:
        planned(
            issue("1", needs=("3",)), issue("2", "Depends on #1"), issue("3", "Blocked by #2"), issue("4", needs=("3",))
        )
    assert caught.value.message == (
        'the needs go round in a circle: 1 needs 3 (field "needs" of 1); '
        '3 needs 2 (3 says "Blocked by #2"); 2 needs 1 (2 says "Depends on #1")'
    )
    assert "remove one of these 3 needs" in caught.value.hint


def test_circle_outside_the_selection_does_not_matter() -> None:
    result = planned(issue("1", needs=("2",)), issue("2", needs=("1",)), issue("3"), select=("3",))
    assert result.waves == (("3",),)


def test_child_that_needs_its_parent_goes_after_it() -> None:
    result = planned(
        issue("1", "- [ ] #2\n- [ ] #3"), issue("2", "Depends on #1", parent="1"), issue("3"), issue("4", "After #1")
    )
    assert result.waves == (("3",), ("1",), ("2", "4"))
    (text,) = texts(result)
    assert text.startswith('field "parent" of 2: not followed')


def test_hint_gives_way_before_a_parent() -> None:
    result = planned(issue("1"), issue("2", "After #1", parent="1"))
    assert pairs(result) == [("2", "1")]
    assert "After #1" in texts(result)[0]


def test_what_an_issue_says_of_others_gives_way_to_what_they_say() -> None:
    result = planned(issue("1", "Depends on #2"), issue("2"), issue("3", "#2 depends on #1"))
    assert pairs(result) == [("2", "1")]
    assert len(result.notices) == 1


def test_selection_brings_what_it_needs_and_nothing_else() -> None:
    backlog = (issue("1"), issue("2", needs=("1",)), issue("3", "Depends on #2"), issue("4", "Depends on #3, #99"))
    result = planned(*backlog, select=("#3",))
    assert [one.issue.id for one in result.issues] == ["1", "2", "3"]
    assert result.notices == ()


def test_unknown_selection_names_what_is_near() -> None:
    with pytest.raises(UserFault, match="there is no issue quarry-12a") as caught:
        planned(issue("quarry-12b"), issue("other-9"), select=("quarry-12a",))
    assert caught.value.hint == "did you mean quarry-12b?"


def test_closed_selection_is_said_and_left_out() -> None:
    result = planned(issue("1", closed=True), issue("2"), select=("1", "2"))
    assert [one.issue.id for one in result.issues] == ["2"]
    assert texts(result) == ["issue 1 is closed; there is nothing to plan"]


def test_no_slots_are_the_users_to_mend() -> None:
    with pytest.raises(UserFault, match="slots"):
        planned(issue("1"), slots=0)


def test_empty_backlog_makes_an_empty_plan() -> None:
    result = planned()
    assert (result.waves, result.issues, result.forecast.sequential_s) == ((), (), 0)


def test_present_state_is_kept_and_begun_work_is_a_risk() -> None:
    present = {IssueId("1"): Present(branch="feature/issue-1", commits_ahead=2, left_to_do="checks")}
    result = plan([issue("1", "Text"), issue("2")], base=None, tracked=frozenset(), present=present, slots=1)
    assert result.issues[0].present.left_to_do == "checks"
    assert result.issues[1].present == Present()
    assert any("already holds 2 commits" in risk.why for risk in result.risks)


def test_shared_files_are_an_overlap_unless_one_waits_for_the_other() -> None:
    result = planned(
        issue("1", "Change src/a.py"), issue("2", "Change src/a.py"), issue("3", "Change src/a.py. Depends on #2"),
        tracked=("src/a.py",),
    )  # fmt: skip
    assert [(one.a, one.b, one.paths) for one in result.overlaps] == [
        ("1", "2", ("src/a.py",)),
        ("1", "3", ("src/a.py",)),
    ]


@given(seed=st.integers(0, 2**32), size=st.integers(0, 40))
def test_any_tangle_of_text_ends_in_a_plan_or_in_a_named_circle(*, seed: int, size: int) -> None:
    chance = random.Random(seed)
    says = ("Depends on #{}", "Blocks #{}", "- [ ] #{}", "Part of #{}", "After #{}", "#{} depends on #3", "After #{}")
    backlog = [
        issue(
            str(number),
            "\n".join(chance.choice(says).format(chance.randint(1, 45)) for _ in range(chance.randint(0, 2))),
        )
        for number in range(1, size + 1)
    ]
    try:
        result = planned(*backlog)
    except UserFault as fault:
        assert "circle" in fault.message  # noqa: PT017 either answer is right
        return
    wave = {name: number for number, names in enumerate(result.waves) for name in names}
    assert len(wave) == size
    assert all(wave[edge.before] < wave[edge.after] for edge in result.edges)


def test_same_backlog_in_another_order_gives_the_same_plan() -> None:
    chance = random.Random(7)
    backlog = [issue(str(number), f"Change src/m{number % 9}.py. After #{number % 13 + 1}") for number in range(1, 60)]
    shuffled = chance.sample(backlog, len(backlog))
    first, second = planned(*backlog), planned(*shuffled)
    assert (first.waves, first.edges, first.overlaps, first.forecast) == (
        second.waves, second.edges, second.overlaps, second.forecast,
    )  # fmt: skip
