import json
from collections.abc import Callable
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from luminaguard.model.facts import KINDS, RUN, Fact
from luminaguard.model.ids import IssueId, Json, RunId
from luminaguard.model.issue import Issue
from luminaguard.model.plan import Plan
from luminaguard.planner.plan import plan
from luminaguard.reports.html import report_html
from luminaguard.reports.json_report import issues_json, plan_json, report_json, status_json
from luminaguard.reports.markdown import report_markdown
from luminaguard.reports.standing import State
from luminaguard.reports.status_text import (
    event_line,
    issue_detail,
    problems_json,
    problems_text,
    status_lines,
    waiting_lines,
)
from luminaguard.reports.view import run_view

PlanOf = Callable[[dict[str, str]], Plan]

DOCUMENT = {
    "schema",
    "run",
    "base",
    "target",
    "started",
    "ended",
    "issues",
    "timeline",
    "totals",
    "verified",
}
ISSUE = {
    "id",
    "title",
    "state",
    "why",
    "attempts",
    "branch",
    "commit",
    "tree",
    "pull_request",
    "closed",
    "files",
    "findings",
    "cost",
    "seconds",
}
TOTALS = {
    "issues",
    "landed",
    "held",
    "failed",
    "agent_starts",
    "check_runs",
    "conflicts",
    "wall_s",
    "agent_s",
    "lower_bound_s",
    "sequential_s",
    "usd",
}


def objects(value: Json) -> list[dict[str, Json]]:
    assert isinstance(value, list)
    assert all(isinstance(item, dict) for item in value)
    return [item for item in value if isinstance(item, dict)]


def keys(value: Json) -> set[str]:
    assert isinstance(value, dict)
    return set(value)


def durations(value: Json, *, inside: str = "") -> list[Json]:
    """Every duration of a document: what a key that ends in _s holds, and whatever stands below `seconds`."""
    if isinstance(value, list):
        return [found for item in value for found in durations(item, inside=inside)]
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in durations(item, inside=_measure(key, inside))]
    return [value] if inside else []


def _measure(key: str, inside: str) -> str:
    return key if key == "seconds" or key.endswith("_s") else inside


def holds_to_the_contract(document: dict[str, Json]) -> None:
    assert set(document) == DOCUMENT
    assert keys(document["totals"]) == TOTALS
    assert keys(document["verified"]) == {"commits_on_target", "trees_tested", "issues_closed"}
    for issue in objects(document["issues"]):
        assert set(issue) == ISSUE
        assert issue["state"] in list(State)
        assert isinstance(issue["attempts"], int)
        assert isinstance(issue["closed"], bool)
        assert keys(issue["cost"]) == {"input_tokens", "output_tokens", "usd"}
        assert keys(issue["seconds"]) == {"waited", "agent", "checks", "review", "queue"}
        assert all(set(file) == {"path", "added", "removed"} for file in objects(issue["files"]))
        assert all(set(found) == {"severity", "file", "line", "text"} for found in objects(issue["findings"]))
    assert all(set(entry) == {"t_s", "issue", "what"} for entry in objects(document["timeline"]))
    assert all(type(found) is float for found in durations(document)), durations(document)
    json.dumps(document, allow_nan=False)


def test_documents_of_the_seed_run_hold_to_the_contract(seed_facts: tuple[Fact, ...]) -> None:
    view = run_view(seed_facts)
    status, report = status_json(view), report_json(view)
    holds_to_the_contract(status)
    holds_to_the_contract(report)
    assert (status["schema"], report["schema"]) == ("luminaguard/status@1", "luminaguard/report@1")
    assert (report["started"], report["ended"]) == ("2026-02-13T16:26:40.000Z", "2026-02-13T16:28:01.000Z")
    assert [issue["pull_request"] for issue in objects(report["issues"])] == ["183", "182", "184"]
    assert [len(objects(issue["findings"])) for issue in objects(report["issues"])] == [2, 3, 3]


def test_durations_of_every_document_are_floats(seed_facts: tuple[Fact, ...]) -> None:
    backlogs = ((), (Issue(id=IssueId("1"), title="T"),))
    plans = [plan(issues, base=None, tracked=frozenset(), present={}, slots=2) for issues in backlogs]
    documents = [plan_json(made) for made in plans]
    for facts in ((), seed_facts[:1], seed_facts[:3], seed_facts):
        documents += [report_json(run_view(facts)), status_json(run_view(facts))]
    found = [duration for document in documents for duration in durations(document)]
    assert len(found) > 100
    assert [duration for duration in found if type(duration) is not float] == []


def test_cost_that_no_agent_told_is_null_and_not_nothing() -> None:
    facts = [Fact(seq=1, time=1.0, run=RunId("r"), subject="7", kind="agent:1", data={"commit": "c"})]
    issue = objects(report_json(run_view(facts))["issues"])[0]
    assert issue["cost"] == {"input_tokens": None, "output_tokens": None, "usd": None}


