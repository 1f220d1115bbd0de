from collections.abc import Callable, Mapping

import pytest

from luminaguard.model.facts import Fact
from luminaguard.model.ids import IssueId, Json
from luminaguard.reports.standing import State
from luminaguard.reports.task import TaskView
from luminaguard.reports.view import run_view

Rows = list[tuple[float, str, str, Mapping[str, Json]]]
FactsOf = Callable[[Rows], tuple[Fact, ...]]
Told = tuple[str, Mapping[str, Json]]

PLANNED: Told = ("planned", {"title": "T", "needs": []})
READY: Told = ("ready", {})
ATTEMPT: Told = ("attempt:1", {"why": "first"})
AGENT: Told = ("agent:1", {"commit": "c1", "problem": None, "seconds": 3.0})
HELD: Told = ("held:1", {"why": "it broke", "who": "you", "how": "luminaguard retry 7", "group": "work"})
QUEUED: Told = ("queued:1", {"commit": "c1"})
GREEN: Told = ("checks:1.1", {"ok": True, "tree": "t1"})
RED: Told = ("checks:1.1", {"ok": False, "why": "make test failed", "tree": "t1"})
LANDED: Told = ("landed", {"commit": "c2", "tree": "t1", "files": []})
FAILED: Told = ("failed:1", {"why": "gave up", "how": "luminaguard retry 7"})


def one(facts_of: FactsOf, *told: Told, review: bool = False) -> TaskView:
    rows: Rows = [(0, "run", "started", {"target": "main", "review": "mine" if review else None})]
    rows += [(place, "7", kind, data) for place, (kind, data) in enumerate(told, start=1)]
    return run_view(facts_of(rows)).tasks[0]


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ([PLANNED], State.WAITING),
        ([PLANNED, READY], State.READY),
        ([PLANNED, READY, ATTEMPT], State.WORKING),
        ([PLANNED, READY, ATTEMPT, ("placed:1.1", {})], State.WORKING),
        ([PLANNED, READY, ATTEMPT, AGENT], State.QUEUED),
        ([PLANNED, READY, ATTEMPT, ("agent:1", {"commit": "c1", "problem": "foreign .git"})], State.READY),
        ([PLANNED, READY, ATTEMPT, ("agent:1", {"commit": None, "problem": None})], State.READY),
        ([PLANNED, READY, ATTEMPT, AGENT, ("published:1", {})], State.QUEUED),
        ([PLANNED, READY, ATTEMPT, AGENT, ("review:1", {"ok": True})], State.QUEUED),
        ([PLANNED, READY, ATTEMPT, AGENT, ("review:1", {"ok": False, "why": "unsafe"})], State.READY),
        ([PLANNED, ATTEMPT, AGENT, ("approval_asked:1", {})], State.APPROVAL),
        ([PLANNED, ATTEMPT, AGENT, ("approval_asked:1", {}), ("approved:1", {"by": "ann"})], State.QUEUED),
        ([PLANNED, ATTEMPT, AGENT, ("approval_asked:1", {}), ("rejected:1", {"by": "ann"})], State.FAILED),
        ([PLANNED, ATTEMPT, ("held:1", {"group": "approval"})], State.APPROVAL),
        ([PLANNED, ATTEMPT, AGENT, QUEUED], State.QUEUED),
        ([PLANNED, ATTEMPT, AGENT, QUEUED, ("candidate:1.1", {})], State.CHECKING),
        ([PLANNED, ATTEMPT, AGENT, QUEUED, ("conflict:1.1", {"paths": ["a"]})], State.READY),
        ([PLANNED, ATTEMPT, AGENT, QUEUED, RED], State.READY),
        ([PLANNED, ATTEMPT, AGENT, QUEUED, GREEN], State.LANDING),
        ([PLANNED, ATTEMPT, AGENT, QUEUED, GREEN, ("landing:1.1", {})], State.LANDING),
        ([PLANNED, ATTEMPT, AGENT, QUEUED, GREEN, LANDED], State.LANDED),
        ([PLANNED, READY, HELD], State.HELD),
        ([PLANNED, READY, HELD, ("released", {"by": "ann"})], State.READY),
        ([PLANNED, READY, HELD, ("approved:1", {})], State.READY),
        ([PLANNED, READY, HELD, ("held:2", {"group": "trust"}), ("released", {})], State.READY),
        ([PLANNED, ATTEMPT, HELD, ("retry:1", {})], State.READY),
        ([PLANNED, ATTEMPT, HELD, ("retry:1", {}), ("attempt:2", {"why": "person"})], State.WORKING),
        ([PLANNED, ATTEMPT, HELD, AGENT], State.HELD),
        ([PLANNED, ATTEMPT, FAILED], State.FAILED),
        ([PLANNED, ATTEMPT, FAILED, ("retry:1", {})], State.READY),
        ([PLANNED, ATTEMPT, ("cancelled", {"by": "ann"})], State.CANCELLED),
        ([PLANNED, ATTEMPT, ("cancelled", {}), AGENT], State.CANCELLED),
        ([PLANNED, ATTEMPT, ("cancelled", {}), ("retry:1", {})], State.READY),
        ([PLANNED, LANDED, ("cancelled", {})], State.LANDED),
        ([PLANNED, LANDED, HELD], State.LANDED),
        ([PLANNED, READY, ("hologram:1", {})], State.READY),
    ],
)
def test_state_follows_from_the_facts(facts_of: FactsOf, told: list[Told], state: State) -> None:
    assert one(facts_of, *told).state is state


