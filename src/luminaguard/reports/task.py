"""One issue of a run, as its facts tell it."""

from collections.abc import Sequence
from dataclasses import dataclass

from luminaguard.model.facts import Fact
from luminaguard.model.ids import IssueId
from luminaguard.model.work import FileChange, Finding
from luminaguard.reports.checklist import ChecklistItem, attempt_checklist
from luminaguard.reports.readings import (
    Data,
    by_name,
    files_at,
    findings_at,
    flag_at,
    maybe_number,
    maybe_text,
    number_at,
    rows_at,
    text_at,
    texts_at,
)
from luminaguard.reports.spans import Seconds, Span, seconds_of, spans_of
from luminaguard.reports.standing import Hold, Standing, State, delivered


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the agents of an issue or a run used; None where no agent said."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedTree:
    """One verdict of the checks. `commands` are pairs in the order in which they ran."""

    ok: bool
    why: str
    tree: str
    seconds: float
    cached: bool
    commands: tuple["CheckedCommand", ...]
    log: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedCommand:
    """One check command and how it ended."""

    command: str
    exit_code: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """One attempt: why it was made and what came of it. `starts` counts the agents that were started for it."""

    number: int
    why: str
    since: float
    outcome: str
    starts: int
    agent_s: float
    commit: str | None
    log: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """An issue in a run. `since` is when its state began; `log` is the newest log of its agents."""

    id: IssueId
    title: str
    kind: str
    wave: int
    needs: tuple[IssueId, ...]
    state: State
    since: float
    why: str
    hold: Hold | None
    attempts: tuple[AttemptView, ...]
    branch: str | None
    commit: str | None
    tree: str | None
    pull_request: str | None
    closed: bool
    landed: bool
    tested: bool
    files: tuple[FileChange, ...]
    findings: tuple[Finding, ...]
    reviewed: bool
    grade: str | None
    cost: Cost
    seconds: Seconds
    spans: tuple[Span, ...]
    checks: tuple[CheckedTree, ...]
    conflicts: int
    checkouts: tuple[str, ...]
    isolation: str | None
    deliverables: tuple[str, ...]
    checklist: tuple[ChecklistItem, ...]
    log: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a task takes from its run. `tested` are the trees that the checks of any issue passed on."""

    target: str
    checks: tuple[str, ...]
    tested: frozenset[str]
    at: float


def task_view(issue: IssueId, facts: Sequence[Fact], standing: Standing, setting: Setting) -> TaskView:
    """Fold the facts of one issue, in order; where it stands is known from all tasks together."""
    named = by_name(facts)
    last = {name: told[-1] for name, told in named.items()}
    planned, landed, review = _data(last, "planned"), _data(last, "landed"), _data(last, "review")
    spans = spans_of(facts, named, at=setting.at)
    tree = maybe_text(landed, "tree") or _last_tree(facts)
    deliverables = texts_at(planned, "deliverables")
    return TaskView(
        id=issue,
        title=text_at(planned, "title"),
        kind=text_at(planned, "kind"),
        wave=int(number_at(planned, "wave")),
        needs=needs_of(planned),
        state=standing.state,
        since=standing.since,
        why=standing.why,
        hold=standing.hold,
        attempts=_attempts(facts, standing),
        branch=maybe_text(_data(last, "published"), "branch") or maybe_text(planned, "branch"),
        commit=maybe_text(landed, "commit") or _last_commit(named.get("agent", ())),
        tree=tree,
        pull_request=maybe_text(_data(last, "published"), "pull_request"),
        closed=flag_at(_data(last, "closed"), "closed"),
        landed="landed" in last,
        tested=tree in setting.tested,
        files=files_at(landed) if "landed" in last else _last_files(named.get("agent", ())),
        findings=findings_at(review),
        reviewed="review" in last,
        grade=maybe_text(review, "grade"),
        cost=cost_of([*named.get("agent", ()), *named.get("review", ())]),
        seconds=seconds_of(named, spans),
        spans=spans,
        checks=tuple(_checked(fact) for fact in named.get("checks", ())),
        conflicts=len(named.get("conflict", ())),
        checkouts=texts_at(landed, "checkouts"),
        isolation=maybe_text(_data(last, "placed"), "isolation"),
        deliverables=deliverables,
        checklist=attempt_checklist(facts, deliverables=deliverables, target=setting.target, checks=setting.checks),
        log=maybe_text(_data(last, "agent"), "log"),
    )


def needs_of(planned: Data) -> tuple[IssueId, ...]:
    """Name the issues that a task waits for, from the data of its `planned`."""
    return tuple(IssueId(need) for need in texts_at(planned, "needs"))


def cost_of(facts: Sequence[Fact]) -> Cost:
    """Sum what the agents used, from `agent` and `review` facts, of those that said so."""
    agents = [fact.data for fact in facts]
    tokens_in, tokens_out = _total(agents, "input_tokens"), _total(agents, "output_tokens")
    return Cost(
        input_tokens=None if tokens_in is None else int(tokens_in),
        output_tokens=None if tokens_out is None else int(tokens_out),
        usd=_total(agents, "usd"),
    )


def _total(agents: Sequence[Data], key: str) -> float | None:
    said = [number for data in agents if (number := maybe_number(data, key)) is not None]
    return sum(said) if said else None


def _data(last: dict[str, Fact], name: str) -> Data:
    return last[name].data if name in last else {}


def _last_commit(agents: Sequence[Fact]) -> str | None:
    return next((commit for fact in reversed(agents) if (commit := maybe_text(fact.data, "commit"))), None)


def _last_files(agents: Sequence[Fact]) -> tuple[FileChange, ...]:
    """Read what the branch has: an attempt that made nothing leaves there what the one before it made."""
    made = (files_at(fact.data) for fact in reversed(agents) if maybe_text(fact.data, "commit"))
    return next((files for files in made if files), ())


def _last_tree(facts: Sequence[Fact]) -> str | None:
    """Read which tree was tried last: what a person is asked to approve is checked before it is a candidate."""
    tried = (fact for fact in reversed(facts) if fact.name in {"candidate", "checks"})
    return next((tree for fact in tried if (tree := maybe_text(fact.data, "tree"))), None)


def _checked(fact: Fact) -> CheckedTree:
    return CheckedTree(
        ok=flag_at(fact.data, "ok"),
        why=text_at(fact.data, "why"),
        tree=text_at(fact.data, "tree"),
        seconds=number_at(fact.data, "seconds"),
        cached=flag_at(fact.data, "cached"),
        commands=tuple(
            CheckedCommand(
                command=text_at(row, "command"),
                exit_code=int(number_at(row, "exit_code")),
                seconds=number_at(row, "seconds"),
            )
            for row in rows_at(fact.data, "commands")
        ),
        log=text_at(fact.data, "log"),
    )


def _attempts(facts: Sequence[Fact], standing: Standing) -> tuple[AttemptView, ...]:
    begins = [place for place, fact in enumerate(facts) if fact.name == "attempt"]
    ends = [*begins[1:], len(facts)]
    return tuple(_attempt(facts[begin:end], standing) for begin, end in zip(begins, ends, strict=False))


def _attempt(facts: Sequence[Fact], standing: Standing) -> AttemptView:
    named = by_name(facts)
    agents = named.get("agent", [])
    return AttemptView(
        number=facts[0].number,
        why=text_at(facts[0].data, "why") or "first",
        since=facts[0].time,
        outcome=_outcome(facts) or standing.state.value,
        starts=len(named.get("placed", ())),
        agent_s=sum((number_at(fact.data, "seconds") for fact in agents), 0.0),
        commit=_last_commit(agents),
        log=next((log for fact in reversed(agents) if (log := maybe_text(fact.data, "log"))), None),
    )


def _outcome(facts: Sequence[Fact]) -> str | None:
    """Say what ended an attempt, None while nothing has: its state is that of the task."""
    ended = None
    for fact in facts:
        name = fact.name
        if name == "landed":
            return name
        if name in {"rejected", "cancelled"}:
            ended = name
        elif name in {"conflict", "checks", "review", "agent"}:
            ended = _went_wrong(fact, name)
        elif name in {"queued", "candidate", "landing"}:
            ended = None
    return ended


def _went_wrong(fact: Fact, name: str) -> str | None:
    if name == "conflict":
        return "conflict"
    if name == "checks":
        return None if flag_at(fact.data, "ok") else "checks red"
    if name == "review":
        return None if flag_at(fact.data, "ok") else "review blocks"
    return None if delivered(fact) else text_at(fact.data, "problem") or "nothing changed"
