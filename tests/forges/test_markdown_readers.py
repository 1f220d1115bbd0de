import os
from pathlib import Path

import pytest

from luminaguard.forges.all import format_of
from luminaguard.forges.backlog_md import BacklogMd
from luminaguard.forges.markdown_folder import MarkdownFolder
from luminaguard.forges.reading import MAX_BYTES
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Issue, IssueState, Kind, Origin


def put(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def only(folder: Path, text: str, *, name: str = "1.md") -> Issue:
    (issue,) = MarkdownFolder().read(put(folder, {name: text})).issues
    return issue


def failure(folder: Path, text: str) -> UserFault:
    with pytest.raises(UserFault) as caught:
        MarkdownFolder().read(put(folder, {"a.md": text}))
    return caught.value


def test_every_field_is_read(tmp_path: Path) -> None:
    text = """---
id: 154
Title: 'A parser: small'
status: In Progress
tags: [rust, "parser"]
type: bug
depends-on: [152, '#153']
blocks: 160
parent: 100
priority: P1
estimate: 1h 30m
files:
  - src/a.py
assignee: ann
ordinal: 1.5
custom: {deep: [1, null, true, no]}
---

Body.
"""
    assert only(tmp_path, text, name="any.md") == Issue(
        id=IssueId("154"),
        title="A parser: small",
        body="Body.",
        state=IssueState.OPEN,
        labels=("rust", "parser"),
        kind=Kind.BUG,
        needs=(IssueId("152"), IssueId("153")),
        blocks=(IssueId("160"),),
        parent=IssueId("100"),
        priority=1,
        estimate_s=5400.0,
        touches=("src/a.py",),
        origin=Origin(path=str(tmp_path / "any.md")),
        extra={"assignee": "ann", "ordinal": 1.5, "custom": {"deep": [1, None, True, "no"]}},
    )


@pytest.mark.parametrize(
    "key", ["depends_on", "dependencies", "blocked_by", "deps", "needs", "blockedBy", "Depends On"]
)
def test_every_word_for_needs_is_known(tmp_path: Path, key: str) -> None:
    assert only(tmp_path, f"---\n{key}: [2, '3']\n---\n").needs == ("2", "3")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("154.md", "154"),
        ("0007-parser.md", "7"),
        ("BACK-12 - Some thing.md", "BACK-12"),
        ("back-12.3 - x.md", "back-12.3"),
        ("2024-05-01-notes.md", "2024-05-01-notes"),
        ("a parser.md", "a-parser"),
        ("12th-try.md", "12th-try"),
    ],
)
def test_id_comes_from_the_name(tmp_path: Path, name: str, expected: str) -> None:
    assert only(tmp_path, "# T\n", name=name).id == expected


def test_id_is_kept_as_it_is_written(tmp_path: Path) -> None:
    assert only(tmp_path, "---\nid: 12.10\n---\n").id == "12.10"


def test_title_comes_from_the_first_heading_that_is_no_code(tmp_path: Path) -> None:
    issue = only(tmp_path, "intro\n\n```\n# not me\n```\n\n# The title ##\n\nrest\n")
    assert issue.title == "The title"
    assert issue.body == "intro\n\n```\n# not me\n```\n\n\nrest"


def test_title_falls_back_on_the_name(tmp_path: Path) -> None:
    assert only(tmp_path, "text", name="add-a_parser.md").title == "add a parser"


def test_title_is_one_line_without_control_characters(tmp_path: Path) -> None:
    assert only(tmp_path, '---\ntitle: "a\\nb\\e[31mc"\n---\n').title == "a b[31mc"


def test_reference_finds_its_issue_whatever_its_case_and_zeros(tmp_path: Path) -> None:
    put(tmp_path, {"007-a.md": "# A", "ABC-1.md": "# B", "9.md": "---\nneeds: [007, abc-01, 8]\n---\n"})
    issues = {issue.id: issue for issue in MarkdownFolder().read(tmp_path).issues}
    assert issues[IssueId("9")].needs == ("7", "ABC-1", "8")


def test_files_are_read_in_the_order_in_which_people_count(tmp_path: Path) -> None:
    put(
        tmp_path,
        {"10.md": "# c", "9.md": "# b", "1.md": "# a", "sub/2.md": "# d", ".git/3.md": "# no", "README.md": "# no"},
    )
    assert [issue.id for issue in MarkdownFolder().read(tmp_path).issues] == ["1", "9", "10", "2"]


def test_unknown_words_are_told_and_do_no_harm(tmp_path: Path) -> None:
    put(tmp_path, {"1.md": "---\nstatus: flying\npriority: soonish\nestimate: long\n---\n"})
    backlog = MarkdownFolder().read(tmp_path)
    assert [(notice.issue, notice.text.split(": ", 1)[1]) for notice in backlog.notices] == [
        ("1", "status 'flying' counts as open"),
        ("1", "priority 'soonish' is no priority (0 to 4, P0 to P4, high, medium, low)"),
        ("1", 'estimate \'long\' is no duration ("2h", "30m", or minutes)'),
    ]
    assert backlog.issues[0].priority is None


