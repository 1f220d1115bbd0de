"""The report of a run in Markdown, from facts alone."""

from collections.abc import Iterable

from luminaguard.model.work import Severity
from luminaguard.reports.escape import code, counts_text, markdown, prose, table
from luminaguard.reports.events import changes_text
from luminaguard.reports.standing import State
from luminaguard.reports.task import TaskView
from luminaguard.reports.view import RunView
from luminaguard.reports.wording import clock, counted, lasting, stamp


def report_markdown(view: RunView) -> str:
    """Write the whole report. Everything that issues and agents said is escaped."""
    parts = [
        f"# Run {markdown(view.run)}",
        summary(view),
        _section("Final verification", _verification(view)),
        _section("Merges", _merges(view)),
        _section("Held and failed", _stopped(view)),
        _section("Findings", _findings(view)),
        _section("Checks", _checks(view)),
        _section("Timeline", _timeline(view)),
        _section("Deliverables", _deliverables(view)),
        _section("Statistics", _statistics(view)),
        _section("Isolation", _isolation(view)),
        _section("Notices", "\n".join(f"- {markdown(notice)}" for notice in view.notices)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def summary(view: RunView) -> str:
    """Say in a sentence or two what came of the run."""
    totals = view.totals
    said = f"{totals.landed} of {counted(totals.issues, 'issue')} landed on {code(view.target or 'the target')}"
    parts = [f"{count} {name}" for count, name in _others(view) if count]
    rest = f"; {', '.join(parts)}" if parts else ""
    lines = changes_text(tuple(file for task in view.tasks if task.landed for file in task.files))
    effort = (
        f"{counted(totals.agent_starts, 'agent start')}, {counted(totals.check_runs, 'check run')}, "
        f"{counted(totals.conflicts, 'conflict')}, {lasting(totals.wall_s)} of work by the clock"
    )
    return f"{said}{rest}: {lines}. It took {effort}.{_times(view)}"


def _others(view: RunView) -> Iterable[tuple[int, str]]:
    names = (State.HELD, State.FAILED, State.CANCELLED)
    for state in names:
        yield sum(task.state is state for task in view.tasks), state.value
    yield sum(task.state not in {*names, State.LANDED} for task in view.tasks), "not done yet"


def _times(view: RunView) -> str:
    if view.started is None:
        return ""
    end = f", ended {stamp(view.ended)}" if view.ended is not None else ", not ended"
    return f" Started {stamp(view.started)}{end}."


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text}" if text else ""


def _verification(view: RunView) -> str:
    found = view.verified
    if not found.made:
        return "Not made yet: the run has not come to its end."
    rows = [
        ["Every landed commit is on the target", _yes(found.commits_on_target)],
        ["Every landed tree is one that the checks passed on", _yes(found.trees_tested)],
        ["Every landed issue is closed, read again from the tracker", _yes(found.issues_closed)],
    ]
    details = "\n".join(f"- {markdown(detail)}" for detail in found.details)
    return table(["What", "True"], rows) + (f"\n\n{details}" if details else "")


def _yes(*answers: bool) -> str:
    return "yes" if all(answers) else "no"


def _merges(view: RunView) -> str:
    landed = [task for task in view.tasks if task.landed]
    if not landed:
        return "Nothing has landed."
    rows = [
        [
            _name(task),
            markdown(task.pull_request or "-"),
            code(task.branch or "-"),
            code((task.commit or "-")[:12]),
            "<br>".join(f"{code(file.path)} {counts_text(file)}" for file in task.files) or "no files",
            _yes(task.closed),
        ]
        for task in landed
    ]
    places = sorted({place for task in landed for place in task.checkouts})
    notes = "\n".join(f"- {markdown(place)}" for place in places)
    head = ["Issue", "Pull request", "Branch", "Commit", "Files", "Closed"]
    return table(head, rows) + (f"\n\n{notes}" if notes else "")


def _name(task: TaskView) -> str:
    return f"#{markdown(task.id)} {markdown(task.title)}".rstrip()


def _stopped(view: RunView) -> str:
    stopped = [task for task in view.tasks if task.hold or task.state is State.CANCELLED]
    if not stopped:
        return "Nothing is held and nothing failed."
    rows = [
        [
            _name(task),
            task.state.value,
            markdown(task.why) or "-",
            markdown(task.hold.who) if task.hold else "-",
            "; then ".join(map(code, task.hold.how.split("; then: "))) if task.hold else "-",
        ]
        for task in stopped
    ]
    return table(["Issue", "State", "Why", "Who must act", "What to type"], rows)


def _findings(view: RunView) -> str:
    if not view.review_asked:
        return "No review was asked for."
    rows = [
        [severity.value, _name(task), code(f"{finding.file}:{finding.line}"), prose(finding.text)]
        for severity in reversed(Severity)
        for task in view.tasks
        for finding in task.findings
        if finding.severity is severity
    ]
    grades = [f"#{markdown(task.id)}: {markdown(task.grade)}" for task in view.tasks if task.grade]
    graded = f"\n\nGrades: {', '.join(grades)}." if grades else ""
    if not rows:
        return f"No findings.{graded}"
    counts = (f"{count} {name}" for name in reversed(Severity) if (count := sum(row[0] == name.value for row in rows)))
    said = f"{counted(len(rows), 'finding')}: {', '.join(counts)}."
    return f"{said}\n\n{table(['Severity', 'Issue', 'Where', 'What'], rows)}{graded}"


def _checks(view: RunView) -> str:
    commands = ", ".join(code(command) for command in view.checks) or "none"
    source = f" ({markdown(view.checks_from)})" if view.checks_from else ""
    said = f"Commands: {commands}{source}."
    rows = [
        [_name(task), code(task.tree or "-"), _yes(task.tested), str(len(task.checks)), lasting(task.seconds.checks)]
        for task in view.tasks
        if task.landed
    ]
    head = ["Landing", "Tree", "Tested", "Verdicts", "Time"]
    return said + (f"\n\n{table(head, rows)}" if rows else "")


def _timeline(view: RunView) -> str:
    rows = [
        [f"T+{clock(entry.t_s)}", f"#{markdown(entry.issue)}" if entry.issue else "run", markdown(entry.what)]
        for entry in view.timeline
    ]
    return table(["When", "Issue", "What"], rows) if rows else "Nothing has happened yet."


def _deliverables(view: RunView) -> str:
    return "\n\n".join(_delivered(task) for task in view.tasks if task.landed or task.deliverables)


def _delivered(task: TaskView) -> str:
    asked = [f"- [{'x' if item.done else ' '}] {prose(item.text)}" for item in task.checklist if item.deliverable]
    files = [f"- {code(file.path)}: {counts_text(file)}" for file in task.files] if task.landed else []
    made = ["", "Landed:" if task.landed else "Nothing has landed for it.", *([""] if files else []), *files]
    return "\n".join([f"### {_name(task)}", "", *asked, *made])


def _statistics(view: RunView) -> str:
    totals, cost = view.totals, view.totals.cost
    rows = [
        ["Issues landed", f"{totals.landed} of {totals.issues}"],
        ["Held", str(totals.held)],
        ["Failed", str(totals.failed)],
        ["Agent starts", str(totals.agent_starts)],
        ["Check runs", str(totals.check_runs)],
        ["Conflicts", str(totals.conflicts)],
        ["Reworks", str(totals.reworks)],
        ["Slots", str(view.slots)],
        ["Wall time", lasting(totals.wall_s)],
        [
            "One after the other",
            lasting(totals.sequential_s) + _ratio(totals.sequential_s, totals.wall_s, "{} times the wall time"),
        ],
        [
            "Lower bound",
            lasting(totals.lower_bound_s)
            + _ratio(totals.wall_s, totals.lower_bound_s, "the wall time is {} times this"),
        ],
        ["Agents at work", lasting(totals.agent_s)],
    ]
    if cost.input_tokens is not None or cost.output_tokens is not None:
        rows.append(["Tokens in, out", f"{cost.input_tokens or 0}, {cost.output_tokens or 0}"])
    if cost.usd is not None:
        rows.append(["Money", f"{cost.usd:.2f} USD"])
    return f"{table(['What', 'Number'], rows)}\n\n{_where_time_went(view)}"


def _ratio(part: float, whole: float, said: str) -> str:
    return f" ({said.format(f'{part / whole:.2f}')})" if part > 0 and whole > 0 else ""


def _where_time_went(view: RunView) -> str:
    rows = [
        [
            f"#{markdown(task.id)}",
            str(len(task.attempts)),
            *(lasting(part) for part in _parts(task)),
        ]
        for task in view.tasks
    ]
    return table(["Issue", "Attempts", "Waited", "Agent", "Checks", "Review", "Queue"], rows) if rows else ""


def _parts(task: TaskView) -> tuple[float, ...]:
    spent = task.seconds
    return (spent.waited, spent.agent, spent.checks, spent.review, spent.queue)


def _isolation(view: RunView) -> str:
    level = code(view.isolation or "unknown")
    reason = f": {markdown(view.isolation_reason)}" if view.isolation_reason else ""
    used = sorted({task.isolation for task in view.tasks if task.isolation})
    agents = f" Agents ran in: {', '.join(code(name) for name in used)}." if used else ""
    return f"In force: {level}{reason}.{agents}"
