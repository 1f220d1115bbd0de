"""What we tell the local tracker, as the unmodified `gh` shows it; and what a person says there with `gh`."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from face_ground import Running, work_on

from luminaguard.forges.base import PullDraft, ReviewNote
from luminaguard.forges.local import LocalTracker
from luminaguard.forges.store import TrackerStore
from luminaguard.forges.talk import US
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.work import Finding, Severity

ONE = IssueId("1")


@pytest.fixture
def tracker(project: Path) -> LocalTracker:
    store = TrackerStore(project / ".git" / "luminaguard" / "tracker.db", who="Ann")
    store.add("First")
    return LocalTracker(store)


@pytest.fixture
def draft(project: Path) -> PullDraft:
    head = Oid(work_on(project, "lg/1", "a.py", "one\ntwo\n"))
    return PullDraft(branch="lg/1", head=head, target="main", issue=ONE, title="First", body="Closes #1", is_draft=True)


def gh(running: Running, *args: str) -> str:
    ran = running.gh(*args)
    assert ran.returncode == 0, f"gh {' '.join(args)}: {ran.stderr or ran.stdout}"
    return ran.stdout.strip()


def read(running: Running, *args: str) -> Any:
    return json.loads(gh(running, *args))


def stands(tracker: LocalTracker, pull: str) -> list[tuple[str, str, str]]:
    found = anyio.run(tracker.talk.remarks, pull)
    assert {one.association for one in found} <= {"owner"}
    return [(one.author, one.stand, one.text) for one in found]


def test_gh_shows_what_we_tell(running: Running, tracker: LocalTracker, draft: PullDraft) -> None:
    pull = anyio.run(tracker.open_pull, draft)
    finding = Finding(severity=Severity.HIGH, file="a.py", line=2, text="off by one")
    note = ReviewNote(commit=draft.head, ok=False, text="Not yet.", findings=(finding,))
    anyio.run(tracker.talk.post_review, pull.id, note)
    anyio.run(partial(tracker.talk.report_check, draft.head, name="luminaguard", state="failed", text="1 of 9 failed"))
    anyio.run(tracker.talk.tell, ONE, "It is judged.")
    shown = read(running, "pr", "view", pull.id, "--json", "author,isDraft,reviews,statusCheckRollup")
    assert shown["isDraft"] is True
    assert shown["author"]["is_bot"] is True
    assert [(it["author"]["login"], it["state"], it["body"]) for it in shown["reviews"]] == [
        (US, "COMMENTED", "Not yet.")
    ]
    assert [(it["context"], it["state"]) for it in shown["statusCheckRollup"]] == [("luminaguard", "FAILURE")]
    lines = read(running, "api", f"repos/ann/demo/pulls/{pull.id}/comments")
    assert [(it["path"], it["line"], it["body"]) for it in lines] == [("a.py", 2, "**high**: off by one")]
    assert "It is judged." in gh(running, "issue", "view", "1", "--comments")


def test_person_asks_for_changes_with_gh_and_approves_later(
    running: Running, tracker: LocalTracker, draft: PullDraft
) -> None:
    pull = anyio.run(tracker.open_pull, draft)
    anyio.run(tracker.talk.post_review, pull.id, ReviewNote(commit=draft.head, ok=True, text="Fine."))
    gh(running, "pr", "review", pull.id, "--request-changes", "-b", "Rename it.")
    gh(running, "pr", "comment", pull.id, "-b", "Or not?")
    assert stands(tracker, pull.id) == [("ann", "changes", "Rename it."), ("ann", "said", "Or not?")]
    gh(running, "pr", "review", pull.id, "--approve")
    assert stands(tracker, pull.id) == [
        ("ann", "said", "Rename it."),
        ("ann", "said", "Or not?"),
        ("ann", "approved", ""),
    ]


def test_person_answers_a_question_on_an_issue_with_gh(running: Running, tracker: LocalTracker) -> None:
    anyio.run(partial(tracker.talk.comment, ONE, "Which one?", key="question 1"))
    gh(running, "issue", "comment", "1", "-b", "The first.")
    found = anyio.run(tracker.talk.comments, ONE)
    assert [(one.author, one.association, one.text.partition("\n")[0]) for one in found] == [
        (US, "none", "Which one?"),
        ("ann", "owner", "The first."),
    ]