def test_work_is_reviewed_before_it_queues_where_a_review_is_configured(facts_of: FactsOf) -> None:
    assert one(facts_of, PLANNED, ATTEMPT, AGENT, review=True).state is State.REVIEWING
    assert one(facts_of, PLANNED, ATTEMPT, AGENT, ("published:1", {}), review=True).state is State.REVIEWING


def test_state_says_why(facts_of: FactsOf) -> None:
    assert one(facts_of, PLANNED, ATTEMPT, AGENT, QUEUED, RED).why == "make test failed"
    assert one(facts_of, PLANNED, ATTEMPT, AGENT, ("conflict:1.1", {"paths": ["a", "b"]})).why == "conflict: a, b"
    assert one(facts_of, PLANNED, ATTEMPT, ("rejected:1", {"by": "ann", "why": "too big"})).why == (
        "rejected by ann: too big"
    )
    assert one(facts_of, PLANNED, ATTEMPT, ("attempt:2", {"why": "checks"})).why == "attempt 2, because of: checks"


def test_approval_says_what_to_type(facts_of: FactsOf) -> None:
    hold = one(facts_of, PLANNED, ATTEMPT, AGENT, ("approval_asked:1", {"why": "approve = human"})).hold
    assert hold is not None
    assert (hold.group, hold.how) == ("approval", "luminaguard approve 7, or luminaguard reject 7 --why TEXT")


def test_landed_issue_that_cannot_be_closed_keeps_its_hold_until_it_is_closed(facts_of: FactsOf) -> None:
    stuck = one(facts_of, PLANNED, LANDED, HELD)
    assert (stuck.state, stuck.why, stuck.hold is not None) == (State.LANDED, "it broke", True)
    assert one(facts_of, PLANNED, LANDED, HELD, ("closed", {"closed": True})).hold is None


def chain(facts_of: FactsOf, *more: tuple[str, str, Mapping[str, Json]]) -> dict[str, TaskView]:
    rows: Rows = [
        (1, "7", "planned", {"needs": []}),
        (1, "8", "planned", {"needs": ["7"]}),
        (1, "9", "planned", {"needs": ["8"]}),
        (1, "10", "planned", {"needs": []}),
    ]
    rows += [(2 + place, *row) for place, row in enumerate(more)]
    return {task.id: task for task in run_view(facts_of(rows)).tasks}


def test_issue_behind_a_held_one_is_held_and_says_behind_which(facts_of: FactsOf) -> None:
    tasks = chain(facts_of, ("7", *HELD))
    assert tasks["8"].state is State.HELD
    assert tasks["8"].why == "needs #7, which is held: it broke"
    assert tasks["9"].why == "needs #8, which waits behind #7: it broke"
    assert tasks["9"].hold is not None
    assert (tasks["9"].hold.group, tasks["9"].hold.behind, tasks["9"].hold.how) == ("work", "7", "luminaguard retry 7")
    assert tasks["10"].state is State.WAITING


