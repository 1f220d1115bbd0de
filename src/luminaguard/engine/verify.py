"""The proof at the end: read the target and the tracker again, and believe nothing that was only said."""

from dataclasses import dataclass

from luminaguard.engine.base import Drivers
from luminaguard.engine.book import Book
from luminaguard.engine.record import text
from luminaguard.model.facts import RUN
from luminaguard.model.faults import Fault
from luminaguard.model.ids import IssueId, Json, Oid
from luminaguard.model.issue import IssueState


async def verify(drivers: Drivers, book: Book, asked: tuple[IssueId, ...], *, session: int) -> bool:
    """Check every landing against the target's history, the checks' verdicts and the tracker; write down what holds."""
    details: list[str] = []
    target = await _target_now(drivers, book, asked)
    details += target.details
    trees = _trees_tested(book, asked, details)
    closed = await _issues_closed(drivers, book, asked, details)
    data: dict[str, Json] = {
        "commits_on_target": not target.details,
        "trees_tested": trees,
        "issues_closed": closed,
        "details": list(details),
        "unproven": list(target.unproven),
        "why": target.why,
        "how": target.how,
    }
    # A session that watches proves more than once, each time anew.
    again = len([fact for fact in book.all(RUN, "verified") if fact.number == session])
    await book.add(RUN, f"verified:{session}.{again + 1}" if again else f"verified:{session}", data)
    return not target.details and trees and closed


def _landed(book: Book, asked: tuple[IssueId, ...]) -> dict[IssueId, tuple[Oid, Oid]]:
    found = {}
    for issue in asked:
        if (fact := book.get(issue, "landed")) is not None:
            found[issue] = (Oid(text(fact.data, "commit")), Oid(text(fact.data, "tree")))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _TargetNow:
    """What is not so of the landings. `unproven` wait, for the reason `why`, until somebody does `how`."""

    details: tuple[str, ...]
    unproven: tuple[IssueId, ...] = ()
    why: str = ""
    how: str = ""


async def _target_now(drivers: Drivers, book: Book, asked: tuple[IssueId, ...]) -> _TargetNow:
    started = book.get(RUN, "started")
    assert started is not None
    landed = _landed(book, asked)
    try:
        history = dict(await drivers.trunk.first_parents(Oid(text(started.data, "base"))))
        beside = await drivers.trunk.beside()
    except Fault as fault:
        why, how = f"the target cannot be read: {fault.message}", f"{fault.hint or 'see to it'}; then: luminaguard run"
        return _TargetNow(details=(why,), unproven=tuple(landed), why=why, how=how)
    missing = [issue for issue, (commit, tree) in landed.items() if history.get(commit) != tree]
    gone = [
        f"#{issue}: its commit is not in the target's first-parent history, or has another tree" for issue in missing
    ]
    if beside is None:
        return _TargetNow(details=tuple(gone))
    waiting = tuple(issue for issue, (commit, _) in landed.items() if commit in beside.commits)
    told = (f"#{issue}: {beside.why}" for issue in waiting)
    return _TargetNow(details=(*gone, *told), unproven=waiting, why=beside.why, how=beside.how)


def _trees_tested(book: Book, asked: tuple[IssueId, ...], details: list[str]) -> bool:
    green = {
        text(fact.data, "tree")
        for subject in book.subjects()
        for fact in book.all(subject, "checks")
        if fact.data["ok"]
    }
    untested = [issue for issue, (_, tree) in _landed(book, asked).items() if tree not in green]
    details += [f"#{issue}: no green verdict is recorded for the tree that landed" for issue in untested]
    details += [f"#{issue}: no checks were configured, so none judged its tree" for issue in _unjudged(book, asked)]
    return not untested


def _unjudged(book: Book, asked: tuple[IssueId, ...]) -> list[IssueId]:
    """Name what landed where there was nothing to run: it passed all of no checks."""
    facts = [fact for subject in book.subjects() for fact in book.all(subject, "checks", "base_checks")]
    told = {text(fact.data, "tree") for fact in facts if fact.data["ok"]}
    judged = {text(fact.data, "tree") for fact in facts if fact.data["ok"] and fact.data["commands"]}
    return [issue for issue, (_, tree) in _landed(book, asked).items() if tree in told - judged]


async def _issues_closed(drivers: Drivers, book: Book, asked: tuple[IssueId, ...], details: list[str]) -> bool:
    is_good = True
    for issue in _landed(book, asked):
        try:
            state = (await drivers.forge.issue(issue)).state
        except Fault as fault:
            details.append(f"#{issue}: the tracker does not answer: {fault.message}")
            is_good = False
            continue
        if state is not IssueState.CLOSED:
            details.append(f"#{issue}: landed, but the tracker says that it is {state}")
            is_good = False
    return is_good
