"""The seed run: a research, a design and an implementation that needs the design."""

from collections.abc import Callable, Mapping
from itertools import pairwise

import pytest

from luminaguard.model.facts import Fact
from luminaguard.model.ids import IssueId, Json, Oid, RunId
from luminaguard.model.issue import Issue, Kind, Notice, Origin
from luminaguard.model.plan import Edge, Forecast, Level, Overlap, Plan, PlannedIssue, Present, Risk, Touch

START = 1_771_000_000.0
Rows = list[tuple[float, str, str, Mapping[str, Json]]]
FactsOf = Callable[[Rows], tuple[Fact, ...]]


def _facts(rows: Rows) -> tuple[Fact, ...]:
    return tuple(
        Fact(seq=seq, time=START + t, run=RunId("20260213-162640-5f3a"), subject=subject, kind=kind, data=data)
        for seq, (t, subject, kind, data) in enumerate(sorted(rows, key=lambda row: row[0]), start=1)
    )


@pytest.fixture
def facts_of() -> FactsOf:
    return _facts


def _oid(number: int) -> str:
    return f"{number:040x}"


def _task(
    issue: str,
    *,
    begin: float,
    title: str,
    kind: str,
    needs: list[Json],
    wave: int,
    path: str,
    lines: int,
    pull: str,
    findings: int,
) -> Rows:
    number = int(issue)
    files: list[Json] = [{"path": path, "added": lines, "removed": 0}]
    found: list[Json] = [
        {"severity": "low", "file": path, "line": line + 1, "text": f"remark {line}"} for line in range(findings)
    ]
    planned: dict[str, Json] = {
        "title": title,
        "kind": kind,
        "needs": needs,
        "wave": wave,
        "branch": f"feature/issue-{issue}",
        "deliverables": [f"`{path}`", "Thread safe"],
    }
    agent: dict[str, Json] = {
        "ended": "exited",
        "exit_code": 0,
        "seconds": 20.0,
        "commit": _oid(number),
        "problem": None,
        "files": files,
        "log": f"logs/{issue}-1.log",
        "input_tokens": 1000,
        "output_tokens": 50,
        "usd": 0.25,
    }
    candidate: dict[str, Json] = {"commit": _oid(number + 1000), "tree": _oid(number + 2000), "base": _oid(1)}
    checks: dict[str, Json] = {
        "ok": True,
        "tree": _oid(number + 2000),
        "seconds": 5.0,
        "cached": False,
        "commands": [{"command": "make test", "exit_code": 0, "seconds": 5.0}],
    }
    landed: dict[str, Json] = {**candidate, "files": files, "checkouts": [], "attempt": 1}
    return [
        (0.5, issue, "planned", planned),
        (begin, issue, "ready", {}),
        (begin + 1, issue, "attempt:1", {"start": _oid(1), "target": _oid(1), "why": "first"}),
        (begin + 1.5, issue, "placed:1.1", {"place": "local", "isolation": "namespace", "agent": "mine"}),
        (begin + 21.5, issue, "agent:1", agent),
        (begin + 22, issue, "published:1", {"branch": f"feature/issue-{issue}", "pull_request": pull}),
        (begin + 24, issue, "review:1", {"ok": True, "findings": found, "grade": "A", "seconds": 2.0}),
        (begin + 25, issue, "queued:1", {"commit": _oid(number)}),
        (begin + 26, issue, "candidate:1.1", candidate),
        (begin + 31, issue, "checks:1.1", checks),
        (begin + 32, issue, "landing:1.1", candidate),
        (begin + 33, issue, "landed", landed),
        (begin + 34, issue, "closing", {"pull_request": pull}),
        (begin + 35, issue, "closed", {"state": "closed", "closed": True}),
    ]