@pytest.mark.parametrize("end", [FAILED, ("cancelled", {"by": "ann"})])
def test_issue_behind_one_that_will_not_land_is_held(facts_of: FactsOf, end: Told) -> None:
    tasks = chain(facts_of, ("7", *end))
    assert [tasks[name].state for name in ("8", "9")] == [State.HELD, State.HELD]


def test_hold_behind_another_ends_with_it(facts_of: FactsOf) -> None:
    tasks = chain(facts_of, ("7", *HELD), ("7", "retry:1", {"by": "ann"}))
    assert tasks["8"].state is State.WAITING
    assert tasks["8"].why == "waits for #7"


def test_chain_of_ten_thousand_issues_behind_a_held_one_is_folded(facts_of: FactsOf) -> None:
    rows: Rows = [(0, "0", "planned", {"needs": []}), (1, "0", *HELD)]
    rows += [(0, str(number), "planned", {"needs": [str(number - 1)]}) for number in range(1, 10_000)]
    view = run_view(facts_of(rows))
    assert view.totals.held == 10_000
    assert max(len(task.why) for task in view.tasks) < 80


def test_needs_in_a_circle_do_not_hang_the_report(facts_of: FactsOf) -> None:
    rows: Rows = [(0, "1", "planned", {"needs": ["2", "1"]}), (0, "2", "planned", {"needs": ["1"]})]
    assert [task.state for task in run_view(facts_of(rows)).tasks] == [State.WAITING, State.WAITING]


def test_seed_run_lands_three_issues(seed_facts: tuple[Fact, ...]) -> None:
    view = run_view(seed_facts)
    assert [(task.id, task.pull_request, task.closed, task.tested) for task in view.tasks] == [
        ("152", "183", True, True),
        ("154", "182", True, True),
        ("155", "184", True, True),
    ]
    assert [len(task.findings) for task in view.tasks] == [2, 3, 3]
    assert [attempt.outcome for task in view.tasks for attempt in task.attempts] == ["landed"] * 3
    assert view.verified.trees_tested
    assert (view.isolation, view.isolation_reason) == ("namespace", "no KVM here")


def test_seed_run_is_counted(seed_facts: tuple[Fact, ...]) -> None:
    totals = run_view(seed_facts).totals
    assert (totals.issues, totals.landed, totals.held, totals.failed) == (3, 3, 0, 0)
    assert (totals.agent_starts, totals.check_runs, totals.conflicts, totals.reworks) == (3, 3, 0, 0)
    assert totals.agent_s == 60.0
    assert totals.sequential_s == 60.0 + 15.0 + 6.0
    assert totals.lower_bound_s == 50.0, "154 and then 155, 25 s each, is longer than 75 s over two slots"
    assert totals.wall_s == pytest.approx(80.9)
    assert totals.usd == 0.75


def test_lower_bound_is_the_work_over_the_slots_where_nothing_waits_for_anything(facts_of: FactsOf) -> None:
    rows: Rows = [(0, "run", "started", {"slots": 2})]
    rows += [(1, str(issue), "agent:1", {"commit": "c", "seconds": 10.0}) for issue in range(5)]
    assert run_view(facts_of(rows)).totals.lower_bound_s == 25.0


def test_seed_run_tells_where_the_time_went(seed_facts: tuple[Fact, ...]) -> None:
    seconds = run_view(seed_facts).tasks[0].seconds
    assert (seconds.waited, seconds.agent, seconds.checks, seconds.review) == (1.0, 20.0, 5.0, 2.0)
    assert seconds.queue == 3.0, "8 s from queued to landed, 5 s of them checks"


