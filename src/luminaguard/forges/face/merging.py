"""Merging by hand: by the same plumbing as the merge queue, under its lock, and only by compare-and-swap."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from anyio import from_thread

from luminaguard.forges.face.answers import RefusalError
from luminaguard.forges.face.site import Site
from luminaguard.forges.records import PullRecord
from luminaguard.forges.store import checked_text
from luminaguard.host.trunk import Trunk
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import Oid
from luminaguard.model.issue import IssueState
from luminaguard.model.work import Conflict

TRIES = 3

# One keyword for each issue, as on GitHub: "Closes #1, #2" closes 1.
_CLOSES = re.compile(
    r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+"
    r"(?:(?P<repo>[\w.-]+/[\w.-]+)?#|GH-|https?://[^/\s]+/(?P<link>[\w.-]+/[\w.-]+)/issues/)(?P<number>\d{1,15})\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeForm:
    """How a pull request is to be merged. `head`: only if its branch stands there."""

    style: Literal["squash", "merge"]
    head: str | None = None
    title: str | None = None
    message: str | None = None


def closed_by(text: str, *, repository: str) -> tuple[int, ...]:
    """Name the issues of the repository that a text closes by keyword."""
    found = (
        int(it["number"])
        for it in _CLOSES.finditer(text)
        if (it["repo"] or it["link"] or repository).lower() == repository.lower()
    )
    return tuple(dict.fromkeys(found))


def merge(site: Site, it: PullRecord, form: MergeForm, *, who: str) -> Oid:
    """Merge a pull request into the target and close what it says; return the commit on the target.

    Raises:
        RefusalError: its head has moved (409), or it cannot be merged as it is (405).
    """
    if it.merged is not None:
        raise RefusalError(405, "Pull Request is already merged")
    if not it.is_open or it.is_draft:
        raise RefusalError(405, "Pull Request is still a draft" if it.is_draft else "Pull Request is not open")
    if it.target != site.target:
        raise RefusalError(405, f"Only pull requests into {site.target} are merged here")
    head = site.heads().get(it.branch)
    if head is None:
        raise RefusalError(405, "The head branch was deleted")
    if form.head is not None and form.head != head:
        raise RefusalError(409, "Head branch was modified. Review and try the merge again.")
    commit = _landed(site, it, form, head)
    # In this order: whatever a kill cuts off, the same call made again does.
    for issue in _to_close(site, it):
        site.store.close(issue, who=who)
    site.store.mark_merged(str(it.number), commit=commit)
    return commit


def _landed(site: Site, it: PullRecord, form: MergeForm, head: Oid) -> Oid:
    try:
        with site.landing() as trunk:
            return _landed_before(site, it, trunk) or _land(site, it, form, head, trunk)
    except UserFault as fault:
        raise RefusalError(405, f"Merging is blocked: {fault.message}") from fault


def _landed_before(site: Site, it: PullRecord, trunk: Trunk) -> Oid | None:
    """Find the landing of a merge that was cut short: the intent is written before the branch moves."""
    intents = [event.data["commit"] for event in site.store.events(it.subject) if event.what == "merging"]
    return next((Oid(str(oid)) for oid in intents if from_thread.run(trunk.holds, Oid(str(oid)))), None)


def _land(site: Site, it: PullRecord, form: MergeForm, head: Oid, trunk: Trunk) -> Oid:
    for _ in range(TRIES):
        onto = from_thread.run(trunk.tip)
        if from_thread.run(trunk.is_in, head, onto):
            raise RefusalError(405, "There is nothing to merge: the target has these commits already")
        message = _message(site, it, form)
        compose = partial(trunk.compose, head, onto=onto, style=form.style, message=message, when=time.time())
        candidate = from_thread.run(compose)
        if isinstance(candidate, Conflict):
            raise RefusalError(405, f"Pull Request is not mergeable: conflicts in {', '.join(candidate.paths[:5])}")
        site.talk.intend(it.number, commit=candidate.commit)
        if from_thread.run(trunk.land, candidate) is not None:
            return candidate.commit
    raise RefusalError(409, "Base branch was modified. Review and try the merge again.")


def _message(site: Site, it: PullRecord, form: MergeForm) -> str:
    if form.style == "squash":
        title, body = f"{it.title} (#{it.number})", it.body
    else:
        title, body = f"Merge pull request #{it.number} from {site.owner}/{it.branch}", it.title
    parts = (form.title or title, form.message if form.message is not None else body)
    return checked_text("message", "\n\n".join(part for part in parts if part).rstrip() + "\n")


def _to_close(site: Site, it: PullRecord) -> Iterator[str]:
    seen = site.snapshots.now()
    for number in closed_by(it.body, repository=f"{site.owner}/{site.name}"):
        record = seen.issues.get(number)
        if record is not None and record.issue.state is IssueState.OPEN:
            yield record.issue.id
