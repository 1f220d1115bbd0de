import json
from pathlib import Path

import pytest

from luminaguard.forges.all import format_of
from luminaguard.forges.base import BacklogFormat
from luminaguard.forges.beads import Beads
from luminaguard.forges.github_export import GithubExport
from luminaguard.forges.taskmaster import Taskmaster
from luminaguard.model.faults import UserFault
from luminaguard.model.issue import Backlog, Kind


def beads(folder: Path, *lines: object) -> Backlog:
    file = folder / "issues.jsonl"
    file.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return Beads().read(file)


def github(folder: Path, *issues: dict[str, object]) -> Backlog:
    file = folder / "issues.json"
    file.write_text(json.dumps([{"title": "t", **issue} for issue in issues], indent=2))
    return GithubExport().read(file)


def tasks(folder: Path, value: object) -> Backlog:
    file = folder / "tasks.json"
    file.write_text(json.dumps(value, indent=2))
    return Taskmaster().read(file)


def edge(one: str, other: str, kind: str) -> dict[str, str]:
    return {"issue_id": one, "depends_on_id": other, "type": kind}


def test_beads_edges_order_work_or_tell_the_parent_or_stay_in_extra(tmp_path: Path) -> None:
    edges = [
        edge("x-1", f"x-{n}", kind)
        for n, kind in enumerate(("blocks", "blocked-by", "parent-child", "related"), start=2)
    ]
    (issue,) = beads(tmp_path, {"id": "x-1", "title": "t", "dependencies": edges}).issues
    assert issue.needs == ("x-2", "x-3")
    assert issue.parent == "x-4"
    assert issue.extra == {"dependencies": [edges[3]]}


def test_beads_dotted_id_is_a_child_where_its_parent_is_there(tmp_path: Path) -> None:
    issues = beads(tmp_path, *({"id": one, "title": "t"} for one in ("x-1", "x-1.2", "y-1.2", "x-1.2.3"))).issues
    assert [issue.parent for issue in issues] == [None, "x-1", None, "x-1.2"]


def test_beads_tombstones_are_gone_with_what_waited_for_them(tmp_path: Path) -> None:
    dead = {"id": "x-2", "status": "tombstone"}
    backlog = beads(tmp_path, {"id": "x-1", "title": "t", "dependencies": [edge("x-1", "x-2", "blocks")]}, dead)
    assert [(issue.id, issue.needs) for issue in backlog.issues] == [("x-1", ())]


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("open", "open"),
        ("in_progress", "open"),
        ("hooked", "open"),
        ("deferred", "open"),
        ("pinned", "open"),
        ("closed", "closed"),
    ],
)
def test_beads_states(tmp_path: Path, status: str, state: str) -> None:
    backlog = beads(tmp_path, {"id": "x-1", "title": "t", "status": status})
    assert [issue.state.value for issue in backlog.issues] == [state]
    assert backlog.notices == ()


def test_beads_long_texts_are_put_under_headings(tmp_path: Path) -> None:
    raw = {"id": "x-1", "title": "t", "description": "D", "acceptance_criteria": "A", "design": "E", "notes": "N"}
    (issue,) = beads(tmp_path, {**raw, "estimated_minutes": 90, "priority": 0, "issue_type": "feature"}).issues
    assert issue.body == "D\n\n## Acceptance Criteria\n\nA\n\n## Design\n\nE\n\n## Notes\n\nN"
    assert (issue.estimate_s, issue.priority, issue.kind) == (5400.0, 0, Kind.IMPLEMENTATION)


def test_beads_line_that_is_broken_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserFault, match=r"issues\.jsonl:3: is not JSON"):
        beads(tmp_path, {"id": "x-1", "title": "t"}, "", '{"id": "x-2", ')


def test_beads_origin_is_the_line(tmp_path: Path) -> None:
    issues = beads(tmp_path, {"id": "x-1", "title": "t"}, "", {"id": "x-2", "title": "t"}).issues
    assert [issue.origin and issue.origin.line for issue in issues] == [1, 3]


def test_beads_duplicate_names_both_lines(tmp_path: Path) -> None:
    with pytest.raises(UserFault, match=r"issues\.jsonl:2: the id 'x-1' is also that of .*issues\.jsonl:1"):
        beads(tmp_path, {"id": "x-1", "title": "t"}, {"id": "x-1", "title": "u"})


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"id": "a", "priority": NaN}', "NaN"),
        ('{"id": "a", "x": 1e999}', "too large"),
        ('{"id": "a", "x": ' + "9" * 5000 + "}", "too large"),
        ('{"id": "a", "title": "\\ud800"}', "surrogate"),
        ('{"id": "a", "title": "\\u0000"}', "NUL"),
        ('{"id": "a", "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested"),
        ('{"id": "a", "x": ' + "[" * 100 + "]" * 100 + "}", "nested deeper"),
        ('{"id": "a", "id": "b"}', "twice"),
        ("[]", "wanted a JSON object"),
        ('{"title": "a"}', "id: wanted"),
        ('{"id": ["a"]}', "id: wanted"),
        ('{"id": "a", "dependencies": [5]}', "dependencies: wanted"),
        ('{"id": "a", "labels": {"a": 1}}', "labels: wanted"),
    ],
)
def test_beads_value_that_cannot_be_taken_is_told(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(UserFault, match=what) as caught:
        beads(tmp_path, text)
    assert "issues.jsonl:1: " in caught.value.message


def test_beads_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / ".beads").mkdir()
    (tmp_path / ".beads" / "beads.jsonl").write_text('{"id": "x-1", "title": "t"}\n')
    for path in (tmp_path, tmp_path / ".beads"):
        assert len(format_of(path).read(path).issues) == 1


