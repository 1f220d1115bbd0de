"""`luminaguard run`, without a face: opens everything, wires the drivers, and lets the engine work."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import anyio

from luminaguard.app.agents import agent_named
from luminaguard.app.door import Door, budget_of, door_for
from luminaguard.app.leftovers import clear_leftovers
from luminaguard.app.placing import LocalPlacement
from luminaguard.app.planning import Planned, make_plan
from luminaguard.app.project import Project, checks_of, is_trusted
from luminaguard.app.reporting import post_report
from luminaguard.app.serving import forge_for
from luminaguard.app.settings import agent_at_work, limits_of
from luminaguard.app.settings_tables import Approval, LandingStyle
from luminaguard.app.walls import Walled, make_ready, walls_for
from luminaguard.app.watching import Watch, check_gate, closed_in
from luminaguard.app.writing_back import files_written_to
from luminaguard.engine.base import ClosingEdits, Drivers, Edit, Policy, Reader
from luminaguard.engine.prompt import checked_template
from luminaguard.engine.run import Request, run_session
from luminaguard.forges.file_backlog import FileBacklog
from luminaguard.gates.base import Subject
from luminaguard.gates.checks import Checks
from luminaguard.gates.review import Review
from luminaguard.gateway.base import Pass
from luminaguard.host.git import lookup_in
from luminaguard.host.locks import only_one
from luminaguard.journal.base import Journal
from luminaguard.journal.sqlite import SqliteJournal
from luminaguard.model.brief import Brief
from luminaguard.model.facts import RUN, Fact
from luminaguard.model.faults import Fault, HostFault, UserFault
from luminaguard.model.ids import IssueId, Json, RunId
from luminaguard.reports import messages

RULES = ("AGENTS.md", "CLAUDE.md")
RULES_BYTES = 16 * 1024
WITH_FORGE = "`gh` works here, for this repository alone: it reads issues, and comments on the one that you work on."


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """What came of a session. `is_done`: everything asked for landed, proven and closed; no run: nothing was open."""

    run: RunId | None
    is_done: bool


Read = Callable[[int], tuple[Fact, ...]]
"""Reads the run's facts with a seq above the number given."""


def _nobody(_read: Read) -> None:
    """Hear of it and do nothing."""


def _nothing_said(_notices: Sequence[str]) -> None:
    """Hear of it and do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a session is asked for.

    With `watch` it goes on for ever, with whatever issues appear. `noticed` hears what could not be taken at its word;
    `began` and `ended` get a reader of the run's facts before and after the work.
    """

    issues: Sequence[str] = ()
    watch: bool = False
    noticed: Callable[[Sequence[str]], None] = _nothing_said
    began: Callable[[Read], None] = _nobody
    ended: Callable[[Read], None] = _nobody


async def work(
    project: Project, wanted: Wanted, *, open_journal: Callable[[Path], SqliteJournal] = SqliteJournal
) -> Worked:
    """Plan and work until every issue is landed or held. Goes on with the last run where that is not over.

    Raises:
        UserFault: a run is at work already, or the settings, the backlog or an agent are not as they must be.
        HostFault: the isolation that was asked for does not work here.
    """
    state = project.places.state
    if wanted.watch:
        check_gate(project, wanted.issues)
    async with AsyncExitStack() as stack:
        fd = stack.enter_context(only_one(state / "lock"))
        journal = stack.enter_context(open_journal(state / "journal.db"))
        lookup = stack.enter_context(lookup_in(project.git.root))
        if project.reached is not None:
            await stack.enter_async_context(project.reached.open())
        project = project.at_work(fd, lookup)
        await project.trunk.clear_stale_locks()
        await clear_leftovers(project.places)
        planned = await make_plan(project, wanted.issues)
        going_on = _run_to_go_on(journal, project)
        watch = Watch(project, wanted.noticed) if wanted.watch else None
        while watch is not None and going_on is None and not planned.plan.issues:
            wanted.noticed(("there is nothing to do yet; watching",))
            watch.saw(planned)
            planned = await watch.until_new()
        if going_on is None and not planned.plan.issues:
            wanted.noticed(_told(planned))
            await project.trunk.catch_up()
            return Worked(run=None, is_done=True)
        run = going_on or _new_run()
        agents = [it for it in (agent_at_work(project.settings), project.settings.review.agent) if it is not None]
        forge = await stack.enter_async_context(forge_for(project))
        door = await stack.enter_async_context(door_for(project.settings, state, agents, forge=forge))
        wired = await _wire(project, journal, wanted.noticed, run=run, door=door)
        wanted.noticed(_notices(planned, wired))
        wanted.began(lambda after: journal.facts(run, after=after))
        request = Request(
            run=run,
            plan=planned.plan,
            about=_about(project, planned, wired),
            session={"pid": os.getpid(), "isolation": wired.walled.sandbox.level, "reason": wired.walled.reason},
            closed=closed_in(planned),
            arrivals=watch.arrivals if watch else None,
            proven=partial(_posted, project, wanted, lambda: journal.facts(run)),
        )
        if watch is not None:
            watch.saw(planned)
        try:
            is_done = await run_session(wired.drivers, wired.policy, request)
        finally:
            # Also when it is interrupted: whoever reads must stop before the journal is closed.
            wanted.ended(lambda after: journal.facts(run, after=after))
        return Worked(run=run, is_done=is_done)


