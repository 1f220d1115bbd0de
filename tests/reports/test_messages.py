import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Kind
from luminaguard.model.work import FileChange
from luminaguard.reports.messages import landing_message, pull_body

CLOSES = re.compile(r"(?i)\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?)\s*:?\s+(?:[\w./-]*#\w|GH-\d|https?://)")


def subject(kind: Kind, title: str) -> str:
    return landing_message(kind=kind, issue=IssueId("154"), title=title, body="").splitlines()[0]


@pytest.mark.parametrize(
    ("kind", "prefix"),
    [
        (Kind.RESEARCH, "docs"),
        (Kind.DOCS, "docs"),
        (Kind.DESIGN, "feat"),
        (Kind.IMPLEMENTATION, "feat"),
        (Kind.BUG, "fix"),
        (Kind.TEST, "test"),
        (Kind.CHORE, "chore"),
    ],
)
def test_subject_begins_with_what_the_kind_is_called(kind: Kind, prefix: str) -> None:
    assert subject(kind, "VM layer") == f"{prefix}: VM layer (#154)"


@pytest.mark.parametrize("title", ["fix(vm): stop", "feat!: stop", "docs: stop", "Chore: stop"])
def test_prefix_in_the_title_is_not_doubled(title: str) -> None:
    assert subject(Kind.DESIGN, title) == f"{title} (#154)"


def test_number_in_the_title_is_not_doubled() -> None:
    assert subject(Kind.DESIGN, "VM layer (#154)") == "feat: VM layer (#154)"


def test_message_closes_its_issue_by_the_trackers_spelling() -> None:
    message = landing_message(kind=Kind.BUG, issue=IssueId("BACK-3"), title="T", body="Why\nand how")
    assert message == "fix: T (#BACK-3)\n\nWhy\nand how\n\nCloses #BACK-3\n"


def test_message_closes_nothing_where_the_tracker_is_told_otherwise() -> None:
    message = landing_message(kind=Kind.BUG, issue=IssueId("3"), title="T", body="", closes=False)
    assert message == "fix: T (#3)\n"


@pytest.mark.parametrize(
    "text", ["Closes #9", "fixes: owner/repo#9", "Resolved\n#9", "close GH-9", "FIXED https://example.org/o/r/issues/9"]
)
def test_words_of_others_close_no_issue(text: str) -> None:
    message = landing_message(kind=Kind.BUG, issue=IssueId("3"), title=text, body=text)
    assert [found.group() for found in CLOSES.finditer(message)] == ["Closes #3"]


def test_words_that_only_look_like_closing_stay() -> None:
    assert subject(Kind.BUG, "Fixes UTF-8 in paths") == "fix: Fixes UTF-8 in paths (#154)"


@given(st.sampled_from(list(Kind)), st.text(max_size=300), st.text(max_size=300))
def test_any_text_gives_a_message_that_git_and_a_terminal_can_take(kind: Kind, title: str, body: str) -> None:
    message = landing_message(kind=kind, issue=IssueId("154"), title=title, body=body)
    first = message.splitlines()[0]
    assert len(first) <= 100
    assert first.endswith("(#154)")
    assert message.endswith("\n\nCloses #154\n")
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in message if char != "\n")
    message.encode()


def test_pull_request_tells_files_and_checks() -> None:
    body = pull_body(
        issue=IssueId("154"),
        text="The layer. Fixes #9",
        files=(FileChange(path="src/vm.rs", added=41, removed=0),),
        checks=("make test",),
    )
    assert "- `src/vm.rs` +41 -0\n" in body
    assert "- `make test`\n" in body
    assert body.endswith("\n\nCloses #154\n")
    assert "Fixes #9" not in body


def test_pull_request_says_what_it_needs_and_how_it_was_checked() -> None:
    files = tuple(FileChange(path=f"{number}.py", added=1, removed=0) for number in range(102))
    body = pull_body(
        issue=IssueId("155"),
        text="The backend",
        files=files,
        checks=("make test",),
        verdict="all 1 checks passed",
        needs=(IssueId("152"), IssueId("154")),
    )
    assert "and 2 more" in body
    assert "all 1 checks passed" in body
    assert body.endswith("\n\nDepends on #152\nDepends on #154\n\nCloses #155\n")
