"""The JSON documents of the command line. Their keys are promises; see the interface."""

from collections.abc import Sequence

from luminaguard.model.ids import Json
from luminaguard.model.issue import IssueState
from luminaguard.model.plan import Edge, Overlap, Plan, PlannedIssue, Present, Risk, Touch
from luminaguard.model.work import FileChange, Finding
from luminaguard.reports.task import TaskView
from luminaguard.reports.view import RunView, Totals
from luminaguard.reports.wording import stamp

JsonObject = dict[str, Json]
"""One JSON document, or an object inside it."""


def status_json(view: RunView) -> JsonObject:
    """Give `luminaguard status --json`."""
    return {"schema": "luminaguard/status@1", **_run(view)}


def report_json(view: RunView) -> JsonObject:
    """Give `luminaguard report --json`."""
    return {"schema": "luminaguard/report@1", **_run(view)}


def plan_json(plan: Plan) -> JsonObject:
    """Give `luminaguard plan --json`. An edge goes from the issue that lands first to the one that waits."""
    return {
        "schema": "luminaguard/plan@1",
        "base": plan.base,
        "issues": [_planned(item) for item in plan.issues],
        "waves": [list(wave) for wave in plan.waves],
        "edges": [_edge(edge) for edge in plan.edges],
        "overlaps": [_overlap(overlap) for overlap in plan.overlaps],
        "forecast": {
            "slots": plan.forecast.slots,
            "makespan_s": plan.forecast.makespan_s,
            "lower_bound_s": plan.forecast.lower_bound_s,
            "sequential_s": plan.forecast.sequential_s,
        },
        "risks": [_risk(risk) for risk in plan.risks],
    }


def issues_json(issues: Sequence[PlannedIssue]) -> JsonObject:
    """Give `luminaguard issues --json`: `state` is the tracker's word, `present` what is already there."""
    return {"schema": "luminaguard/issues@1", "issues": [_listed(item) for item in issues]}


def _run(view: RunView) -> JsonObject:
    return {
        "run": view.run,
        "base": view.base,
        "target": view.target,
        "started": None if view.started is None else stamp(view.started),
        "ended": None if view.ended is None else stamp(view.ended),
        "issues": [_task(task) for task in view.tasks],
        "timeline": [{"t_s": entry.t_s, "issue": entry.issue, "what": entry.what} for entry in view.timeline],
        "totals": _totals(view.totals),
        "verified": {
            "commits_on_target": view.verified.commits_on_target,
            "trees_tested": view.verified.trees_tested,
            "issues_closed": view.verified.issues_closed,
        },
    }


def _task(task: TaskView) -> JsonObject:
    return {
        "id": task.id,
        "title": task.title,
        "state": task.state.value,
        "why": task.why,
        "attempts": len(task.attempts),
        "branch": task.branch,
        "commit": task.commit,
        "tree": task.tree,
        "pull_request": task.pull_request,
        "closed": task.closed,
        "files": [_file(file) for file in task.files],
        "findings": [_finding(finding) for finding in task.findings],
        "cost": {
            "input_tokens": task.cost.input_tokens,
            "output_tokens": task.cost.output_tokens,
            "usd": task.cost.usd,
        },
        "seconds": {
            "waited": task.seconds.waited,
            "agent": task.seconds.agent,
            "checks": task.seconds.checks,
            "review": task.seconds.review,
            "queue": task.seconds.queue,
        },
    }


def _totals(totals: Totals) -> JsonObject:
    return {
        "issues": totals.issues,
        "landed": totals.landed,
        "held": totals.held,
        "failed": totals.failed,
        "agent_starts": totals.agent_starts,
        "check_runs": totals.check_runs,
        "conflicts": totals.conflicts,
        "wall_s": totals.wall_s,
        "agent_s": totals.agent_s,
        "lower_bound_s": totals.lower_bound_s,
        "sequential_s": totals.sequential_s,
        "usd": totals.usd,
    }


def _file(file: FileChange) -> JsonObject:
    return {"path": file.path, "added": file.added, "removed": file.removed}


def _finding(finding: Finding) -> JsonObject:
    return {"severity": finding.severity.value, "file": finding.file, "line": finding.line, "text": finding.text}


def _planned(item: PlannedIssue) -> JsonObject:
    return {
        "id": item.issue.id,
        "title": item.issue.title,
        "kind": item.kind.value,
        "labels": list(item.issue.labels),
        "needs": list(item.needs),
        "priority": item.issue.priority,
        "estimate_s": item.estimate_s,
        "risk": item.risk.value,
        "touches": [_touch(touch) for touch in item.touches],
        "state": _present(item.present),
    }


def _listed(item: PlannedIssue) -> JsonObject:
    return {
        "id": item.issue.id,
        "title": item.issue.title,
        "kind": item.kind.value,
        "state": IssueState(item.issue.state).value,
        "labels": list(item.issue.labels),
        "needs": list(item.needs),
        "present": _present(item.present),
    }


def _present(present: Present) -> JsonObject:
    return {
        "branch": present.branch,
        "commits_ahead": present.commits_ahead,
        "pull_request": present.pull_request,
        "left_to_do": present.left_to_do,
    }


def _touch(touch: Touch) -> JsonObject:
    return {"path": touch.path, "from": touch.source, "confidence": touch.confidence}


def _edge(edge: Edge) -> JsonObject:
    return {"from": edge.before, "to": edge.after, "why": edge.why}


def _overlap(overlap: Overlap) -> JsonObject:
    return {"a": overlap.a, "b": overlap.b, "paths": list(overlap.paths), "probability": overlap.probability}


def _risk(risk: Risk) -> JsonObject:
    return {"id": risk.issue, "risk": risk.risk.value, "why": risk.why, "mitigation": risk.mitigation}
