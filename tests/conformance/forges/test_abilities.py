"""What every forge must do where people review and talk, whatever stands behind it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import pytest
from ability_grounds import (
    MARIA,
    FileGround,
    GiteaGround,
    GitHubGround,
    GitLabGround,
    Ground,
    LocalGround,
    MergingGround,
)

from luminaguard.forges.base import CheckState, Fate, Merged, NotMerged, PullDraft, ReviewNote, Rules
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import Issue
from luminaguard.model.work import Finding, Severity

A, B, C = Oid("a" * 40), Oid("b" * 40), Oid("c" * 40)
ONE, TWO = IssueId("1"), IssueId("2")

VOICES: dict[str, Callable[[Path], Ground]] = {
    "local": LocalGround,
    "file": FileGround,
    "github": GitHubGround,
    "gitlab": GitLabGround,
    "gitea": GiteaGround,
}
WRITING = [name for name in VOICES if name != "file"]
MERGING: dict[str, Callable[[Path], MergingGround]] = {
    "github": GitHubGround,
    "gitlab": GitLabGround,
    "gitea": GiteaGround,
}


@pytest.fixture(params=VOICES)
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    return VOICES[request.param](tmp_path)


@pytest.fixture(params=WRITING)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    """A ground where issues can be added."""
    return VOICES[request.param](tmp_path)


@pytest.fixture(params=MERGING)
def merging(request: pytest.FixtureRequest, tmp_path: Path) -> MergingGround:
    return MERGING[request.param](tmp_path)


def pull_on(ground: Ground, *, head: Oid = A) -> str:
    """Open the pull request of issue 1, or bring it to a new head."""
    ground.push("b", head)
    draft = PullDraft(branch="b", head=head, target="main", issue=ONE, title="First", body="Closes #1")
    return anyio.run(ground.opened().forge.open_pull, draft).id


def stands(ground: Ground, pull: str) -> list[tuple[str, str]]:
    return [(one.stand, one.text) for one in anyio.run(ground.opened().voice.remarks, pull)]


def comments(ground: Ground, issue: IssueId = ONE) -> list[str]:
    """Read the first lines of an issue's comments."""
    return [one.text.partition("\n")[0] for one in anyio.run(ground.opened().voice.comments, issue)]


def verdicts(ground: Ground, commit: Oid = A) -> dict[str, str]:
    found = anyio.run(ground.opened().voice.checks, commit)
    assert len({one.name for one in found}) == len(found)
    return {one.name: one.state for one in found}


# Reviewing


def test_review_is_shown_once_for_a_commit(ground: Ground) -> None:
    pull = pull_on(ground)
    for text in ("Fine.", "Fine.", "Other words."):
        anyio.run(ground.opened().voice.post_review, pull, ReviewNote(commit=A, ok=True, text=text))
    seen = ground.shown(pull)
    assert seen.reviews == 1
    assert seen.text.startswith("Fine.")


def test_next_commit_gets_a_review_of_its_own(ground: Ground) -> None:
    pulls = []
    for head in (A, B):
        pulls.append(pull_on(ground, head=head))
        anyio.run(ground.opened().voice.post_review, pulls[-1], ReviewNote(commit=head, ok=True, text="Fine."))
    assert pulls[0] == pulls[1]
    assert ground.shown(pulls[0]).reviews == 2


def test_findings_stand_on_their_lines_or_in_the_text(ground: Ground) -> None:
    pull = pull_on(ground)
    ground.shows("a.py", 5)
    findings = (
        Finding(severity=Severity.HIGH, file="a.py", line=5, text="off by one"),
        Finding(severity=Severity.LOW, file="b.py", line=0, text="no tests"),
    )
    note = ReviewNote(commit=A, ok=False, text="Not yet.", findings=findings)
    for _ in "12":
        anyio.run(ground.opened().voice.post_review, pull, note)
    seen = ground.shown(pull)
    assert (seen.reviews, seen.lines) == (1, frozenset({("a.py", 5)}))
    assert seen.text.startswith("Not yet.")
    assert "**low** `b.py`: no tests" in seen.text
    assert "off by one" not in seen.text


def test_review_of_ours_is_no_remark_and_no_approval(ground: Ground) -> None:
    pull = pull_on(ground)
    ground.shows("a.py", 5)
    finding = Finding(severity=Severity.HIGH, file="a.py", line=5, text="off by one")
    anyio.run(ground.opened().voice.post_review, pull, ReviewNote(commit=A, ok=True, text="x", findings=(finding,)))
    assert stands(ground, pull) == []


def test_words_of_bots_are_no_remarks(ground: Ground) -> None:
    pull = pull_on(ground)
    ground.says(pull, "Coverage fell.", bot=True)
    ground.says(pull, "Never mind the coverage.")
    assert stands(ground, pull) == [("said", "Never mind the coverage.")]


def test_change_request_stands_until_the_same_person_approves(ground: Ground) -> None:
    pull = pull_on(ground)
    ground.reviews(pull, "changes", "Rename it.")
    assert stands(ground, pull) == [("changes", "Rename it.")]
    ground.reviews(pull, "approved", "")
    assert stands(ground, pull) == [("said", "Rename it."), ("approved", "")]


