"""Where a task stands, from its facts in order."""

import shlex
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from luminaguard.model.facts import Fact
from luminaguard.model.ids import IssueId
from luminaguard.reports.events import because
from luminaguard.reports.readings import Data, flag_at, number_at, text_at, texts_at
from luminaguard.reports.wording import plain


class State(StrEnum):
    """What a task is doing, or what it waits for."""

    WAITING = "waiting"
    READY = "ready"
    WORKING = "working"
    CHECKING = "checking"
    REVIEWING = "reviewing"
    APPROVAL = "approval"
    QUEUED = "queued"
    LANDING = "landing"
    LANDED = "landed"
    HELD = "held"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why a task waits for a person: `who` must act, `how` is what to type. `behind` is the issue that really waits."""

    why: str
    who: str
    how: str
    group: str
    behind: IssueId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A state and the time of the fact that brought it. `before` is the state that a hold interrupted."""

    state: State = State.WAITING
    since: float = 0.0
    why: str = ""
    hold: Hold | None = None
    before: State = State.WAITING


_STOPPED = frozenset({State.HELD, State.APPROVAL, State.FAILED})
_GOES_ON = frozenset({"attempt", "queued", "candidate", "landing"})
"""What only happens when a hold is over. Other facts come late, from work that was under way when it was held."""

_TELLS: Mapping[str, State] = {
    "planned": State.WAITING,
    "ready": State.READY,
    "attempt": State.WORKING,
    "placed": State.WORKING,
    "queued": State.QUEUED,
    "candidate": State.CHECKING,
    "landing": State.LANDING,
    "conflict": State.READY,
}


def open_question(facts: Sequence[Fact]) -> Fact | None:
    """Find the `asked` of one task that its agent still waits for an answer to, the oldest first."""
    answered = {fact.number for fact in facts if fact.name == "answered"}
    ended = {fact.number for fact in facts if fact.name == "agent"}
    asked = (fact for fact in facts if fact.name == "asked" and fact.number not in answered)
    return next((fact for fact in asked if number_at(fact.data, "attempt") not in ended), None)


def standing_of(facts: Sequence[Fact], *, reviewed: bool) -> Standing:
    """Fold the facts of one task. `reviewed` says that this run asks for a review."""
    now = Standing(since=facts[0].time if facts else 0.0)
    for fact in facts:
        now = _after(now, fact, reviewed=reviewed)
    if now.state is State.WORKING and (asked := open_question(facts)) is not None:
        return replace(now, hold=_question(asked), why=f"its agent asks: {text_at(asked.data, 'what')}")
    return now


def _question(asked: Fact) -> Hold:
    why = f"its agent asks: {text_at(asked.data, 'what')}"
    return Hold(why=why, who="you", how=_approve(asked.subject), group="question")


def _after(now: Standing, fact: Fact, *, reviewed: bool) -> Standing:
    name = fact.name
    if now.state is State.LANDED:
        return _after_landing(now, fact, name)
    if name == "landed":
        return Standing(state=State.LANDED, since=fact.time)
    if name in {"held", "failed", "approval_asked"}:
        return _stopped(now, fact) if now.state is not State.CANCELLED else now
    if name in {"approved", "released", "retry", "rejected", "cancelled"}:
        return _told_by_person(now, fact)
    if now.state is State.CANCELLED or (now.state in _STOPPED and name not in _GOES_ON):
        return now
    if name == "waiting":
        return replace(now, why=text_at(fact.data, "why"))
    state = _state_told(fact, name, reviewed=reviewed)
    if state is None:
        return now
    since = now.since if state is now.state and name != "attempt" else fact.time
    return Standing(state=state, since=since, why=_why_told(fact, name, state) or _kept_why(now, state))


def _kept_why(now: Standing, state: State) -> str:
    return now.why if state is now.state is State.WORKING else ""


def _after_landing(now: Standing, fact: Fact, name: str) -> Standing:
    # What landed stays landed; but closing its issue may still need a person.
    if name in {"held", "failed"}:
        hold = _hold_told(fact)
        return replace(now, hold=hold, why=hold.why)
    lifted = name in {"retry", "approved", "released"} or (name == "closed" and flag_at(fact.data, "closed"))
    return replace(now, hold=None, why="") if lifted else now


def _stopped(now: Standing, fact: Fact) -> Standing:
    hold = _hold_told(fact)
    state = State.FAILED if fact.name == "failed" else State.HELD
    if hold.group == "approval":
        state = State.APPROVAL
    before = now.before if now.state in _STOPPED else now.state
    return Standing(state=state, since=fact.time, why=hold.why, hold=hold, before=before)


def _hold_told(fact: Fact) -> Hold:
    why = text_at(fact.data, "why")
    if fact.name == "approval_asked":
        return Hold(why=why or "waits for approval", who="a reviewer", how=_approve(fact.subject), group="approval")
    group = text_at(fact.data, "group") if fact.name == "held" else "work"
    return Hold(
        why=why,
        who=text_at(fact.data, "who") or "you",
        how=text_at(fact.data, "how") or (_approve(fact.subject) if group == "approval" else _retry(fact.subject)),
        group=group or "work",
    )


