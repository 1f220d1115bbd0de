"""A run, folded from its facts. All that a person is told is made from this: tables, reports, JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from luminaguard.model.facts import KINDS, RUN, Fact
from luminaguard.model.ids import IssueId, natural
from luminaguard.reports.events import event_text, ran_checks
from luminaguard.reports.readings import Data, by_name, flag_at, maybe_text, number_at, text_at, texts_at
from luminaguard.reports.spans import Named, critical_path, wall_seconds
from luminaguard.reports.standing import State, behind_others, standing_of, waiting_for_proof
from luminaguard.reports.task import Cost, Setting, TaskView, cost_of, needs_of, task_view


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """A run in numbers. `issues` to `failed` count states; `usd` is None where no agent said what it cost."""

    issues: int
    landed: int
    held: int
    failed: int
    agent_starts: int
    check_runs: int
    conflicts: int
    reworks: int
    wall_s: float
    agent_s: float
    lower_bound_s: float
    sequential_s: float
    usd: float | None
    cost: Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What the final verification found; all false where it was not made yet."""

    made: bool
    commits_on_target: bool
    trees_tested: bool
    issues_closed: bool
    details: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One event, in seconds from the start of the run. `issue` is None for the run as a whole."""

    t_s: float
    issue: IssueId | None
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run. Tasks are in the order of waves, then of ids. `at` is the moment that the view shows.

    `paused` is who paused it, "" where nobody did; `limited` says which provider takes no calls and until when.
    """

    run: str
    base: str | None
    target: str
    started: float | None
    ended: float | None
    outcome: str
    at: float
    slots: int
    agent: str
    backlog: str
    style: str
    approve: str
    isolation: str
    isolation_reason: str
    checks: tuple[str, ...]
    checks_from: str
    review_asked: bool
    paused: str
    limited: str
    notices: tuple[str, ...]
    tasks: tuple[TaskView, ...]
    timeline: tuple[TimelineEntry, ...]
    totals: Totals
    verified: Verified


def run_view(facts: Sequence[Fact], *, now: float | None = None) -> RunView:
    """Fold the facts of one run, in order of seq.

    Args:
        facts: all of them; kinds that are not in the vocabulary are passed over.
        now: seconds since the epoch while a session is at work; None shows the run as its last fact left it.
    """
    known = [fact for fact in facts if fact.name in KINDS]
    named = by_name(known)
    of_run = [fact for fact in known if fact.subject == RUN]
    last = {fact.name: fact for fact in of_run}
    started, session = _data(last, "started"), _data(last, "session")
    at = now if now is not None else max((fact.time for fact in known), default=0.0)
    begun = next((fact.time for fact in named.get("started", known)), None)
    tasks = _tasks(known, named, started, verified=_data(last, "verified"), at=at)
    ended = _last_of(of_run, ("session", "session_ended"))
    over = ended is not None and ended.name == "session_ended"
    paused = _last_of(of_run, ("paused", "resumed"))
    return RunView(
        run=known[0].run if known else "",
        base=maybe_text(started, "base"),
        target=text_at(started, "target"),
        started=begun,
        ended=ended.time if over and ended else None,
        outcome=text_at(ended.data, "outcome") if over and ended else "",
        at=at,
        slots=max(int(number_at(started, "slots")), 1),
        agent=text_at(started, "agent"),
        backlog=text_at(started, "backlog"),
        style=text_at(started, "style"),
        approve=text_at(started, "approve"),
        isolation=text_at(session, "isolation") or text_at(started, "isolation"),
        isolation_reason=text_at(session, "reason"),
        checks=texts_at(started, "checks"),
        checks_from=text_at(started, "checks_from"),
        review_asked=_review_asked(named, started),
        paused=_paused(paused),
        limited=_limited(of_run, at=at) if now is not None else "",
        notices=(*texts_at(started, "notices"), *texts_at(_data(last, "session_ended"), "notes")),
        tasks=tasks,
        timeline=_timeline(known, begun or 0.0),
        totals=_totals(known, named, tasks, slots=max(int(number_at(started, "slots")), 1), now=now),
        verified=_verified(last),
    )