def test_time_between_sessions_does_not_count(facts_of: FactsOf) -> None:
    rows: Rows = [
        (0, "run", "session", {}),
        (10, "7", "planned", {}),
        (500, "7", "retry:1", {"by": "ann"}),
        (1000, "run", "session:2", {}),
        (1005, "run", "session_ended:2", {}),
        (2000, "run", "session:3", {}),
        (2001, "7", "ready", {}),
    ]
    assert run_view(facts_of(rows)).totals.wall_s == 10 + 5 + 1
    at_work = run_view(facts_of(rows), now=facts_of(rows)[0].time + 2007)
    assert at_work.totals.wall_s == 10 + 5 + 7
    assert at_work.ended is None


def test_known_verdict_is_no_check_run_and_takes_no_time(facts_of: FactsOf) -> None:
    rows: Rows = [(1, "7", "checks:1.1", {"ok": True, "cached": True, "seconds": 60.0})]
    view = run_view(facts_of(rows))
    assert (view.totals.check_runs, view.tasks[0].seconds.checks) == (0, 0.0)


def test_attempts_say_what_came_of_each(facts_of: FactsOf) -> None:
    task = one(
        facts_of,
        PLANNED,
        ATTEMPT,
        ("placed:1.1", {}),
        ("agent:1", {"commit": None, "problem": "nothing changed"}),
        ("attempt:2", {"why": "retry"}),
        ("placed:2.1", {}),
        ("placed:2.2", {}),
        ("agent:2", {"commit": "c1", "problem": None}),
        ("queued:2", {}),
        ("conflict:2.1", {"paths": ["a"]}),
        ("attempt:3", {"why": "conflict"}),
    )
    assert [(attempt.number, attempt.outcome, attempt.starts) for attempt in task.attempts] == [
        (1, "nothing changed", 1),
        (2, "conflict", 2),
        (3, "working", 0),
    ]


RUINED: Told = ("agent:2", {"commit": None, "problem": None, "files": []})
MADE: Told = ("agent:1", {"commit": "c1", "problem": None, "files": [{"path": "a.py", "added": 2, "removed": 0}]})


def test_files_are_those_of_the_branch_when_the_last_attempt_changed_nothing(facts_of: FactsOf) -> None:
    task = one(facts_of, PLANNED, ATTEMPT, MADE, ("attempt:2", {"why": "checks"}), RUINED, HELD)
    assert (task.commit, [file.path for file in task.files]) == ("c1", ["a.py"])


@pytest.mark.parametrize(("start", "committed"), [("c1", True), ("t0", False)])
def test_attempt_that_changed_nothing_is_committed_where_it_began_with_work(
    facts_of: FactsOf, start: str, *, committed: bool
) -> None:
    again: Told = ("attempt:2", {"why": "checks", "start": start, "target": "t0"})
    task = one(facts_of, PLANNED, ATTEMPT, MADE, again, RUINED)
    assert {item.text: item.done for item in task.checklist}["Committed"] is committed
    at_work = one(facts_of, PLANNED, ATTEMPT, MADE, again)
    assert not {item.text: item.done for item in at_work.checklist}["Committed"]


def test_tree_that_a_person_is_to_approve_is_the_one_that_was_checked(facts_of: FactsOf) -> None:
    task = one(facts_of, PLANNED, ATTEMPT, AGENT, GREEN, ("approval_asked:1", {}))
    assert (task.state, task.tree, task.tested) == (State.APPROVAL, "t1", True)


def test_verdict_where_nothing_is_to_be_run_is_no_check_run(facts_of: FactsOf) -> None:
    nothing: Told = ("checks:1.1", {"ok": True, "tree": "t1", "commands": [], "cached": False})
    rows: Rows = [(place, "7", kind, data) for place, (kind, data) in enumerate([PLANNED, ATTEMPT, AGENT, nothing])]
    view = run_view(facts_of(rows))
    assert view.totals.check_runs == 0
    assert view.timeline[-1].what == "no checks to pass"


def test_agent_that_changed_nothing_has_not_failed_while_earlier_work_may_go_on(facts_of: FactsOf) -> None:
    rows: Rows = [(1, "7", "agent:2", {"commit": None, "problem": None}), (2, "7", "agent:3", {"problem": "killed"})]
    said = [entry.what for entry in run_view(facts_of(rows)).timeline]
    assert said == ["agent done: it changed nothing", "agent failed: killed"]


