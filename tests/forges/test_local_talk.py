"""The local tracker as a place where people review and talk: what only it has, and many at once."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from threading import Barrier

import anyio
import pytest

from luminaguard.forges.all import format_of
from luminaguard.forges.base import CheckState, PullDraft, ReportPlace, ReviewNote
from luminaguard.forges.file_backlog import FileBacklog
from luminaguard.forges.local import LocalTracker
from luminaguard.forges.records import Snapshots
from luminaguard.forges.store import TrackerStore
from luminaguard.forges.talk import US, Remark, ReviewState, Talk
from luminaguard.forges.verdicts import Verdicts
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json, Oid
from luminaguard.model.issue import Issue, IssueState, Kind
from luminaguard.model.work import Finding, Severity

HEAD, NEXT = Oid("a" * 40), Oid("b" * 40)
ONE = IssueId("1")
DRAFT = PullDraft(branch="b", head=HEAD, target="main", issue=ONE, title="t", body="Closes #1", labels=("ours",))


@pytest.fixture
def store(tmp_path: Path) -> TrackerStore:
    ticks = count(1000)
    store = TrackerStore(tmp_path / "tracker.db", who="Ann", clock=lambda: float(next(ticks)))
    store.add("First")
    return store


@pytest.fixture
def tracker(store: TrackerStore) -> LocalTracker:
    return LocalTracker(store, report=ReportPlace(issue="#1"))


@pytest.fixture
def pull(tracker: LocalTracker) -> str:
    return anyio.run(tracker.open_pull, DRAFT).id


# Pull requests


def test_pull_request_is_ours_so_that_the_owner_may_approve_it(store: TrackerStore, pull: str) -> None:
    assert Snapshots(store).now().pulls[int(pull)].author == US


def test_what_the_tracker_is_asked_for_is_told_as_ours(store: TrackerStore, tracker: LocalTracker, pull: str) -> None:
    anyio.run(partial(tracker.mark_merged, pull, commit=NEXT))
    anyio.run(partial(tracker.close, ONE, comment="Landed."))
    assert [(one.author, one.text) for one in store.comments("1")] == [(US, "Landed.")]
    assert {event.who for event in store.events() if event.what != "added"} == {US}


def test_what_a_backlog_file_is_asked_for_is_told_as_ours(tmp_path: Path) -> None:
    (tmp_path / "issues").mkdir()
    (tmp_path / "issues" / "1.md").write_text("# First\n")
    tracker = LocalTracker(TrackerStore(tmp_path / "tracker.db", who="Ann"))
    path = tmp_path / "issues"
    forge = FileBacklog(path, source=format_of(path), root=tmp_path, tracker=tracker)
    pull = anyio.run(forge.open_pull, DRAFT)
    anyio.run(partial(forge.close, ONE, comment="Landed."))
    assert Snapshots(tracker.store).now().pulls[int(pull.id)].author == US
    assert [one.author for one in anyio.run(forge.talk.comments, ONE)] == [US]


def test_draft_stays_one_until_the_draft_says_otherwise(tracker: LocalTracker) -> None:
    for is_draft in (True, True, False, True):
        found = anyio.run(tracker.open_pull, replace(DRAFT, is_draft=is_draft))
        assert (found.id, found.is_draft) == ("2", is_draft)


def test_labels_of_a_draft_are_kept(store: TrackerStore, tracker: LocalTracker) -> None:
    anyio.run(tracker.open_pull, DRAFT)
    anyio.run(tracker.open_pull, replace(DRAFT, labels=("more",)))
    assert Snapshots(store).now().pulls[2].labels == ("ours", "more")


# Reviews


def test_review_of_ours_only_comments_and_names_its_commit(
    store: TrackerStore, tracker: LocalTracker, pull: str
) -> None:
    findings = (
        Finding(severity=Severity.CRITICAL, file="a.py", line=3, text="leaks"),
        Finding(severity=Severity.LOW, file="b.py", line=0, text="no tests"),
    )
    anyio.run(tracker.talk.post_review, pull, ReviewNote(commit=HEAD, ok=True, text="Well.", findings=findings))
    [review] = Talk(store).reviews(int(pull))
    assert (review.author, review.state, review.head) == (US, "COMMENTED", HEAD)
    assert review.text == "Well.\n\n- **low** `b.py`: no tests"
    assert [(line.path, line.line, line.text) for line in review.lines] == [("a.py", 3, "**critical**: leaks")]


def test_review_of_ours_does_not_take_the_place_of_a_persons(
    store: TrackerStore, tracker: LocalTracker, pull: str
) -> None:
    Talk(store).review(int(pull), author="ann", state="COMMENTED", text="Hm.", head=HEAD)
    anyio.run(tracker.talk.post_review, pull, ReviewNote(commit=HEAD, ok=True, text="Fine."))
    assert [(one.author, one.text) for one in Talk(store).reviews(int(pull))] == [("ann", "Hm."), (US, "Fine.")]


def test_lines_of_a_change_request_are_wishes_and_those_of_an_approval_are_not(
    store: TrackerStore, tracker: LocalTracker, pull: str
) -> None:
    talk, number = Talk(store), int(pull)
    lines = (Remark(path="a.py", line=3, text="Rename it."), Remark(path="b.py", text="And this file."))
    talk.say(f"pull:{number}", "Soon?", author="bob")
    talk.review(number, author="ann", state="CHANGES_REQUESTED", text="", head=HEAD, remarks=lines)
    talk.review(number, author="bob", state="APPROVED", text="", head=HEAD, remarks=lines[:1])
    talk.review(number, author="ann", state="COMMENTED", text="", head=HEAD, remarks=lines[:1])
    found = anyio.run(tracker.talk.remarks, f"#{pull}")
    assert [(one.author, one.stand, one.text, one.path, one.line) for one in found] == [
        ("bob", "said", "Soon?", None, 0),
        ("ann", "changes", "", None, 0),
        ("ann", "changes", "Rename it.", "a.py", 3),
        ("ann", "changes", "And this file.", "b.py", 0),
        ("bob", "approved", "", None, 0),
        ("bob", "said", "Rename it.", "a.py", 3),
        ("ann", "said", "Rename it.", "a.py", 3),
    ]
    assert {one.association for one in found} == {"owner"}


def test_review_and_its_lines_have_the_commit_that_it_looked_at_and_a_comment_has_none(
    store: TrackerStore, tracker: LocalTracker, pull: str
) -> None:
    line = Remark(path="a.py", line=3, text="nit")
    Talk(store).review(int(pull), author="ann", state="APPROVED", text="Fine.", head=HEAD, remarks=(line,))
    anyio.run(tracker.open_pull, replace(DRAFT, head=NEXT))
    Talk(store).say(f"pull:{pull}", "Soon?", author="bob")
    found = anyio.run(tracker.talk.remarks, pull)
    assert [(one.text, one.commit) for one in found] == [("Fine.", HEAD), ("nit", HEAD), ("Soon?", None)]


def test_verdict_of_one_person_leaves_anothers_standing(store: TrackerStore, tracker: LocalTracker, pull: str) -> None:
    given: tuple[tuple[str, ReviewState], ...]
    given = (("ann", "CHANGES_REQUESTED"), ("bob", "APPROVED"), ("reader[bot]", "CHANGES_REQUESTED"))
    for author, state in given:
        Talk(store).review(int(pull), author=author, state=state, text="x", head=HEAD)
    found = anyio.run(tracker.talk.remarks, pull)
    assert [(one.author, one.stand) for one in found] == [("ann", "changes"), ("bob", "approved")]


@pytest.mark.parametrize("wrong", ["1", "99", "x", ""])
def test_pull_request_that_is_not_there_is_the_users_fault(tracker: LocalTracker, wrong: str) -> None:
    with pytest.raises(UserFault, match="there is no pull request"):
        anyio.run(tracker.talk.remarks, wrong)
    with pytest.raises(UserFault, match="there is no pull request"):
        anyio.run(tracker.talk.fate, wrong)
    with pytest.raises(UserFault, match="there is no pull request"):
        anyio.run(tracker.talk.post_review, wrong, ReviewNote(commit=HEAD, ok=True, text="x"))


# Verdicts


def test_verdict_that_stands_already_is_not_written_again(store: TrackerStore, tracker: LocalTracker) -> None:
    told: tuple[tuple[CheckState, str], ...]
    told = (("pending", "waits"), ("pending", "waits"), ("passed", "2 passed"), ("passed", "3 passed"))
    for state, text in told:
        anyio.run(partial(tracker.talk.report_check, HEAD, name="luminaguard", state=state, text=text))
    found = [(one.state, one.description, one.author) for one in reversed(Verdicts(store).statuses(HEAD))]
    assert found == [("pending", "waits", US), ("success", "2 passed", US), ("success", "3 passed", US)]


def test_check_runs_and_statuses_of_others_are_told_in_three_states(store: TrackerStore, tracker: LocalTracker) -> None:
    verdicts = Verdicts(store)
    verdicts.report(HEAD, context="deploy", state="error", author="ann", url="https://ci.example/1")
    runs: tuple[tuple[str, dict[str, Json]], ...] = (
        ("build", {"status": "in_progress"}),
        ("lint", {"status": "completed", "conclusion": "skipped", "details_url": "https://ci.example/2"}),
        ("test", {"status": "completed", "conclusion": "success"}),
        ("test", {"status": "completed", "conclusion": "timed_out"}),
    )
    for name, said in runs:
        verdicts.begin(HEAD, name=name, said=said, author="ann")
    found = anyio.run(tracker.talk.checks, HEAD)
    assert [(one.name, one.state, one.url) for one in found] == [
        ("build", "pending", None),
        ("deploy", "failed", "https://ci.example/1"),
        ("lint", "passed", "https://ci.example/2"),
        ("test", "failed", None),
    ]


# Comments


def test_status_comment_keeps_its_place_and_its_edits_are_events(store: TrackerStore, tracker: LocalTracker) -> None:
    anyio.run(tracker.talk.tell, ONE, "An agent works on it.")
    store.comment("1", "Good.", author="ann")
    for _ in "12":
        anyio.run(tracker.talk.tell, ONE, "It is judged.")
    [first, second] = anyio.run(tracker.talk.comments, ONE)
    assert (first.author, first.association, first.text.partition("\n")[0]) == (US, "none", "It is judged.")
    assert (second.author, second.association, second.text) == ("ann", "owner", "Good.")
    assert [event.what for event in store.events("1")] == ["added", "commented", "commented", "comment edited"]


def test_comment_of_a_person_that_copies_our_mark_is_left_alone(store: TrackerStore, tracker: LocalTracker) -> None:
    anyio.run(tracker.talk.tell, ONE, "An agent works on it.")
    [ours] = store.comments("1")
    store.add("Second")
    store.comment("2", ours.text, author="ann")
    anyio.run(tracker.talk.tell, IssueId("2"), "It is judged.")
    assert [one.author for one in store.comments("2")] == ["ann", US]
    assert store.comments("2")[0].text == ours.text


def test_report_without_a_place_says_what_to_set(store: TrackerStore) -> None:
    for place in (None, ReportPlace(), ReportPlace(category="General")):
        with pytest.raises(UserFault) as caught:
            anyio.run(partial(LocalTracker(store, report=place).talk.post_report, "x", title="Run 1"))
        assert "[report] issue" in caught.value.hint


def test_report_says_where_it_stands(store: TrackerStore, tracker: LocalTracker) -> None:
    where = anyio.run(partial(tracker.talk.post_report, "3 of 3 landed", title="Run 1"))
    assert where == "issue 1, comment 1"
    assert store.comments("1")[0].text.startswith("## Run 1\n\n3 of 3 landed\n\n<!-- luminaguard:report ")


def test_issue_that_is_not_there_is_the_users_fault(tracker: LocalTracker) -> None:
    with pytest.raises(UserFault, match="there is no issue '9'"):
        anyio.run(tracker.talk.tell, IssueId("9"), "x")
    with pytest.raises(UserFault, match="there is no issue '9'"):
        anyio.run(tracker.talk.comments, IssueId("9"))


# Issues from elsewhere


def test_issue_from_elsewhere_keeps_its_id_where_that_is_free_and_all_that_is_said_of_it(
    store: TrackerStore, tracker: LocalTracker
) -> None:
    issue = Issue(
        id=IssueId("BACK-3"),
        title="A",
        body="b",
        state=IssueState.CLOSED,
        kind=Kind.BUG,
        priority=0,
        needs=(IssueId("7"),),
        author="eve",
        association="none",
        url="https://git.example/3",
    )
    assert anyio.run(tracker.add, issue) == "BACK-3"
    assert store.show("BACK-3") == replace(issue, state=IssueState.OPEN, needs=(), url=None)
    assert anyio.run(tracker.add, replace(issue, url="https://git.example/4")) == "2"
    assert anyio.run(tracker.add, replace(issue, id=IssueId("no id"), title="B")) == "3"


def test_number_of_a_pull_request_is_not_free(tracker: LocalTracker, pull: str) -> None:
    assert anyio.run(tracker.add, Issue(id=IssueId(pull), title="A")) == "3"


# What it costs


def test_nothing_that_is_told_or_asked_of_one_issue_reads_a_whole_table(
    store: TrackerStore, tracker: LocalTracker, pull: str
) -> None:
    said: list[str] = []
    with store.database.reading() as connection:
        connection.set_trace_callback(said.append)
    told(store, pull)
    anyio.run(tracker.talk.remarks, pull)
    anyio.run(tracker.talk.checks, HEAD)
    anyio.run(tracker.talk.comments, ONE)
    anyio.run(tracker.open_pull, replace(DRAFT, branch="c"))
    anyio.run(partial(tracker.mark_merged, pull, commit=NEXT))
    anyio.run(partial(tracker.close, ONE, comment="Landed."))
    with store.database.reading() as connection:
        connection.set_trace_callback(None)
        plain = [one for one in said if one.startswith(("SELECT", "INSERT", "UPDATE", "DELETE"))]
        plans = [(one, step[3]) for one in plain for step in connection.execute(f"EXPLAIN QUERY PLAN {one}")]
    assert len(plain) > 30
    # "SEARCH issue" and no more is what SQLite says of max(number) without an index.
    whole = [it for it in plans if it[1] == "SEARCH issue" or (it[1].startswith("SCAN") and "CONSTANT" not in it[1])]
    assert whole == []


# Many at once


def told(store: TrackerStore, pull: str) -> None:
    """Tell all that is told of an issue, as a session does that goes on after a kill."""
    tracker = LocalTracker(store, report=ReportPlace(issue="1"))
    talk = tracker.talk
    finding = Finding(severity=Severity.HIGH, file="a.py", line=1, text="x")

    async def tell() -> None:
        await talk.post_review(pull, ReviewNote(commit=HEAD, ok=True, text="Fine.", findings=(finding,)))
        await talk.report_check(HEAD, name="luminaguard", state="passed", text="all well")
        await talk.tell(ONE, "It is judged.")
        await talk.comment(ONE, "Which one?", key="question 1")
        await talk.post_report("done", title="Run 1")
        await tracker.add(Issue(id=IssueId("9"), title="From elsewhere"))
        await tracker.add_need(ONE, IssueId("9"))

    anyio.run(tell)


def all_is_there_once(store: TrackerStore, pull: str) -> None:
    [review] = Talk(store).reviews(int(pull))
    assert len(review.lines) == 1
    assert len(Verdicts(store).statuses(HEAD)) == 1
    assert sorted(one.text.partition("\n")[0] for one in store.comments("1")) == [
        "## Run 1",
        "It is judged.",
        "Which one?",
    ]
    assert [one.id for one in store.issues()] == ["1", "9"]
    assert store.show("1").needs == ("9",)


def test_threads_that_tell_the_same_at_once_tell_it_once(store: TrackerStore, pull: str) -> None:
    start = Barrier(6)

    def tell(_: int) -> None:
        start.wait(timeout=240)
        told(TrackerStore(store.path), pull)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(tell, range(6)))
    all_is_there_once(store, pull)


def test_processes_that_tell_the_same_at_once_tell_it_once(store: TrackerStore, pull: str) -> None:
    script = (
        "import sys; from importlib.util import module_from_spec, spec_from_file_location; from pathlib import Path\n"
        "from luminaguard.forges.store import TrackerStore\n"
        f"spec = spec_from_file_location('told', {__file__!r}); tests = module_from_spec(spec)\n"
        "spec.loader.exec_module(tests); print(flush=True); sys.stdin.read()\n"
        "tests.told(TrackerStore(Path(sys.argv[1])), sys.argv[2])\n"
    )
    argv = [sys.executable, "-W", "error", "-c", script, str(store.path), pull]
    pipe = subprocess.PIPE
    workers = [subprocess.Popen(argv, stdin=pipe, stdout=pipe) for _ in range(3)]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.close()  # all at once: nobody is waited for before the last was told
    for worker in workers:
        worker.stdin = None
        worker.communicate(timeout=240)
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    all_is_there_once(store, pull)