def _data(last: Mapping[str, Fact], name: str) -> Data:
    return last[name].data if name in last else {}


def _last_of(facts: Sequence[Fact], names: tuple[str, ...]) -> Fact | None:
    return next((fact for fact in reversed(facts) if fact.name in names), None)


def _paused(word: Fact | None) -> str:
    if word is None or word.name != "paused":
        return ""
    return text_at(word.data, "by") or "somebody"


def _limited(of_run: Sequence[Fact], *, at: float) -> str:
    holding = [fact for fact in of_run if fact.name == "limited" and number_at(fact.data, "until") > at]
    last = max(holding, key=lambda fact: number_at(fact.data, "until"), default=None)
    return event_text(last) or "" if last else ""


def _review_asked(named: Named, started: Data) -> bool:
    # Before the first review has answered, only the run's own settings can say that there will be one.
    return bool(started.get("review")) or "review" in named


def _tasks(facts: Sequence[Fact], named: Named, started: Data, *, verified: Data, at: float) -> tuple[TaskView, ...]:
    by_issue: dict[IssueId, list[Fact]] = {}
    for fact in facts:
        if fact.subject != RUN:
            by_issue.setdefault(IssueId(fact.subject), []).append(fact)
    reviewed = _review_asked(named, started)
    alone = {issue: standing_of(told, reviewed=reviewed) for issue, told in by_issue.items()}
    standings = behind_others(alone, {issue: _needs(told) for issue, told in by_issue.items()})
    standings = waiting_for_proof(standings, verified)
    setting = Setting(
        target=text_at(started, "target") or "the target",
        checks=texts_at(started, "checks"),
        tested=frozenset(text_at(fact.data, "tree") for fact in named.get("checks", ()) if flag_at(fact.data, "ok")),
        at=at,
    )
    tasks = [task_view(issue, told, standings[issue], setting) for issue, told in by_issue.items()]
    return tuple(sorted(tasks, key=lambda task: (task.wave, natural(task.id))))


def _needs(told: Sequence[Fact]) -> tuple[IssueId, ...]:
    planned = next((fact for fact in reversed(told) if fact.name == "planned"), None)
    return needs_of(planned.data) if planned else ()


def _timeline(facts: Sequence[Fact], begun: float) -> tuple[TimelineEntry, ...]:
    return tuple(
        TimelineEntry(
            t_s=max(fact.time - begun, 0.0), issue=None if fact.subject == RUN else IssueId(fact.subject), what=what
        )
        for fact in facts
        if (what := event_text(fact)) is not None
    )


def _totals(facts: Sequence[Fact], named: Named, tasks: Sequence[TaskView], *, slots: int, now: float | None) -> Totals:
    work = {task.id: task.seconds.agent + task.seconds.checks for task in tasks}
    cost = cost_of([*named.get("agent", ()), *named.get("review", ())])
    return Totals(
        issues=len(tasks),
        landed=_count(tasks, State.LANDED),
        held=_count(tasks, State.HELD),
        failed=_count(tasks, State.FAILED),
        agent_starts=len(named.get("placed", ())),
        check_runs=sum(map(ran_checks, named.get("checks", ()))),
        conflicts=len(named.get("conflict", ())),
        reworks=sum(attempt.why != "first" for task in tasks for attempt in task.attempts),
        wall_s=wall_seconds(facts, now=now),
        agent_s=sum((task.seconds.agent for task in tasks), 0.0),
        lower_bound_s=max(critical_path(work, {task.id: task.needs for task in tasks}), sum(work.values()) / slots),
        sequential_s=sum(work.values(), 0.0) + sum(task.seconds.review for task in tasks),
        usd=cost.usd,
        cost=cost,
    )


def _count(tasks: Sequence[TaskView], state: State) -> int:
    return sum(task.state is state for task in tasks)


def _verified(last: Mapping[str, Fact]) -> Verified:
    found = _data(last, "verified")
    return Verified(
        made="verified" in last,
        commits_on_target=flag_at(found, "commits_on_target"),
        trees_tested=flag_at(found, "trees_tested"),
        issues_closed=flag_at(found, "issues_closed"),
        details=texts_at(found, "details"),
    )
