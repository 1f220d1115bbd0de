from collections.abc import Callable, Mapping

import pytest

from luminaguard.model.facts import Fact
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json
from luminaguard.reports.status_text import event_line, issue_detail, problems_json, problems_text, status_lines
from luminaguard.reports.view import run_view
from luminaguard.reports.wording import columns

Rows = list[tuple[float, str, str, Mapping[str, Json]]]
FactsOf = Callable[[Rows], tuple[Fact, ...]]
HOLD: Mapping[str, Json] = {"why": "it broke", "who": "you", "how": "luminaguard retry 7", "group": "work"}


def test_status_has_a_line_for_each_issue_and_one_of_totals(seed_facts: tuple[Fact, ...]) -> None:
    lines = status_lines(run_view(seed_facts), width=100)
    assert len(lines) == 4
    assert lines[0].startswith("+ #152 Cross-Platform VM Research")
    assert "landed" in lines[0]
    assert lines[3] == "3 issues: 3 landed, 3 agent starts, 3 check runs, 0 conflicts, 1 min 21 s, 0.75 USD"


def test_status_line_counts_from_the_present_while_a_session_is_at_work(facts_of: FactsOf) -> None:
    facts = facts_of([(0, "7", "planned", {"title": "T"}), (5, "7", "attempt:1", {})])
    line = status_lines(run_view(facts, now=facts[1].time + 65), width=100)[0]
    assert line.startswith("* #7")
    assert "working" in line
    assert "1 min 05 s" in line


@pytest.mark.parametrize("width", [20, 60, 80, 120])
def test_status_lines_are_as_wide_as_said(facts_of: FactsOf, hostile: str, width: int) -> None:
    rows: Rows = [(0, "7", "planned", {"title": hostile}), (1, "7", "held:1", {**HOLD, "why": hostile})]
    for line in status_lines(run_view(facts_of(rows)), width=width):
        assert columns(line) <= width
        assert line.isprintable()


def test_detail_ticks_the_checklist(seed_facts: tuple[Fact, ...]) -> None:
    detail = issue_detail(run_view(seed_facts), IssueId("154"))
    assert "    [x] Landed on main\n" in detail
    assert "    1: landed, agent 20 s, log logs/154-1.log\n" in detail
    assert "  pull request  182\n" in detail


def test_detail_of_an_unknown_issue_names_those_there_are(seed_facts: tuple[Fact, ...]) -> None:
    with pytest.raises(UserFault, match="has no issue #9") as caught:
        issue_detail(run_view(seed_facts), IssueId("9"))
    assert "#152, #154, #155" in caught.value.hint


def test_problem_says_who_must_act_what_to_type_and_what_waits_behind(facts_of: FactsOf) -> None:
    rows: Rows = [
        (0, "7", "planned", {"title": "T"}),
        (0, "8", "planned", {"title": "U", "needs": ["7"]}),
        (1, "7", "held:1", HOLD),
    ]
    view = run_view(facts_of(rows))
    assert problems_text(view) == (
        "#7 T\n  held (work): it broke\n  you must act: luminaguard retry 7\n  behind it: #8\n"
    )
    document = problems_json(view)
    assert document["schema"] == "luminaguard/problems@1"
    assert document["problems"] == [
        {"issue": "7", "title": "T", "state": "held", **HOLD},
        {
            "issue": "8",
            "title": "U",
            "state": "held",
            "why": "needs #7, which is held: it broke",
            "who": "you",
            "how": "luminaguard retry 7",
            "group": "work",
        },
    ]


def test_issue_behind_a_cancelled_one_says_what_to_type(facts_of: FactsOf) -> None:
    rows: Rows = [
        (0, "7", "planned", {}),
        (0, "8", "planned", {"needs": ["7"]}),
        (1, "7", "cancelled", {"by": "ann"}),
    ]
    text = problems_text(run_view(facts_of(rows)))
    assert "#8" in text
    assert "luminaguard retry 7" in text


def test_pause_is_a_problem_with_who_and_how_in_both_forms(facts_of: FactsOf) -> None:
    view = run_view(facts_of([(0, "7", "planned", {"title": "T"}), (1, "run", "paused:1", {"by": "ann"})]))
    assert problems_text(view) == "the run\n  paused by ann: no agent starts\n  you must act: luminaguard resume\n"
    assert problems_json(view)["problems"] == [
        {
            "issue": None,
            "title": "the run",
            "state": "paused",
            "why": "paused by ann: no agent starts",
            "who": "you",
            "how": "luminaguard resume",
            "group": "paused",
        }
    ]


def test_run_without_problems_says_so(seed_facts: tuple[Fact, ...]) -> None:
    assert problems_text(run_view(seed_facts)) == "Nothing waits for a person.\n"


def test_event_lines_tell_the_run_in_order(seed_facts: tuple[Fact, ...]) -> None:
    lines = [line for fact in seed_facts if fact.subject == "154" and (line := event_line(fact))]
    assert lines == [
        "#154  attempt 1 started",
        "#154  agent started: mine, isolation namespace",
        "#154  agent done: 1 file, +41 -0",
        "#154  published feature/issue-154 as pull request 182",
        "#154  review passed: 3 findings",
        "#154  in the merge queue",
        "#154  checks green in 5.0 s",
        "#154  landed as 000000000000: 1 file, +41 -0",
        "#154  issue closed",
    ]


def test_event_line_cannot_drive_the_terminal(facts_of: FactsOf, hostile: str) -> None:
    for fact in facts_of([(0, "7", "failed:1", {"why": hostile}), (1, f"7{hostile}", "held:1", {"why": hostile})]):
        line = event_line(fact)
        assert line is not None
        assert line.isprintable()