def test_number_that_yaml_takes_for_a_comment_is_told(tmp_path: Path) -> None:
    put(tmp_path, {"1.md": "---\ntitle: x\ndepends_on: #43\n---\n"})
    (notice,) = MarkdownFolder().read(tmp_path).notices
    assert f"{tmp_path / '1.md'}:3: YAML takes 'depends_on: #43' for a comment" in notice.text


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("---\ntitle: a\nneeds: [1\n---\n", 4, "is not YAML"),
        ("---\ntitle: a\n", 1, "never ends"),
        ("---\n- a\n---\n", 2, "got a list"),
        ("---\na: &x [1]\nb: *x\n---\n", 3, "alias"),
        ("---\ntitle: !!python/name:os.system x\n---\n", 2, "tag"),
        ("---\na: 1\n\nid: 2\nid: 3\n---\n", 5, "twice"),
        (f"---\na: {'[' * 40}{']' * 40}\n---\n", 2, "nested deeper"),
        ("---\ntitle: [a]\n---\n", 1, "title: wanted a text"),
        ("---\nneeds: {a: 1}\n---\n", 1, "needs: wanted a list"),
        ("---\nneeds: [[1]]\n---\n", 1, "needs: wanted a list"),
        ("---\nid: a b\n---\n", 1, "id: wanted an issue's id, got 'a b'"),
        ("one\ntwo\0\n", 2, "NUL"),
    ],
)
def test_broken_page_is_told_with_its_line(tmp_path: Path, text: str, line: int, what: str) -> None:
    fault = failure(tmp_path, text)
    assert fault.message.startswith(f"{tmp_path / 'a.md'}:{line}: ")
    assert what in fault.message
    assert fault.hint


def test_nest_of_aliases_is_refused_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert "alias" in failure(tmp_path, "---\n" + "\n".join(lines) + "\n---\n").message


def test_latin_1_is_told_with_line_and_byte(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"# A\n\ncaf\xe9\n")
    with pytest.raises(UserFault, match=r"a\.md:3: byte 0xe9 is not UTF-8"):
        MarkdownFolder().read(tmp_path)


def test_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"x" * (MAX_BYTES + 1))
    with pytest.raises(UserFault, match="larger than 8 MiB"):
        MarkdownFolder().read(tmp_path)


def test_fifo_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.md")
    with pytest.raises(UserFault, match="not a regular file"):
        MarkdownFolder().read(tmp_path)


def test_link_that_leads_out_is_not_read_and_told(tmp_path: Path) -> None:
    put(tmp_path, {"secret.md": "# Secret", "issues/1.md": "# One", "issues/2.md": "# Two"})
    (tmp_path / "issues" / "3.md").symlink_to(tmp_path / "secret.md")
    (tmp_path / "issues" / "4-two.md").symlink_to("2.md")
    backlog = MarkdownFolder().read(tmp_path / "issues")
    assert [issue.title for issue in backlog.issues] == ["One", "Two", "Two"]
    assert ["leads out" in notice.text for notice in backlog.notices] == [True]


def test_two_pages_with_one_id_name_both(tmp_path: Path) -> None:
    put(tmp_path, {"1.md": "# a", "b.md": "---\nid: '1'\n---\n"})
    with pytest.raises(UserFault, match=r"b\.md:1: the id '1' is also that of .*1\.md:1"):
        MarkdownFolder().read(tmp_path)


SECOND = "dependencies: [task-1, TASK-9]\nparent_task_id: task-1\n"
CONFIG = 'project_name: x\nstatuses: ["To Do", "Doing", "Shipped!"]\n'


def task(number: str, status: str, more: str = "") -> str:
    return f"---\nid: {number}\ntitle: T {number}\nstatus: {status}\nreporter: @ann\n{more}---\n\n## Goal\n\nText.\n"


@pytest.fixture
def backlog_md(tmp_path: Path) -> Path:
    return put(
        tmp_path,
        {
            "backlog/config.yml": CONFIG,
            "backlog/tasks/readme.md": "# Tasks",
            "backlog/tasks/back-2 - b.md": task("BACK-2", "Doing", SECOND),
            "backlog/tasks/back-2.1 - c.md": task("BACK-2.1", "To Do", "priority: high\n"),
            "backlog/completed/back-1 - a.md": task("BACK-1", "Shipped!"),
            "backlog/drafts/draft-1 - d.md": task("DRAFT-1", "To Do"),
            "backlog/archive/tasks/back-1 - old.md": task("BACK-1", "To Do"),
        },
    )


def test_backlog_md_reads_tasks_and_completed_only(backlog_md: Path) -> None:
    for path in (backlog_md, backlog_md / "backlog"):
        source = format_of(path)
        assert isinstance(source, BacklogMd)
        assert [(one.id, one.state.value) for one in source.read(path).issues] == [
            ("BACK-2", "open"),
            ("BACK-2.1", "open"),
            ("BACK-1", "closed"),
        ]


def test_backlog_md_references_are_found_under_an_old_prefix(backlog_md: Path) -> None:
    second, child, _ = BacklogMd().read(backlog_md).issues
    assert second.needs == ("BACK-1", "TASK-9")
    assert second.parent == "BACK-1"
    assert child.parent == "BACK-2"


def test_backlog_md_takes_names_that_begin_with_at(backlog_md: Path) -> None:
    assert {issue.author for issue in BacklogMd().read(backlog_md).issues} == {"@ann"}


def test_backlog_md_ids_differ_by_more_than_case(backlog_md: Path) -> None:
    put(backlog_md, {"backlog/tasks/other.md": task("back-1", "To Do")})
    with pytest.raises(UserFault, match="is also that of"):
        BacklogMd().read(backlog_md)


def test_backlog_md_configuration_that_is_broken_is_told(backlog_md: Path) -> None:
    put(backlog_md, {"backlog/config.yml": "a: 1\nstatuses: 5\n"})
    with pytest.raises(UserFault, match=r"config\.yml:1: statuses: wanted a list of texts"):
        BacklogMd().read(backlog_md)
