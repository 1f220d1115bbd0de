"""A person's words in every state of an issue: taken where they mean something, else refused with the way out."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from luminaguard.app.steering import LastRun
from luminaguard.host.git import Places, find_repository
from luminaguard.host.locks import only_one
from luminaguard.journal.sqlite import SqliteJournal
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json, RunId
from luminaguard.reports.status_text import problems_text
from luminaguard.reports.view import run_view

RUN_ID = RunId("20261121-000000-0001")
TRUST: dict[str, Json] = {"group": "trust", "why": "a stranger"}
WORK: dict[str, Json] = {"group": "work", "why": "tried twice"}

# What the journal tells of an issue in each state, in order.
STATES: dict[str, list[tuple[str, dict[str, Json]]]] = {
    "waiting": [],
    "working": [("attempt:1", {}), ("placed:1.1", {})],
    "asked": [("attempt:1", {}), ("agent:1", {}), ("approval_asked:1", {})],
    "approved": [("attempt:1", {}), ("approval_asked:1", {}), ("approved:1", {})],
    "rejected": [("attempt:1", {}), ("approval_asked:1", {}), ("rejected:1", {})],
    "asked again": [
        *(("attempt:1", {}), ("approval_asked:1", {}), ("approved:1", {})),
        *(("attempt:2", {}), ("approval_asked:2", {})),
    ],
    "stranger": [("held:1", TRUST)],
    "released": [("held:1", TRUST), ("released", {})],
    "held": [("attempt:1", {}), ("held:1", WORK)],
    "failed": [("attempt:1", {}), ("failed:1", {})],
    "retried": [("attempt:1", {}), ("held:1", WORK), ("retry:1", {})],
    "held again": [("attempt:1", {}), ("held:1", WORK), ("retry:1", {}), ("attempt:2", {}), ("held:2", WORK)],
    "cancelled": [("attempt:1", {}), ("cancelled:1", {})],
    "cancelled while asked": [("attempt:1", {}), ("approval_asked:1", {}), ("cancelled:1", {})],
    "taken up again": [("attempt:1", {}), ("cancelled:1", {}), ("retry:1", {})],
    "landed": [("attempt:1", {}), ("landed", {"commit": "c", "base": "b"})],
}
APPROVABLE = {"asked", "asked again", "stranger"}
REJECTABLE = set(STATES) - {"waiting", "stranger", "released", "landed"}
RETRYABLE = {"rejected", "held", "failed", "held again", "cancelled", "cancelled while asked", "stranger", "released"}


@pytest.fixture
def places(tmp_path: Path) -> Places:
    subprocess.run(("git", "init", "-q", str(tmp_path)), check=True)
    return find_repository(tmp_path)


@pytest.fixture
def last_run(places: Places) -> Iterator[LastRun]:
    """The journal of a run with one issue in every state."""
    with SqliteJournal(places.state / "journal.db") as journal:
        journal.add_now(RunId("20250101-000000-0001"), "older", "planned", {})
        journal.add_now(RUN_ID, "run", "started", {})
        for state, facts in STATES.items():
            journal.add_now(RUN_ID, state, "planned", {})
            for kind, data in facts:
                journal.add_now(RUN_ID, state, kind, data)
    with LastRun(places) as opened:
        yield opened


def kinds(last_run: LastRun, issue: str) -> list[str]:
    return [fact.kind for fact in last_run.facts() if fact.subject == issue]


@pytest.mark.parametrize("state", STATES)
def test_approval_is_taken_where_one_is_waited_for(last_run: LastRun, state: str) -> None:
    before = kinds(last_run, state)
    if state not in APPROVABLE:
        with pytest.raises(UserFault, match="waits for approval") as caught:
            last_run.approve(state)
        assert caught.value.hint
        assert kinds(last_run, state) == before
        return
    last_run.approve(state)
    [added] = kinds(last_run, state)[len(before) :]
    assert added == {"asked": "approved:1", "asked again": "approved:2", "stranger": "released"}[state]


@pytest.mark.parametrize("state", STATES)
def test_rejection_is_taken_of_what_was_made_and_has_not_landed(last_run: LastRun, state: str) -> None:
    before = kinds(last_run, state)
    if state not in REJECTABLE:
        with pytest.raises(UserFault, match=f"#{state}") as caught:
            last_run.reject(state, "no")
        assert caught.value.hint
        assert kinds(last_run, state) == before
        return
    last_run.reject(state, "no")
    fact = last_run.facts()[-1]
    assert (fact.subject, fact.name, fact.data["why"]) == (state, "rejected", "no")


@pytest.mark.parametrize("state", STATES)
def test_retry_is_taken_where_something_has_stopped_it(last_run: LastRun, state: str) -> None:
    before = kinds(last_run, state)
    if state not in RETRYABLE:
        with pytest.raises(UserFault, match=f"#{state}") as caught:
            last_run.retry(state, "again")
        assert caught.value.hint
        assert kinds(last_run, state) == before
        return
    last_run.retry(state, "again")
    fact = last_run.facts()[-1]
    assert (fact.subject, fact.name, fact.data["text"]) == (state, "retry", "again")
    with pytest.raises(UserFault):
        last_run.retry(state, "and again")


@pytest.mark.parametrize("state", [state for state in STATES if state != "landed"])
def test_issue_that_has_not_landed_can_be_cancelled(last_run: LastRun, state: str) -> None:
    assert last_run.cancel(f"#{state}") == (state,)
    assert last_run.facts()[-1].name == "cancelled"


def test_landed_issue_cannot_be_cancelled(last_run: LastRun) -> None:
    with pytest.raises(UserFault, match="#landed has landed") as caught:
        last_run.cancel("landed")
    assert caught.value.hint


def test_all_that_have_not_ended_are_cancelled_at_once(last_run: LastRun) -> None:
    stopped = last_run.cancel(None)
    assert set(stopped) == set(STATES) - {"landed", "cancelled", "cancelled while asked"}
    assert last_run.cancel(None) == ()


@pytest.mark.parametrize("issue", ["no-such", "run", "#run", "older", ""])
def test_issue_that_the_run_does_not_have_is_told(last_run: LastRun, issue: str) -> None:
    for word in (last_run.approve, last_run.cancel, last_run.work_of):
        with pytest.raises(UserFault, match="has no issue") as caught:
            word(issue)
        assert caught.value.hint


def test_latest_run_is_the_one_that_is_steered(last_run: LastRun) -> None:
    assert last_run.run == RUN_ID


def test_before_the_first_run_there_is_nothing_to_steer(places: Places) -> None:
    with pytest.raises(UserFault, match="no run in this repository") as caught:
        LastRun(places)
    assert caught.value.hint == "luminaguard run"
    SqliteJournal(places.state / "journal.db").__exit__()
    with pytest.raises(UserFault, match="no run in this repository") as caught:
        LastRun(places)
    # Closed by then, though the fault still knows the frames that it came through.
    held = [os.path.realpath(fd) for fd in Path("/proc/self/fd").iterdir()]
    assert caught.traceback
    assert [path for path in held if Path(path).is_relative_to(places.state)] == []


def test_session_at_work_is_known_by_its_lock(last_run: LastRun, places: Places) -> None:
    assert not last_run.is_at_work()
    with only_one(places.state / "lock"):
        assert last_run.is_at_work()
    assert not last_run.is_at_work()


def test_work_of_a_landed_issue_lies_between_base_and_commit(last_run: LastRun) -> None:
    work = last_run.work_of("landed")
    assert (work.base, work.commit, work.is_landed) == ("b", "c", True)
    with pytest.raises(UserFault, match="nothing was made for #working yet") as caught:
        last_run.work_of("working")
    assert caught.value.hint


QUESTION: dict[str, Json] = {"attempt": 1, "what": "run `curl example.org`"}


@pytest.fixture
def asking(places: Places, last_run: LastRun) -> LastRun:
    """The run where the agent of "working" asks something."""
    with SqliteJournal(places.state / "journal.db") as journal:
        journal.add_now(RUN_ID, "working", "asked:7", QUESTION)
    return last_run


def test_a_question_is_answered_by_approve_and_then_there_is_none(asking: LastRun) -> None:
    assert "curl example.org" in asking.approve("working")
    fact = asking.facts()[-1]
    assert (fact.kind, fact.data["ok"]) == ("answered:7", True)
    with pytest.raises(UserFault, match="waits for approval"):
        asking.approve("working")


def test_a_no_to_a_question_leaves_the_issue_at_work_and_its_reason_with_the_agent(asking: LastRun) -> None:
    asking.reject("working", "stay offline")
    answered, said = asking.facts()[-2:]
    assert (answered.kind, answered.data["ok"]) == ("answered:7", False)
    assert (said.kind, said.data["text"]) == ("said:1", "stay offline")
    assert "rejected:1" not in kinds(asking, "working")


def test_a_question_of_an_agent_that_has_ended_waits_for_nobody(asking: LastRun, places: Places) -> None:
    with SqliteJournal(places.state / "journal.db") as journal:
        journal.add_now(RUN_ID, "working", "agent:1", {})
    with pytest.raises(UserFault, match="waits for approval"):
        asking.approve("working")


def test_a_question_stands_in_the_list_of_what_waits_for_a_person(asking: LastRun) -> None:
    told = problems_text(run_view(asking.facts()))
    assert "its agent asks: run `curl example.org`" in told
    assert "luminaguard approve working, or luminaguard reject working --why TEXT" in told


@pytest.mark.parametrize("state", STATES)
def test_words_are_taken_for_what_an_agent_may_still_work_on(last_run: LastRun, state: str) -> None:
    if state in {"landed", "cancelled", "cancelled while asked"}:
        with pytest.raises(UserFault, match=f"#{state}") as caught:
            last_run.say(state, "be kind")
        assert caught.value.hint
        return
    who = last_run.say(state, "be kind")
    assert ("next turn" in who) == (state == "working")
    assert (last_run.facts()[-1].kind, last_run.facts()[-1].data["text"]) == ("said:1", "be kind")
    last_run.say(state, "and quick")
    assert last_run.facts()[-1].kind == "said:2"
    with pytest.raises(UserFault, match="nothing to say"):
        last_run.say(state, " ")


def test_a_run_is_paused_and_resumed_once_each(last_run: LastRun) -> None:
    with pytest.raises(UserFault, match="not paused"):
        last_run.resume()
    last_run.pause()
    with pytest.raises(UserFault, match="paused already") as caught:
        last_run.pause()
    assert caught.value.hint == "luminaguard resume"
    assert "luminaguard resume" in problems_text(run_view(last_run.facts()))
    last_run.resume()
    assert "luminaguard resume" not in problems_text(run_view(last_run.facts()))
    last_run.pause()
    assert kinds(last_run, "run")[1:] == ["paused:1", "resumed:1", "paused:2"]


def test_agents_of_an_issue_without_any_are_stopped_without_ado(last_run: LastRun) -> None:
    last_run.stop_agents(["waiting", "no-such"])
    assert last_run.live_logs(IssueId("waiting")) == ()
    assert last_run.logs(IssueId("waiting"), attempt=None) == ()
