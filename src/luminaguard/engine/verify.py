"""The proof at the end: read the target and the tracker again, and believe nothing that was only said."""

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
    commits = await _commits_on_target(drivers, book, asked, details)
    trees = _trees_tested(book, asked, details)
    closed = await _issues_closed(drivers, book, asked, details)
    data: dict[str, Json] = {
        "commits_on_target": commits,
        "trees_tested": trees,
        "issues_closed": closed,
        "details": list(details),
    }
    # A session that watches proves more than once, each time anew.
    again = len([fact for fact in book.all(RUN, "verified") if fact.number == session])
    await book.add(RUN, f"verified:{session}.{again + 1}" if again else f"verified:{session}", data)
    return commits and trees and closed


def _landed(book: Book, asked: tuple[IssueId, ...]) -> dict[IssueId, tuple[Oid, Oid]]:
    found = {}
    for issue in asked:
        if (fact := book.get(issue, "landed")) is not None:
            found[issue] = (Oid(text(fact.data, "commit")), Oid(text(fact.data, "tree")))
    return found


async def _commits_on_target(drivers: Drivers, book: Book, asked: tuple[IssueId, ...], details: list[str]) -> bool:
    started = book.get(RUN, "started")
    assert started is not None
    try:
        history = dict(await drivers.trunk.first_parents(Oid(text(started.data, "base"))))
    except Fault as fault:
        details.append(f"the target cannot be read: {fault.message}")
        return False
    missing = [issue for issue, (commit, tree) in _landed(book, asked).items() if history.get(commit) != tree]
    details += [
        f"#{issue}: its commit is not in the target's first-parent history, or has another tree" for issue in missing
    ]
    return not missing


def _trees_tested(book: Book, asked: tuple[IssueId, ...], details: list[str]) -> bool:
    green = {
        text(fact.data, "tree")
        for subject in book.subjects()
        for fact in book.all(subject, "checks")
        if fact.data["ok"]
    }
    untested = [issue for issue, (_, tree) in _landed(book, asked).items() if tree not in green]
    details += [f"#{issue}: no green verdict is recorded for the tree that landed" for issue in untested]
    return not untested


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