def _told_by_person(now: Standing, fact: Fact) -> Standing:
    if fact.name == "cancelled":
        return Standing(state=State.CANCELLED, since=fact.time, why=_by("cancelled", fact))
    if fact.name == "retry":
        return Standing(state=State.READY, since=fact.time, why=_by("retry asked", fact))
    if fact.name == "rejected":
        why = because(_by("rejected", fact), text_at(fact.data, "why"))
        hold = Hold(why=why, who="you", how=_retry(fact.subject), group="work")
        return Standing(state=State.FAILED, since=fact.time, why=why, hold=hold, before=now.before)
    if now.state in {State.HELD, State.APPROVAL}:
        return Standing(state=now.before, since=fact.time)
    return now


def _by(said: str, fact: Fact) -> str:
    person = text_at(fact.data, "by")
    return f"{said} by {person}" if person else said


def _approve(issue: str) -> str:
    name = shlex.quote(plain(issue))
    return f"luminaguard approve {name}, or luminaguard reject {name} --why TEXT"


def _retry(issue: str) -> str:
    return f"luminaguard retry {shlex.quote(plain(issue))}"


def _state_told(fact: Fact, name: str, *, reviewed: bool) -> State | None:
    if name in {"agent", "published"}:
        if name == "agent" and not delivered(fact):
            return State.READY
        return State.REVIEWING if reviewed else State.QUEUED
    if name == "review":
        return State.QUEUED if flag_at(fact.data, "ok") else State.READY
    if name in {"checks", "foreign"}:
        return State.LANDING if flag_at(fact.data, "ok") else State.READY
    return _TELLS.get(name)


def delivered(fact: Fact) -> bool:
    """Tell whether an `agent` fact brought work that can go on."""
    return bool(text_at(fact.data, "commit")) and not text_at(fact.data, "problem")


def _why_told(fact: Fact, name: str, state: State) -> str:
    if name == "attempt":
        why = text_at(fact.data, "why")
        return f"attempt {fact.number}, because of: {why}" if why not in {"", "first"} else ""
    if state is not State.READY:
        return ""
    if name == "conflict":
        return because("conflict", ", ".join(texts_at(fact.data, "paths")))
    if name == "agent":
        return text_at(fact.data, "problem") or "the agent changed nothing"
    return text_at(fact.data, "why")


def behind_others(
    standings: Mapping[IssueId, Standing], needs: Mapping[IssueId, Sequence[IssueId]]
) -> dict[IssueId, Standing]:
    """Give the standings again, where each task that waits for a stopped one is held and says behind which."""
    waiting_for: dict[IssueId, list[IssueId]] = {}
    for issue, needed in needs.items():
        for need in needed:
            waiting_for.setdefault(need, []).append(issue)
    now = dict(standings)
    stopping = {State.HELD, State.FAILED, State.CANCELLED}
    stopped = deque(issue for issue, standing in standings.items() if standing.state in stopping)
    while stopped:
        need = stopped.popleft()
        for issue in waiting_for.get(need, ()):
            if issue in now and now[issue].state is State.WAITING:
                now[issue] = _behind(need, now)
                stopped.append(issue)
    return {issue: _waiting_for(issue, now, needs) for issue in now}


def _behind(need: IssueId, now: Mapping[IssueId, Standing]) -> Standing:
    there = now[need]
    root = (there.hold.behind if there.hold else None) or need
    at_root = now[root]
    way = f"needs #{need}, which is {at_root.state}" if root == need else f"needs #{need}, which waits behind #{root}"
    why = because(way, at_root.why)
    who = at_root.hold.who if at_root.hold else "you"
    how = at_root.hold.how if at_root.hold else _retry(root)
    hold = Hold(why=why, who=who, how=how, group="work", behind=root)
    return Standing(state=State.HELD, since=there.since, why=why, hold=hold)


def waiting_for_proof(standings: Mapping[IssueId, Standing], verified: Data) -> dict[IssueId, Standing]:
    """Give the standings again, where each task that landed and is not proven to be on the target says why.

    Args:
        standings: of all tasks.
        verified: the data of the last `verified`.
    """
    why, how = text_at(verified, "why"), text_at(verified, "how")
    hold = Hold(why=why, who="you", how=how, group="landing")
    unproven = {it for it in map(IssueId, texts_at(verified, "unproven")) if it in standings}
    waiting = {it: now for it in unproven if (now := standings[it]).state is State.LANDED and now.hold is None}
    return {**standings, **{it: replace(now, why=why, hold=hold) for it, now in waiting.items()}}


def _waiting_for(
    issue: IssueId, now: Mapping[IssueId, Standing], needs: Mapping[IssueId, Sequence[IssueId]]
) -> Standing:
    here = now[issue]
    if here.state is not State.WAITING or here.why:
        return here
    missing = [need for need in needs.get(issue, ()) if need in now and now[need].state is not State.LANDED]
    return replace(here, why="waits for " + ", ".join(f"#{need}" for need in missing)) if missing else here