def test_approval_stands_until_the_same_person_asks_for_changes(ground: Ground) -> None:
    pull = pull_on(ground)
    ground.reviews(pull, "approved", "")
    ground.reviews(pull, "changes", "No, rename it.")
    assert stands(ground, pull) == [("changes", "No, rename it.")]


def test_remarks_tell_who_says_it_and_how_they_stand_to_the_project(ground: Ground) -> None:
    pull = pull_on(ground)
    ground.says(pull, "Why?")
    ground.says(pull, "I see.")
    found = anyio.run(ground.opened().voice.remarks, pull)
    assert [(one.author, one.association, one.text, one.path, one.line) for one in found] == [
        (MARIA, ground.association, "Why?", None, 0),
        (MARIA, ground.association, "I see.", None, 0),
    ]
    assert len({one.id for one in found}) == 2
    assert 0 < found[0].time <= found[1].time


def test_review_tells_the_commit_that_it_looked_at(ground: Ground) -> None:
    pull = pull_on(ground)
    ground.reviews(pull, "approved", "")
    pull_on(ground, head=B)
    [found] = anyio.run(ground.opened().voice.remarks, pull)
    assert (found.stand, found.commit) == ("approved", A if ground.tells_commits else None)


def fate(ground: Ground, pull: str) -> Fate:
    return anyio.run(ground.opened().voice.fate, pull)


def landed(ground: Ground, pull: str, commit: Oid = C) -> None:
    anyio.run(partial(ground.opened().forge.mark_merged, pull, commit=commit))


def test_pull_request_that_nobody_touched_is_open(ground: Ground) -> None:
    assert fate(ground, pull_on(ground)) == Fate(state="open")


def test_landing_that_we_recorded_is_a_merge_and_the_first_one_counts(ground: Ground) -> None:
    pull = pull_on(ground)
    for commit in (C, B):
        landed(ground, pull, commit)
        assert fate(ground, pull) == Fate(state="merged", commit=C)


def test_pull_request_that_a_person_closed_is_closed_until_we_open_it_again(ground: Ground) -> None:
    pull = pull_on(ground)
    ground.says(pull, f"Landed on `main` as {C}.")
    ground.closes(pull)
    assert fate(ground, pull) == Fate(state="closed")
    assert pull_on(ground) == pull
    assert fate(ground, pull) == Fate(state="open")


def test_landing_of_what_a_person_closed_is_a_merge(ground: Ground) -> None:
    pull = pull_on(ground)
    ground.closes(pull)
    landed(ground, pull)
    assert fate(ground, pull) == Fate(state="merged", commit=C)


def test_pull_request_that_a_person_merged_is_merged_as_what_they_made(ground: Ground) -> None:
    pull = pull_on(ground)
    commit = ground.merges_by_hand(pull)
    assert fate(ground, pull) == Fate(state="merged", commit=commit)
    landed(ground, pull)
    assert fate(ground, pull) == Fate(state="merged", commit=commit)


# Checking


def test_verdict_of_ours_is_there_by_name_and_the_last_one_stands(ground: Ground) -> None:
    voice = ground.opened().voice
    states: tuple[CheckState, ...] = ("pending", "failed", "pending", "passed")
    for state in states:
        anyio.run(partial(voice.report_check, A, name="luminaguard", state=state, text=state))
        assert verdicts(ground) == {"luminaguard": state}
    assert verdicts(ground, B) == {}


def test_checks_of_others_are_listed_with_their_newest_state(ground: Ground) -> None:
    told: tuple[tuple[str, CheckState], ...]
    told = (("lint", "passed"), ("test", "pending"), ("test", "failed"), ("docs", "pending"))
    for name, state in told:
        ground.judges(A, name, state)
    anyio.run(partial(ground.opened().voice.report_check, A, name="luminaguard", state="passed", text="all well"))
    assert verdicts(ground) == {"lint": "passed", "test": "failed", "docs": "pending", "luminaguard": "passed"}


def test_branch_that_nothing_protects_may_be_pushed_to(ground: Ground) -> None:
    assert anyio.run(ground.opened().voice.rules, "main") == Rules()


# Commenting and discussing


def test_tell_makes_one_comment_and_edits_it(ground: Ground) -> None:
    for text in ("An agent works on it.", "It is judged.", "It is judged."):
        anyio.run(ground.opened().voice.tell, ONE, text)
    assert comments(ground) == ["It is judged."]
    assert comments(ground, TWO) == []


def test_report_of_one_title_is_one_and_has_an_address(ground: Ground) -> None:
    post = ground.opened().voice.post_report
    first = anyio.run(partial(post, "1 of 3 landed", title="Run 7"))
    again = anyio.run(partial(ground.opened().voice.post_report, "3 of 3 landed", title="Run 7"))
    assert first == again != ""
    anyio.run(partial(post, "0 of 1 landed", title="Run 8"))
    assert comments(ground) == ["## Run 7", "## Run 8"]
    [seven, _] = anyio.run(ground.opened().voice.comments, ONE)
    assert "3 of 3 landed" in seven.text
    assert "1 of 3 landed" not in seven.text