@pytest.fixture
def seed_facts() -> tuple[Fact, ...]:
    research = "docs/architecture/cross-platform-research.md"
    rows: Rows = [
        (
            0,
            "run",
            "started",
            {
                "target": "main",
                "base": _oid(1),
                "slots": 2,
                "isolation": "auto",
                "agent": "mine",
                "backlog": "local",
                "checks": ["make test"],
                "checks_from": "found in Makefile",
                "style": "squash",
                "approve": "auto",
                "review": "mine",
                "notices": ["#9 is not known"],
            },
        ),
        (0.1, "run", "session", {"pid": 1, "isolation": "namespace", "reason": "no KVM here"}),
        *_task(
            "152",
            begin=1,
            title="Cross-Platform VM Research",
            kind="research",
            needs=[],
            wave=1,
            path=research,
            lines=105,
            pull="183",
            findings=2,
        ),
        *_task(
            "154",
            begin=2,
            title="Platform-Agnostic VM Abstraction Layer",
            kind="design",
            needs=[],
            wave=1,
            path="orchestrator/src/vm/hypervisor.rs",
            lines=41,
            pull="182",
            findings=3,
        ),
        *_task(
            "155",
            begin=40,
            title="Implement macOS VM Backend",
            kind="implementation",
            needs=["154"],
            wave=2,
            path="orchestrator/src/vm/apple_hv.rs",
            lines=105,
            pull="184",
            findings=3,
        ),
        (
            80,
            "run",
            "verified",
            {"commits_on_target": True, "trees_tested": True, "issues_closed": True, "details": ["3 of 3"]},
        ),
        (81, "run", "session_ended", {"outcome": "done"}),
    ]
    return _facts(rows)


def planned_issue(issue: str, title: str, *, kind: Kind = Kind.DESIGN, needs: tuple[str, ...] = ()) -> PlannedIssue:
    return PlannedIssue(
        issue=Issue(id=IssueId(issue), title=title, labels=("vm",), priority=1),
        kind=kind,
        needs=tuple(map(IssueId, needs)),
        estimate_s=2700.0,
        estimate_from="kind",
        risk=Level.MEDIUM,
        touches=(Touch(path="src/a.py", source="named", confidence=0.8),),
        present=Present(),
        deliverables=(f"{title} | done",),
    )


PlanOf = Callable[[dict[str, str]], Plan]


@pytest.fixture
def plan_of() -> PlanOf:
    """Make a plan where each issue needs the one before it: id -> title."""

    def plan(titles: dict[str, str]) -> Plan:
        names = [IssueId(name) for name in titles]
        edges = tuple(Edge(before=a, after=b, why=f"says {titles[b]!r}") for a, b in pairwise(names))
        needs = {edge.after: (edge.before,) for edge in edges}
        return Plan(
            base=Oid("1" * 40),
            issues=tuple(planned_issue(name, titles[name], needs=needs.get(name, ())) for name in names),
            waves=tuple((name,) for name in names),
            edges=edges,
            overlaps=(Overlap(a=names[0], b=names[-1], paths=("src/a.py",), probability=0.4),) if names else (),
            forecast=Forecast(slots=2, makespan_s=5400.0, lower_bound_s=5000.0, sequential_s=9000.0),
            risks=tuple(
                Risk(issue=name, risk=Level.HIGH, why=titles[name], mitigation="the whole suite runs") for name in names
            ),
            notices=(Notice(text="#9 is not known", origin=Origin(path="b.md", line=3)),),
        )

    return plan


HOSTILE = (
    "a | b |\n| c | d |",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    '"; rm -rf / #',
    "'; touch owned; '",
    "$(touch owned) `touch owned` ${IFS}",
    "\x1b]0;title\x07\x1b[2J\x00",
    'x"] --> y\nclick n0 call evil()',
    "```\n# Heading\n```",
    "\u202egnp.exe \ud800",
    "-- \\' \\\n EOF",
    "Closes #1, fixes: owner/repo#2 and RESOLVES https://example.org/o/r/issues/3",
    "界" * 80,
    "[x](javascript:alert(1)) *b* _i_ ~~s~~ &lt;",
    "",
)


@pytest.fixture(params=HOSTILE, ids=range(len(HOSTILE)))
def hostile(request: pytest.FixtureRequest) -> str:
    return str(request.param)
