"""Commits and what is said of them as GraphQL objects."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from luminaguard.forges.face.diffs import commits_of, start_of
from luminaguard.forges.face.graphql.values import Info, Value, paged
from luminaguard.forges.face.names import iso, node_id
from luminaguard.forges.face.site import View
from luminaguard.forges.records import PullRecord
from luminaguard.forges.verdicts import CheckRun, Status
from luminaguard.model.ids import Oid

_GOOD = frozenset({"SUCCESS", "NEUTRAL", "SKIPPED"})


def commit_value(view: View, oid: Oid) -> Value | None:
    """Give a commit; None where it is not there."""
    if view.site.commit(oid) is None:
        return None
    return _commit(view, commits_of(view.site, "--max-count=1", oid)[0])


def _commit(view: View, said: Sequence[str]) -> Value:
    oid, _tree, _parents, name, email, date, _, _, committed, message = said
    headline, _, body = message.partition("\n")
    author = {"name": name, "email": email, "date": date, "user": None}
    return {
        "__typename": "Commit",
        "id": node_id("C", oid),
        "oid": oid,
        "message": message,
        "messageHeadline": headline,
        "messageBody": body.strip("\n"),
        "committedDate": committed,
        "authoredDate": date,
        "authors": paged(lambda: [author], dict),
        "statusCheckRollup": lambda _info: rollup(view, Oid(oid)),
        "url": f"{view.urls.page}/commit/{oid}",
    }


def commits_connection(view: View, it: PullRecord) -> Callable[..., Value]:
    """Make the resolver of a pull request's commits, oldest first."""

    def items() -> list[list[str]]:
        base = view.site.commit(it.target)
        start = None if base is None else start_of(view.site, it, base)
        return commits_of(view.site, f"{start}..{it.head}") if start is not None else []

    return paged(items, lambda said: {"id": node_id("PRC", said[0]), "commit": _commit(view, said)})


def rollup(view: View, head: Oid) -> Value | None:
    """Give all verdicts on a commit; None where nobody said anything."""
    runs, statuses = view.site.verdicts.runs(head), view.site.verdicts.standing(head)
    if not runs and not statuses:
        return None
    states = [_state_of(run) for run in runs] + [it.state.upper() for it in statuses]
    contexts: list[Any] = [*runs, *statuses]
    counted = {
        "checkRunCount": len(runs),
        "statusContextCount": len(statuses),
        "checkRunCountsByState": _counts([_word_of(run) for run in runs]),
        "statusContextCountsByState": _counts([it.state.upper() for it in statuses]),
    }
    return {
        "id": node_id("SCR", head),
        "state": next((one for one in ("FAILURE", "ERROR", "PENDING") if one in states), "SUCCESS"),
        "contexts": paged(lambda: contexts, lambda it: _context(view, it), **counted),
    }


def _counts(words: Sequence[str]) -> list[Value]:
    return [{"state": word, "count": count} for word, count in Counter(words).items()]


def _word_of(run: CheckRun) -> str:
    return str(run.said.get("conclusion") or run.said.get("status") or "queued").upper()


def _state_of(run: CheckRun) -> str:
    if run.said.get("conclusion") is None:
        return "PENDING"
    return "SUCCESS" if _word_of(run) in _GOOD else "FAILURE"


def _context(view: View, it: CheckRun | Status) -> Value:
    return _check_run(view, it) if isinstance(it, CheckRun) else _status(it)


def _is_required(_info: Info, **_which: Any) -> bool:
    return False  # the merge queue has its own checks; of others' none is demanded


def _check_run(view: View, it: CheckRun) -> Value:
    output = it.said.get("output")
    said = output if isinstance(output, dict) else {}
    conclusion = it.said.get("conclusion")
    return {
        "__typename": "CheckRun",
        "id": node_id("CR", it.seq),
        "name": it.name,
        "status": str(it.said.get("status") or "queued").upper(),
        "conclusion": None if conclusion is None else str(conclusion).upper(),
        "startedAt": it.said.get("started_at"),
        "completedAt": it.said.get("completed_at"),
        "detailsUrl": it.said.get("details_url") or f"{view.urls.page}/runs/{it.seq}",
        **{key: said.get(key) for key in ("title", "summary", "text")},
        "checkSuite": {"id": node_id("CS", it.seq)},
        "isRequired": _is_required,
    }


def _status(it: Status) -> Value:
    return {
        "__typename": "StatusContext",
        "id": node_id("SC", it.seq),
        "context": it.context,
        "state": it.state.upper(),
        "targetUrl": it.url,
        "description": it.description,
        "createdAt": iso(it.time),
        "isRequired": _is_required,
    }