def test_comment_of_one_key_is_made_once(ground: Ground) -> None:
    for text, key in (("Which one?", "question 1"), ("Another text", "question 1"), ("And how?", "question 2")):
        anyio.run(partial(ground.opened().voice.comment, ONE, text, key=key))
    assert comments(ground) == ["Which one?", "And how?"]


def test_words_that_hold_a_mark_of_ours_pass_for_no_other_comment(ground: Ground) -> None:
    voice = ground.opened().voice
    anyio.run(voice.tell, ONE, "It is judged.")
    [status] = anyio.run(voice.comments, ONE)
    ground.says_on("2", status.text)
    anyio.run(partial(voice.comment, TWO, status.text, key="k"))
    anyio.run(voice.tell, TWO, "It waits.")
    assert comments(ground, TWO) == ["It is judged.", "It is judged.", "It waits."]


def test_comments_come_oldest_first_with_their_authors(ground: Ground) -> None:
    voice = ground.opened().voice
    ground.says_on("1", "What about dates?")
    anyio.run(partial(voice.comment, ONE, "All of them?", key="q"))
    ground.says_on("1", "Yes.")
    found = anyio.run(voice.comments, ONE)
    assert [one.text.partition("\n")[0] for one in found] == ["What about dates?", "All of them?", "Yes."]
    assert [one.author == MARIA for one in found] == [True, False, True]
    assert (found[0].association, found[2].association) == (ground.association, ground.association)
    assert len({one.id for one in found}) == 3
    assert found[0].time <= found[2].time


# Writing


def test_issue_is_added_once(written: Ground) -> None:
    issue = Issue(id=IssueId("x-7"), title="Parse dates", body="All of them.", labels=("ready",))
    added = []
    for _ in "12":
        writing = written.opened().writing
        assert writing is not None
        added.append(anyio.run(writing.add, issue))
    backlog = anyio.run(written.opened().forge.backlog)
    [found] = [one for one in backlog.issues if one.title == "Parse dates"]
    assert added == [found.id, found.id]
    assert found.body.startswith("All of them.")
    assert found.labels == ("ready",)


def test_need_is_added_once(written: Ground) -> None:
    added = []
    for title in ("Before", "After"):
        writing = written.opened().writing
        assert writing is not None
        added.append(anyio.run(writing.add, Issue(id=IssueId(title), title=title)))
    for _ in "12":
        writing = written.opened().writing
        assert writing is not None
        anyio.run(writing.add_need, added[1], added[0])
    assert anyio.run(written.opened().forge.issue, added[1]).needs == (added[0],)
    assert anyio.run(written.opened().forge.issue, added[0]).needs == ()


# Merging


def merge(ground: Ground, pull: str, head: Oid) -> Merged | NotMerged:
    driver = ground.opened().merging
    assert driver is not None
    return anyio.run(partial(driver.merge, pull, head=head, style="squash", message="First (#4)\n\nWhy."))


def test_pull_request_whose_head_has_moved_is_not_merged(merging: MergingGround) -> None:
    pull = pull_on(merging)
    outcome = merge(merging, pull, B)
    assert isinstance(outcome, NotMerged)
    assert not outcome.is_waiting
    assert merging.merges() == 0


def test_merge_that_is_asked_for_twice_is_one(merging: MergingGround) -> None:
    pull = pull_on(merging)
    first = merge(merging, pull, A)
    assert isinstance(first, Merged)
    assert merge(merging, pull, A) == first
    assert merging.merges() == 1


def leave(ground: Ground, pull: str) -> None:
    driver = ground.opened().merging
    assert driver is not None
    anyio.run(driver.leave, pull)


def test_what_was_handed_over_is_taken_back_once_and_may_be_handed_over_again(merging: MergingGround) -> None:
    pull = pull_on(merging)
    merging.makes_wait(pull)
    for _ in "12":
        outcome = merge(merging, pull, A)
        assert isinstance(outcome, NotMerged)
        assert outcome.is_waiting
        assert merging.has_handed_over(pull)
        before = merging.changes()
        for _ in "12":
            leave(merging, pull)
            assert not merging.has_handed_over(pull)
        assert merging.changes() == before + 1
    assert merging.merges() == 0
    assert fate(merging, pull) == Fate(state="open")


def test_leaving_where_nothing_was_handed_over_changes_nothing(merging: MergingGround) -> None:
    pull = pull_on(merging)
    before = merging.changes()
    leave(merging, pull)
    merging.closes(pull)
    leave(merging, pull)
    assert merging.changes() == before
    assert fate(merging, pull) == Fate(state="closed")


def test_leaving_what_is_merged_changes_nothing(merging: MergingGround) -> None:
    pull = pull_on(merging)
    assert isinstance(merge(merging, pull, A), Merged)
    before = merging.changes()
    leave(merging, pull)
    assert (merging.changes(), fate(merging, pull).state) == (before, "merged")