async def _posted(project: Project, wanted: Wanted, facts: Callable[[], tuple[Fact, ...]]) -> None:
    """Post the report where the settings want that; what stands in the way is told, and undoes nothing."""
    began = max((fact.seq for fact in facts() if fact.name == "session"), default=0)
    if not project.settings.report.post or not any(fact.name == "landed" and fact.seq > began for fact in facts()):
        return
    try:
        await post_report(project, facts())
    except Fault as fault:
        wanted.noticed((f"the report could not be posted: {fault.message}",))


def _new_run() -> RunId:
    now = time.time()
    return RunId(time.strftime("%Y%m%d-%H%M%S", time.gmtime(now)) + f"-{int(now * 65536) & 0xFFFF:04x}")


def _run_to_go_on(journal: SqliteJournal, project: Project) -> RunId | None:
    runs = journal.runs()
    if not runs:
        return None
    facts = journal.facts(runs[-1])
    return runs[-1] if _is_of(project, facts) and is_unfinished(facts) else None


def _is_of(project: Project, facts: Sequence[Fact]) -> bool:
    """Tell whether a run is over the project's backlog, and lands on its target."""
    started = next((fact for fact in facts if (fact.subject, fact.name) == (RUN, "started")), None)
    return (
        started is not None and started.data["target"] == project.target and started.data["backlog"] == project.backlog
    )


def facts_of_last_run(project: Project) -> tuple[Fact, ...]:
    """Read the facts of the last run over the project's backlog; none where there was none."""
    with SqliteJournal(project.places.state / "journal.db") as journal:
        read = (journal.facts(run) for run in reversed(journal.runs()))
        return next((facts for facts in read if _is_of(project, facts)), ())