def test_plan_document_has_the_keys_of_the_contract(plan_of: PlanOf) -> None:
    document = plan_json(plan_of({"154": "Layer", "155": "Backend"}))
    assert set(document) == {"schema", "base", "issues", "waves", "edges", "overlaps", "forecast", "risks"}
    assert document["schema"] == "luminaguard/plan@1"
    issue = objects(document["issues"])[1]
    assert set(issue) == {
        "id",
        "title",
        "kind",
        "labels",
        "needs",
        "priority",
        "estimate_s",
        "risk",
        "touches",
        "state",
    }
    assert issue["needs"] == ["154"]
    assert issue["touches"] == [{"path": "src/a.py", "from": "named", "confidence": 0.8}]
    assert keys(issue["state"]) == {"branch", "commits_ahead", "pull_request", "left_to_do"}
    assert document["waves"] == [["154"], ["155"]]
    assert set(objects(document["overlaps"])[0]) == {"a", "b", "paths", "probability"}
    assert set(objects(document["risks"])[0]) == {"id", "risk", "why", "mitigation"}
    assert keys(document["forecast"]) == {"slots", "makespan_s", "lower_bound_s", "sequential_s"}
    json.dumps(document)


def test_edge_goes_from_the_issue_that_lands_first(plan_of: PlanOf) -> None:
    edge = objects(plan_json(plan_of({"154": "Layer", "155": "Backend"}))["edges"])[0]
    assert (edge["from"], edge["to"]) == ("154", "155")


def test_issues_document_tells_the_trackers_state_and_what_is_there(plan_of: PlanOf) -> None:
    document = issues_json(plan_of({"154": "Layer"}).issues)
    assert document["schema"] == "luminaguard/issues@1"
    issue = objects(document["issues"])[0]
    assert set(issue) == {"id", "title", "kind", "state", "labels", "needs", "present"}
    assert issue["state"] == "open"


TEXT = st.text(max_size=12)
VALUES: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
ISSUES = st.sampled_from(["1", "2", "a b", "-x"])
NUMBER = st.floats(min_value=0, max_value=1e6)
OBJECTS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={"path": TEXT, "added": VALUES, "severity": TEXT, "line": VALUES, "command": TEXT, "seconds": NUMBER},
    ),
    max_size=2,
)
DATA = st.fixed_dictionaries(
    {},
    optional={
        "needs": st.lists(ISSUES, max_size=3),
        "title": TEXT,
        "why": TEXT,
        "ok": st.booleans(),
        "closed": st.booleans(),
        "commit": st.none() | TEXT,
        "problem": st.none() | TEXT,
        "group": st.sampled_from(["approval", "trust", "work", "landing"]),
        "files": OBJECTS,
        "findings": OBJECTS,
        "commands": OBJECTS,
        "seconds": NUMBER | VALUES,
        "cached": st.booleans(),
        "tree": TEXT,
        "usd": st.none() | NUMBER,
        "deliverables": st.lists(TEXT, max_size=2),
        "wave": VALUES,
        "slots": VALUES,
        "review": VALUES,
        "text": VALUES,
    },
)
KIND = st.builds(
    lambda name, numbers: f"{name}{numbers}",
    st.sampled_from([*KINDS, "unheard_of"]),
    st.sampled_from(["", ":1", ":2.1"]),
)


@st.composite
def runs(draw: st.DrawFn) -> tuple[Fact, ...]:
    rows = draw(st.lists(st.tuples(NUMBER, st.just(RUN) | ISSUES, KIND, DATA), max_size=25))
    return tuple(
        Fact(
            seq=seq, time=1.7e9 + after, run=RunId("r"), subject=subject, kind=kind, data=cast("dict[str, Json]", data)
        )
        for seq, (after, subject, kind, data) in enumerate(rows, start=1)
    )


@given(runs(), st.none() | NUMBER)
def test_any_facts_give_a_document_of_the_contract(facts: tuple[Fact, ...], now: float | None) -> None:
    view = run_view(facts, now=None if now is None else 1.7e9 + now)
    holds_to_the_contract(report_json(view))
    totals = view.totals
    assert totals.wall_s >= 0
    assert totals.lower_bound_s <= totals.sequential_s * (1 + 1e-9) + 1e-6
    assert all(min(spent.waited, spent.queue) >= 0 for spent in (task.seconds for task in view.tasks))


@given(runs(), st.integers(min_value=1, max_value=200))
def test_any_facts_can_be_shown(facts: tuple[Fact, ...], width: int) -> None:
    view = run_view(facts)
    lines = status_lines(view, width=width)
    assert len(lines) == len(view.tasks) + len(waiting_lines(view)) + 1
    shown = [*lines, problems_text(view), report_markdown(view), report_html(view)]
    shown += [issue_detail(view, task.id) for task in view.tasks]
    shown += [line for fact in facts if (line := event_line(fact)) is not None]
    json.dumps(problems_json(view), allow_nan=False)
    for text in shown:
        text.encode()
        assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text if char != "\n")
