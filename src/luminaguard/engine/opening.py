"""What a session begins with: the plan as facts, what somebody else has closed or opened again, who is asked."""

import hashlib
from collections.abc import Set as AbstractSet

import anyio

from luminaguard.engine.book import Book
from luminaguard.engine.record import issue_json, text, texts
from luminaguard.engine.words import is_cancelled, is_over
from luminaguard.model.facts import RUN, Fact
from luminaguard.model.ids import IssueId, Json, natural
from luminaguard.model.plan import Plan, PlannedIssue

LONGEST_NAME = 50
TRACKER = "the tracker"


async def write_plan(book: Book, plan: Plan) -> None:
    """Write what is planned; what the tracker had closed and is planned again goes on."""
    waves = {issue: number for number, wave in enumerate(plan.waves, start=1) for issue in wave}
    async with anyio.create_task_group() as group:
        for planned in plan.issues:
            issue = planned.issue.id
            group.start_soon(book.add, issue, "planned", _planned(planned, waves[issue]))
            word = book.last(issue, "cancelled")
            if is_cancelled(book, issue) and word is not None and text(word.data, "by").startswith(TRACKER):
                group.start_soon(book.add_another, issue, "retry", {"by": TRACKER, "text": "it was opened again"})


async def write_closed(book: Book, closed: AbstractSet[IssueId]) -> tuple[Fact, ...]:
    """Write that nobody wants what the tracker says is closed, and did not land; give what was written."""
    subjects = [subject for subject in book.subjects() if IssueId(subject) in closed and not is_over(book, subject)]
    data: dict[str, Json] = {"by": TRACKER, "why": "it is closed there"}
    return tuple([await book.add_another(subject, "cancelled", data) for subject in subjects])


def asked_of(book: Book, plan: Plan) -> tuple[IssueId, ...]:
    """Name the issues of this session: the plan's, what they need, and what landed and is not proven yet."""
    asked = {it.issue.id for it in plan.issues}
    asked |= _needs_of(book, asked)
    asked |= {IssueId(it) for it in book.subjects() if book.get(it, "landed") and not _is_proven(book, it)}
    return tuple(sorted(asked, key=natural))


def _is_proven(book: Book, subject: str) -> bool:
    """Tell whether what landed is closed, and proven by a session that came to its end.

    The tracker may know an issue as closed before we have written it down, and then nobody plans it any more.
    """
    last = book.last(RUN, "session", "session_ended")
    was_cut_short = last is not None and (last.name == "session" or text(last.data, "outcome") == "interrupted")
    proof = book.last(RUN, "verified")
    is_unproven = proof is not None and subject in texts(proof.data, "unproven")
    return book.get(subject, "closed") is not None and not was_cut_short and not is_unproven


def _needs_of(book: Book, issues: set[IssueId]) -> set[IssueId]:
    found: set[IssueId] = set()
    todo = list(issues)
    while todo:
        planned = book.get(todo.pop(), "planned")
        assert planned is not None
        fresh = set(map(IssueId, texts(planned.data, "needs"))) - found
        found |= fresh
        todo.extend(fresh)
    return found


def _planned(planned: PlannedIssue, wave: int) -> dict[str, Json]:
    issue = planned.issue
    return {
        "title": issue.title,
        "kind": planned.kind,
        "needs": list(planned.needs),
        "wave": wave,
        "estimate_s": planned.estimate_s,
        "priority": issue.priority,
        "risk": planned.risk,
        "branch": planned.present.branch or branch_of(issue.id),
        "deliverables": list(planned.deliverables),
        "issue": issue_json(issue),
    }


def branch_of(issue: IssueId) -> str:
    """Name an issue's work branch."""
    safe = "".join(char if char.isalnum() or char in "-_." else "-" for char in issue)[:LONGEST_NAME].strip(".-")
    safe = safe.replace("..", ".")
    if safe and safe == issue and not issue.endswith(".lock"):
        return f"feature/issue-{issue}"
    # '+' stands in no name that was taken as it is, so no two issues ever share a branch.
    told_apart = hashlib.sha256(issue.encode(errors="surrogatepass")).hexdigest()[:12]
    return f"feature/issue-{safe}+{told_apart}"