def test_github_fields(tmp_path: Path) -> None:
    raw: dict[str, object] = {
        "number": 7,
        "title": "T",
        "body": None,
        "state": "CLOSED",
        "stateReason": "COMPLETED",
        "labels": [{"name": "bug", "color": "f00"}],
        "author": {"login": "ann", "name": "Ann A.", "is_bot": False},
        "authorAssociation": "MEMBER",
        "milestone": {"title": "1.0", "number": 1},
        "issueType": {"name": "Bug"},
        "blocking": {"nodes": [{"number": 9}], "totalCount": 1},
        "parent": {"number": 3, "title": "p"},
        "url": "https://github.com/o/r/issues/7",
        "assignees": [{"login": "bob"}],
    }
    (issue,) = github(tmp_path, raw).issues
    assert (issue.id, issue.body, issue.state.value, issue.labels, issue.author) == ("7", "", "closed", ("bug",), "ann")
    assert (issue.association, issue.milestone, issue.kind) == ("member", "1.0", Kind.BUG)
    assert (issue.blocks, issue.parent, issue.url) == (("9",), "3", raw["url"])
    assert issue.extra == {"stateReason": "COMPLETED", "assignees": [{"login": "bob"}]}


def test_github_blockers_count_while_open_and_are_named_with_their_repository_where_that_is_another(
    tmp_path: Path,
) -> None:
    def node(number: int, repository: str, state: str) -> dict[str, object]:
        return {"number": number, "state": state, "repository": {"nameWithOwner": repository}}

    nodes = [node(1, "o/r", "OPEN"), node(2, "o/else", "OPEN"), node(3, "o/else", "CLOSED"), node(4, "o/r", "CLOSED")]
    (issue,) = github(
        tmp_path, {"number": 7, "url": "https://github.com/o/r/issues/7", "blockedBy": {"nodes": nodes}}
    ).issues
    assert issue.needs == ("1", "o/else#2")


def test_github_sub_issues_get_their_parent(tmp_path: Path) -> None:
    issues = github(tmp_path, {"number": 1, "subIssues": {"nodes": [{"number": 2}]}}, {"number": 2}).issues
    assert [issue.parent for issue in issues] == [None, "1"]


def test_github_origin_is_the_line_of_the_object(tmp_path: Path) -> None:
    issues = github(tmp_path, {"number": 1}, {"number": 2}).issues
    assert [issue.origin and issue.origin.line for issue in issues] == [2, 6]


def test_taskmaster_subtasks_are_issues_of_their_own(tmp_path: Path) -> None:
    inner = [{"id": 1, "title": "a"}, {"id": 2, "title": "b", "dependencies": [1, "2.1", "2"]}]
    issues = tasks(
        tmp_path,
        {
            "master": {
                "tasks": [
                    {"id": 2, "title": "x", "status": "cancelled", "details": "D", "testStrategy": "S"},
                    {
                        "id": 3,
                        "title": "y",
                        "status": "in-progress",
                        "dependencies": [2],
                        "subtasks": inner,
                        "priority": "low",
                    },
                ]
            }
        },
    ).issues
    assert [(one.id, one.parent, one.needs, one.state.value) for one in issues] == [
        ("2", None, (), "closed"),
        ("3", None, ("2",), "open"),
        ("3.1", "3", (), "open"),
        ("3.2", "3", ("3.1", "2.1", "3.2"), "open"),
    ]
    assert issues[0].body == "## Details\n\nD\n\n## Test Strategy\n\nS"
    assert issues[1].priority == 3


def test_taskmaster_old_form_and_single_tag_are_read(tmp_path: Path) -> None:
    one = {"tasks": [{"id": 1, "title": "x"}]}
    assert [issue.id for issue in tasks(tmp_path, one).issues] == ["1"]
    assert [issue.id for issue in tasks(tmp_path, {"dev": one}).issues] == ["1"]
    assert [issue.id for issue in tasks(tmp_path, {"dev": {"tasks": []}, "master": one}).issues] == ["1"]


def test_taskmaster_several_tags_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserFault, match="has the tags dev, next"):
        tasks(tmp_path, {"dev": {"tasks": []}, "next": {"tasks": []}})


def test_nothing_at_the_path_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserFault, match=r"there is no backlog at .*nowhere"):
        format_of(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["x.txt", "x.json", "other things", "x\0y"])
def test_what_is_no_backlog_is_told_with_what_was_tried(tmp_path: Path, name: str) -> None:
    if name == "other things":
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.py").touch()
    elif "\0" not in name:
        (tmp_path / name).write_bytes(b"\x00\xff")
    with pytest.raises(UserFault, match=r"no backlog|tried: backlog\.md, beads, github export, taskmaster, markdown"):
        format_of(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "text", "source"),
    [
        ("a.json", " [", GithubExport),
        ("a.json", "\ufeff{", Taskmaster),
        ("a.jsonl", '{"id":"x"}', Beads),
        ("b.jsonl", "", Beads),
    ],
)
def test_format_is_told_by_the_first_bytes(tmp_path: Path, name: str, text: str, source: type[BacklogFormat]) -> None:
    (tmp_path / name).write_text(text)
    assert isinstance(format_of(tmp_path / name), source)