UNPROVEN: Mapping[str, Json] = {
    "unproven": ["7"],
    "why": "f.txt is in the way",
    "how": "git stash; then: luminaguard run",
}


def proven(facts_of: FactsOf, *proofs: Mapping[str, Json], closed: bool = True) -> TaskView:
    rows: Rows = [(1, "7", *PLANNED), (2, "7", *LANDED), (3, "7", "closed", {"closed": True})]
    rows += [] if closed else [(4, "7", "held:1", {"why": "the tracker is away", "group": "work"})]
    rows += [(5 + number, "run", f"verified:{number}", data) for number, data in enumerate(proofs, start=1)]
    return run_view(facts_of(rows)).tasks[0]


def test_landing_that_is_not_proven_to_be_on_the_target_waits_for_a_person(facts_of: FactsOf) -> None:
    task = proven(facts_of, UNPROVEN)
    assert (task.state, task.why) == (State.LANDED, "f.txt is in the way")
    assert task.hold is not None
    assert (task.hold.who, task.hold.how, task.hold.group) == ("you", UNPROVEN["how"], "landing")


def test_landing_that_is_proven_later_waits_for_nobody(facts_of: FactsOf) -> None:
    task = proven(facts_of, UNPROVEN, {"commits_on_target": True, "unproven": []})
    assert (task.why, task.hold) == ("", None)


def test_landing_that_waits_for_something_else_goes_on_saying_so(facts_of: FactsOf) -> None:
    assert proven(facts_of, UNPROVEN, closed=False).why == "the tracker is away"


def test_landed_tree_that_no_check_passed_on_is_not_called_tested(facts_of: FactsOf) -> None:
    landed: Told = ("landed", {"commit": "c2", "tree": "other"})
    assert not one(facts_of, PLANNED, ATTEMPT, AGENT, GREEN, landed).tested
    assert one(facts_of, PLANNED, ATTEMPT, AGENT, GREEN, LANDED).tested


def test_verification_is_false_until_it_is_made(facts_of: FactsOf) -> None:
    verified = run_view(facts_of([(0, "run", "started", {})])).verified
    said = {verified.made, verified.commits_on_target, verified.trees_tested, verified.issues_closed}
    assert said == {False}


def test_state_dates_from_the_fact_that_brought_it(facts_of: FactsOf) -> None:
    rows: Rows = [(3, "7", "planned", {}), (5, "7", "attempt:1", {}), (9, "7", "placed:1.1", {})]
    facts = facts_of(rows)
    assert run_view(facts[:1]).tasks[0].since == facts[0].time
    assert run_view(facts).tasks[0].since == facts[1].time


def test_checklist_is_ticked_from_facts(seed_facts: tuple[Fact, ...]) -> None:
    design = IssueId("154")
    until = next(place for place, fact in enumerate(seed_facts) if fact.subject == design and fact.name == "review")
    task = next(task for task in run_view(seed_facts[:until]).tasks if task.id == design)
    assert [(item.text, item.done) for item in task.checklist] == [
        ("Up to date with main", True),
        ("`orchestrator/src/vm/hypervisor.rs`", True),
        ("Thread safe", False),
        ("Checks pass: make test", False),
        ("Committed", True),
        ("Published", True),
        ("Landed on main", False),
        ("Issue closed", False),
    ]
    done = next(task for task in run_view(seed_facts).tasks if task.id == design)
    assert all(item.done for item in done.checklist)


def test_conflict_takes_the_ticks_of_the_attempt_back(facts_of: FactsOf) -> None:
    task = one(facts_of, PLANNED, ATTEMPT, AGENT, ("published:1", {}), QUEUED, ("conflict:1.1", {"paths": ["a"]}))
    assert not any(item.done for item in task.checklist)


def test_paused_run_says_so(facts_of: FactsOf) -> None:
    assert run_view(facts_of([(0, "run", "paused", {"by": "ann"})])).paused
    assert not run_view(facts_of([(0, "run", "paused", {}), (1, "run", "resumed", {})])).paused