def is_unfinished(facts: Sequence[Fact]) -> bool:
    """Tell whether something of a run still waits: an issue that is neither closed nor cancelled, or the proof.

    The proof waits where it was cut short, or where what landed was not on the target yet.
    """
    waiting: set[str] = set()
    for fact in facts:
        if fact.name == "session" or (fact.name == "session_ended" and fact.data["outcome"] == "interrupted"):
            waiting.add(RUN)
        elif fact.name == "session_ended":
            waiting.discard(RUN)
        if fact.name in ("planned", "retry"):
            waiting.add(fact.subject)
        elif fact.name in ("closed", "cancelled"):
            waiting.discard(fact.subject)
    proof = next((fact for fact in reversed(facts) if fact.name == "verified"), None)
    return bool(waiting) or (proof is not None and bool(proof.data.get("unproven")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wired:
    """The drivers of a session, and what was chosen on the way."""

    drivers: Drivers
    policy: Policy
    walled: Walled
    checks_from: str


async def _wire(
    project: Project,
    journal: Journal,
    noticed: Callable[[Sequence[str]], None],
    *,
    run: RunId,
    door: Door | None,
) -> Wired:
    settings, state = project.settings, project.places.state
    name = agent_at_work(settings)
    agent = agent_named(settings, name, root=project.places.root)
    if (why := agent.missing()) is not None:
        raise HostFault(why, hint="see `luminaguard doctor`")
    limits = limits_of(settings)
    walled = walls_for(settings, git=project.git, places=project.places)
    await anyio.to_thread.run_sync(make_ready, walled, noticed)
    found = await checks_of(project)
    checks = Checks(
        commands=found.run,
        timeout_s=settings.checks.timeout_s,
        workspaces=walled.workspaces,
        sandbox=walled.sandbox,
        limits=limits,
        folder=state / "checks",
    )
    placement = LocalPlacement(
        agent=agent,
        sandbox=walled.sandbox,
        workspaces=walled.workspaces,
        limits=limits,
        folder=state / "attempts",
        door=door,
    )
    drivers = Drivers(
        journal=journal,
        forge=project.forge,
        trunk=project.trunk,
        placement=placement,
        checks=checks,
        checks_fingerprint=checks.fingerprint,
        review=_review(project, walled, run=run, door=door),
        messages=messages,
        closing_edits=_closing_edits(project),
        ledger=door.ledger if door else None,
        reviewing=project.talk,
        checking=project.talk,
        commenting=project.talk,
        merging=project.reached,
    )
    policy = _policy(project, agent=name, checks=found.run, rules=await _rules(project))
    if door is not None and door.forge is not None:
        policy = replace(policy, tools=WITH_FORGE)
    return Wired(drivers=drivers, policy=policy, walled=walled, checks_from=found.why)


async def _rules(project: Project) -> str:
    """Read what the target says to agents: not every agent reads it by itself."""
    for name in RULES:
        ran = await project.git.run("show", f"{project.target}:{name}", ok=(0, 128))
        if ran.exit_code == 0:
            return ran.out[:RULES_BYTES].decode(errors="replace")
    return ""


def _template(project: Project) -> str | None:
    named = project.settings.run.prompt
    if named is None:
        return None
    path = project.places.root / named
    try:
        return checked_template(path.read_text(encoding="utf-8"), path=named)
    except (OSError, UnicodeDecodeError) as exc:
        raise UserFault(f"{path}: [run] prompt cannot be read: {exc}", hint="name a text file") from exc


def _policy(project: Project, *, agent: str, checks: tuple[str, ...], rules: str) -> Policy:
    settings = project.settings
    style: Literal["squash", "merge"] = "merge" if settings.landing.style is LandingStyle.MERGE else "squash"
    return Policy(
        target=project.target,
        slots=settings.run.slots,
        agent=agent,
        attempts=settings.run.attempts,
        minutes_per_issue=settings.budget.minutes_per_issue,
        minutes_per_run=settings.budget.minutes_per_run,
        budget=budget_of(settings),
        review_rounds=settings.review.rounds,
        rules=rules,
        template=_template(project),
        style=style,
        human=settings.landing.approve is Approval.HUMAN,
        checks=checks,
        trusted=lambda author, association: is_trusted(settings, author, association),
        by=settings.landing.by.value,
        drafts=settings.landing.draft and project.reached is not None,
        labels=settings.landing.labels,
        remove_branch=settings.landing.remove_branch,
        wait_minutes=settings.landing.wait_minutes,
        poll_s=settings.run.poll_s,
    )


def _review(project: Project, walled: Walled, *, run: RunId, door: Door | None) -> Review | None:
    settings = project.settings
    if settings.review.agent is None:
        return None

    def enter(subject: Subject, brief: Brief) -> Brief:
        if door is None:
            return brief
        holder = Pass(run=run, issue=subject.issue.id, attempt=subject.attempt, role="review")
        return replace(brief, key=door.ledger.key_for(holder))

    review = Review(
        agent=agent_named(settings, settings.review.agent, root=project.places.root),
        block_at=settings.review.block_at,
        timeout_s=settings.budget.minutes_per_issue * 60,
        workspaces=walled.workspaces,
        sandbox=walled.sandbox,
        limits=limits_of(settings),
        git=project.git,
        folder=project.places.state / "reviews",
        enter=enter,
        gateway=door.socket if door else None,
    )
    if (why := review.missing()) is not None:
        raise HostFault(f"the reviewer cannot be asked: {why}", hint="see `luminaguard doctor`")
    return review


def _closing_edits(project: Project) -> ClosingEdits | None:
    if isinstance(project.forge, FileBacklog):
        project.forge.check_kept()
    forge = files_written_to(project)
    if forge is None:
        return None
    _ = forge.place  # asked before an agent works: outside of the repository nothing can be written back

    async def edits(issue: IssueId, read: Reader) -> Sequence[Edit]:
        paths = await anyio.to_thread.run_sync(forge.closing_paths, issue)
        contents = {path: await read(path) for path in paths}
        return await anyio.to_thread.run_sync(forge.closing_edits, contents.get, issue)

    return edits


def _told(planned: Planned) -> list[str]:
    return [f"#{it.issue}: {it.text}" if it.issue else it.text for it in planned.plan.notices]


def _notices(planned: Planned, wired: Wired) -> list[str]:
    said = _told(planned)
    if not wired.policy.checks:
        said.append(f"no check judges what lands ({wired.checks_from}); set run = [...] under [checks]")
    return said


def _about(project: Project, planned: Planned, wired: Wired) -> dict[str, Json]:
    settings, made = project.settings, planned.plan
    notices: list[Json] = list(_notices(planned, wired))
    forecast: dict[str, Json] = dict(asdict(made.forecast))
    return {
        "target": project.target,
        "base": made.base,
        "slots": settings.run.slots,
        "isolation": settings.run.isolation or "auto",
        "agent": wired.policy.agent,
        "review": settings.review.agent,
        "backlog": project.backlog,
        "checks": list(wired.policy.checks),
        "checks_from": wired.checks_from,
        "style": settings.landing.style,
        "approve": settings.landing.approve,
        "forecast": forecast,
        "notices": notices,
    }
