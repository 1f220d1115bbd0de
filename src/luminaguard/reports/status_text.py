"""What is going on, in lines for a terminal or a pipe."""

from collections.abc import Iterator, Mapping

from luminaguard.model.facts import RUN, Fact
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json
from luminaguard.reports.events import changes_text, event_text
from luminaguard.reports.standing import Hold, State
from luminaguard.reports.task import AttemptView, TaskView
from luminaguard.reports.view import RunView
from luminaguard.reports.wording import columns, counted, cut, fitted, ids, lasting, plain

MARKS: Mapping[State, str] = {
    State.WAITING: ".",
    State.READY: "o",
    State.WORKING: "*",
    State.CHECKING: "*",
    State.REVIEWING: "*",
    State.APPROVAL: "?",
    State.QUEUED: "=",
    State.LANDING: "*",
    State.LANDED: "+",
    State.HELD: "!",
    State.FAILED: "x",
    State.CANCELLED: "-",
}
"""One letter for each state, so that a column of them can be read without colour."""

RESUME = "luminaguard resume"


def status_lines(view: RunView, *, width: int) -> list[str]:
    """Give one line for each issue, why no agent starts where none does, and totals last, most of `width` columns."""
    first = min(max((columns(plain(task.id)) + 1 for task in view.tasks), default=0), max(width // 4, 4))
    lines = [_line(task, view, first=first, width=width) for task in view.tasks]
    return [*lines, *waiting_lines(view), cut(totals_text(view), width=width)]


def waiting_lines(view: RunView) -> list[str]:
    """Say why no agent starts at the moment, where that is so."""
    paused = [f"{plain(_paused(view))}; {RESUME}"] if view.paused else []
    return [*paused, *([view.limited] if view.limited else [])]


def _line(task: TaskView, view: RunView, *, first: int, width: int) -> str:
    title_room = min(max(width - first - 44, 12), 48)
    head = (
        f"{MARKS[task.state]} {fitted(f'#{plain(task.id)}', width=first)} {fitted(plain(task.title), width=title_room)}"
    )
    phase = f"{_phase(task):<12} {lasting(elapsed_s(task, view)):>12}"
    return cut(f"{head} {phase}  {plain(task.why)}".rstrip(), width=width)


def _phase(task: TaskView) -> str:
    again = f" {task.attempts[-1].number}" if len(task.attempts) > 1 and task.state is State.WORKING else ""
    return f"{task.state.value}{again}"


def elapsed_s(task: TaskView, view: RunView) -> float:
    """Seconds in the present state; for an issue that is done, from its first attempt to its landing."""
    if task.landed:
        return max(task.since - task.attempts[0].since, 0.0) if task.attempts else 0.0
    return max(view.at - task.since, 0.0)


def totals_text(view: RunView) -> str:
    """Sum the run up in one line."""
    totals = view.totals
    counts = [f"{count} {state.value}" for state in State if (count := _count(view, state))]
    numbers = [
        counted(totals.agent_starts, "agent start"),
        counted(totals.check_runs, "check run"),
        counted(totals.conflicts, "conflict"),
        lasting(totals.wall_s),
    ]
    money = [f"{totals.usd:.2f} USD"] if totals.usd is not None else []
    paused = ["paused"] if view.paused else []
    return f"{counted(totals.issues, 'issue')}: {', '.join([*counts, *numbers, *money, *paused])}"


def _count(view: RunView, state: State) -> int:
    return sum(task.state is state for task in view.tasks)


def issue_detail(view: RunView, issue: IssueId) -> str:
    """Tell everything about one issue, with its checklist.

    Raises:
        UserFault: the run has no such issue; names those that it has.
    """
    task = next((task for task in view.tasks if task.id == issue), None)
    if task is None:
        known = ids(tuple(task.id for task in view.tasks[:20]))
        raise UserFault(f"run {view.run} has no issue #{plain(issue)}", hint=f"its issues: {known or 'none'}")
    return "\n".join(_detail(task, view)) + "\n"


def _detail(task: TaskView, view: RunView) -> Iterator[str]:
    yield f"#{plain(task.id)} {plain(task.title)}".rstrip()
    yield f"  state         {task.state.value}, {lasting(elapsed_s(task, view))}"
    for name, value in _values(task):
        if value:
            yield f"  {name:<13} {plain(value)}"
    yield "  checklist"
    yield from (f"    [{'x' if item.done else ' '}] {item.text}" for item in task.checklist)
    if task.attempts:
        yield "  attempts"
    yield from (f"    {plain(_attempt(attempt))}" for attempt in task.attempts)
    if task.findings:
        yield "  findings"
    for finding in task.findings:
        yield f"    {finding.severity.value}: {plain(f'{finding.file}:{finding.line} {finding.text}')}"


def _values(task: TaskView) -> Iterator[tuple[str, str | None]]:
    yield "why", task.why
    if task.hold:
        yield "who must act", task.hold.who
        yield "what to type", task.hold.how
    yield "kind", task.kind
    yield "wave", str(task.wave) if task.wave else ""
    yield "needs", ids(task.needs)
    yield "branch", task.branch
    yield "pull request", task.pull_request
    yield "commit", task.commit
    yield "changes", changes_text(task.files) if task.files else ""
    yield "isolation", task.isolation
    yield "cost", f"{task.cost.usd:.2f} USD" if task.cost.usd is not None else ""
    yield "log", task.log


def _attempt(attempt: AttemptView) -> str:
    starts = f", {counted(attempt.starts, 'agent start')}" if attempt.starts > 1 else ""
    why = f" (because of: {attempt.why})" if attempt.why != "first" else ""
    log = f", log {attempt.log}" if attempt.log else ""
    return f"{attempt.number}{why}: {attempt.outcome}, agent {lasting(attempt.agent_s)}{starts}{log}"


def problems_text(view: RunView) -> str:
    """List what waits for a person, each with who must act and what to type, and what waits behind it."""
    held = {task.id for task in view.tasks if task.hold}
    # Behind a cancelled issue, which has no hold of its own, each one speaks for itself.
    roots = [task for task in view.tasks if task.hold and task.hold.behind not in held]
    said = ["\n".join(_problem(task, view)) for task in roots]
    if view.paused:
        said.insert(0, f"the run\n  {plain(_paused(view))}\n  you must act: {RESUME}")
    return "\n\n".join(said) + "\n" if said else "Nothing waits for a person.\n"


def _paused(view: RunView) -> str:
    return f"paused by {view.paused}: no agent starts"


def _problem(task: TaskView, view: RunView) -> Iterator[str]:
    assert task.hold is not None
    yield f"#{plain(task.id)} {plain(task.title)}".rstrip()
    yield f"  {task.state.value} ({plain(task.hold.group)}): {plain(task.hold.why)}"
    yield f"  {plain(task.hold.who)} must act: {plain(task.hold.how)}"
    behind = tuple(other.id for other in view.tasks if other.hold and other.hold.behind == task.id)
    if behind:
        yield f"  behind it: {ids(behind)}"


def problems_json(view: RunView) -> dict[str, Json]:
    """Give `luminaguard problems --json`: everything with a hold, what waits behind others too.

    Where the run is paused, that is the first, of no issue.
    """
    paused = [_paused_json(view)] if view.paused else []
    held = [_problem_json(task, task.hold) for task in view.tasks if task.hold]
    return {"schema": "luminaguard/problems@1", "paused": bool(view.paused), "problems": [*paused, *held]}


def _paused_json(view: RunView) -> dict[str, Json]:
    said: dict[str, Json] = {"issue": None, "title": "the run", "state": "paused", "why": _paused(view)}
    return {**said, "who": "you", "how": RESUME, "group": "paused"}


def _problem_json(task: TaskView, hold: Hold) -> dict[str, Json]:
    return {
        "issue": task.id,
        "title": task.title,
        "state": task.state.value,
        "why": hold.why,
        "who": hold.who,
        "how": hold.how,
        "group": hold.group,
    }


def event_line(fact: Fact) -> str | None:
    """Say a fact in one plain line, "#154  agent done: 2 files, +41 -0"; the caller puts the time before it."""
    what = event_text(fact)
    if what is None:
        return None
    return what if fact.subject == RUN else f"#{plain(fact.subject)}  {what}"
