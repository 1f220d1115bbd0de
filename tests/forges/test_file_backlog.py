import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import pytest

from luminaguard.forges.all import format_of
from luminaguard.forges.file_backlog import FileBacklog
from luminaguard.forges.local import LocalTracker
from luminaguard.forges.store import TrackerStore
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Backlog, Issue

ONE = IssueId("1")


class Repository:
    """A repository with one JSON lines file as its backlog."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "issues.jsonl"
        self.store = TrackerStore(root / ".git" / "luminaguard" / "tracker.db")

    def says(self, *issues: dict[str, object]) -> None:
        self.file.write_text("".join(f"{json.dumps({'title': 't', **issue})}\n" for issue in issues))

    def forge(self, path: Path | None = None) -> FileBacklog:
        where = path or self.file
        return FileBacklog(where, source=format_of(where), root=self.root, tracker=LocalTracker(self.store))

    def backlog(self, path: Path | None = None) -> Backlog:
        return anyio.run(self.forge(path).backlog)

    def states(self) -> dict[str, str]:
        return {issue.id: issue.state.value for issue in self.backlog().issues}

    def close(self, issue: IssueId, forge: FileBacklog | None = None) -> None:
        anyio.run(partial((forge or self.forge()).close, issue, comment="landed"))


def at(commit: dict[str, bytes]) -> Callable[[str], bytes | None]:
    def read(path: str) -> bytes | None:
        return commit.get(path)

    return read


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path)
    made.says({"id": "1", "description": "a\n- [ ] box"}, {"id": "2"})
    return made


def test_closed_by_us_stays_closed_although_the_file_says_open(repository: Repository) -> None:
    repository.close(ONE)
    repository.says({"id": "3"}, {"id": "1", "description": "a\n- [ ] box"}, {"id": "2"})
    assert repository.states() == {"3": "open", "1": "closed", "2": "open"}


def test_text_that_changed_after_we_closed_it_opens_it_again_and_tells(repository: Repository) -> None:
    repository.close(ONE)
    repository.says({"id": "1", "description": "more"}, {"id": "2"})
    backlog = repository.backlog()
    assert [issue.state.value for issue in backlog.issues] == ["open", "open"]
    assert backlog.issues[0].body == "more"
    assert ["open again" in notice.text for notice in backlog.notices] == [True]
    assert repository.store.events("1")[-1].what == "reopened"
    assert repository.backlog().notices == ()


def test_boxes_ticked_and_dates_changed_after_closing_do_not_open_it_again(repository: Repository) -> None:
    repository.close(ONE)
    repository.says({"id": "1", "description": "a\n- [x] box", "updated_at": "later"}, {"id": "2"})
    assert repository.states()["1"] == "closed"


def test_text_that_the_landing_itself_changed_does_not_open_it_again(repository: Repository) -> None:
    forge = repository.forge()
    anyio.run(forge.backlog)
    repository.says({"id": "1", "description": "a, and notes of the agent"}, {"id": "2"})
    repository.close(ONE, forge)
    assert repository.states()["1"] == "closed"


def test_file_that_is_broken_does_not_hinder_the_closing(repository: Repository) -> None:
    forge = repository.forge()
    anyio.run(forge.backlog)
    repository.file.write_text("{broken")
    repository.close(ONE, forge)
    assert repository.store.show("1").state.value == "closed"


def test_state_that_changed_in_the_file_wins(repository: Repository) -> None:
    repository.backlog()
    repository.says({"id": "1", "status": "closed"}, {"id": "2"})
    assert repository.states()["1"] == "closed"
    repository.says({"id": "1", "status": "open"}, {"id": "2"})
    assert repository.states()["1"] == "open"


def test_opened_again_by_hand_stays_open_although_the_file_says_closed(repository: Repository) -> None:
    repository.says({"id": "1", "status": "closed"})
    repository.backlog()
    repository.store.reopen("1")
    assert repository.states()["1"] == "open"


def test_edit_by_hand_stays_until_the_file_says_something_else(repository: Repository) -> None:
    repository.backlog()
    repository.store.edit("1", priority=0)
    repository.says({"id": "2"}, {"id": "1", "description": "a\n- [ ] box"})
    assert repository.backlog().issues[1].priority == 0
    repository.says({"id": "1", "description": "a\n- [ ] box", "priority": 3})
    assert repository.backlog().issues[0].priority == 3


def test_issue_that_vanished_is_left_and_told_while_open(repository: Repository) -> None:
    repository.backlog()
    repository.close(IssueId("2"))
    repository.says({"id": "3"})
    backlog = repository.backlog()
    assert sorted(issue.id for issue in backlog.issues) == ["1", "2", "3"]
    assert [(notice.issue, "no longer in" in notice.text) for notice in backlog.notices] == [("1", True)]


def test_unknown_keys_survive_the_tracker(repository: Repository) -> None:
    extra = {"x": [1, {"y": None}], "z": "é"}
    repository.says({"id": "1", **extra})
    repository.backlog()
    assert anyio.run(repository.forge().issue, ONE).extra == extra


def test_issues_of_another_source_are_not_mixed_in(repository: Repository) -> None:
    repository.backlog()
    repository.store.add("by hand")
    other = repository.root / "other.jsonl"
    other.write_text('{"id": "9", "title": "t"}\n')
    assert [issue.id for issue in repository.backlog(other).issues] == ["9"]
    assert [issue.id for issue in repository.backlog().issues] == ["1", "2"]


def test_file_that_was_renamed_keeps_what_was_closed(repository: Repository) -> None:
    repository.close(ONE)
    moved = repository.file.rename(repository.root / "moved.jsonl")
    backlog = repository.backlog(moved)
    assert [issue.state.value for issue in backlog.issues] == ["closed", "open"]
    assert all("now read from moved.jsonl" in notice.text for notice in backlog.notices)


def other_file(repository: Repository, *issues: dict[str, object]) -> Path:
    path = repository.root / "other.jsonl"
    path.write_text("".join(f"{json.dumps(issue)}\n" for issue in issues))
    return path


def everything(repository: Repository) -> tuple[Issue, ...]:
    return repository.store.issues()


def test_an_issue_that_was_added_here_is_never_overwritten_by_a_file(repository: Repository) -> None:
    repository.store.add("Local one", body="precious text")
    before = everything(repository)
    with pytest.raises(UserFault, match=r"issues\.jsonl .* #1 't' \('Local one' there, added here\)") as refused:
        repository.forge().check_kept()
    assert everything(repository) == before
    assert [event.what for event in repository.store.events()] == ["added"]
    assert "luminaguard issues import issues.jsonl" in refused.value.hint
    assert "other ids in issues.jsonl" in refused.value.hint


@pytest.mark.parametrize("status", ["open", "closed"])
def test_an_issue_that_was_added_here_and_closed_keeps_its_text(repository: Repository, status: str) -> None:
    repository.store.add("Local one", body="precious text")
    repository.store.close("1")
    repository.says({"id": "1", "status": status})
    with pytest.raises(UserFault, match="Local one"):
        repository.forge().check_kept()
    assert (repository.store.show("1").body, repository.store.show("1").state.value) == ("precious text", "closed")


def test_an_issue_that_was_added_here_is_another_one_where_its_text_is_another(repository: Repository) -> None:
    repository.store.add("t", body="precious text")
    with pytest.raises(UserFault, match="#1"):
        repository.forge().check_kept()
    assert repository.store.show("1").body == "precious text"


def test_what_was_exported_is_the_same_issue_and_keeps_what_the_file_does_not_say(repository: Repository) -> None:
    made = repository.store.add("t", body="a\n- [ ] box", priority=0, estimate_s=60.0, labels=("mine",))
    repository.says(
        {"id": "1", "description": "a\n- [ ] box\n", "labels": ["theirs"], "dependencies": [{"depends_on_id": "2"}]}
    )
    (issue,) = repository.backlog().issues
    said = (issue.priority, issue.estimate_s, issue.labels, issue.needs)
    assert said == (made.priority, made.estimate_s, ("mine",), ("2",))
    assert repository.backlog().notices == ()
    repository.says({"id": "1", "description": "the file has the word from now on"})
    assert repository.backlog().issues[0].body == "the file has the word from now on"


def test_what_was_exported_and_closed_here_is_not_opened_by_the_file(repository: Repository) -> None:
    repository.store.add("t", body="a\n- [ ] box")
    repository.store.close("1")
    assert repository.states()["1"] == "closed"


def test_an_issue_of_another_file_is_never_overwritten(repository: Repository) -> None:
    repository.backlog()
    before = everything(repository)
    path = other_file(repository, {"id": "2", "title": "Another", "status": "closed"}, {"id": "3", "title": "New"})
    with pytest.raises(UserFault, match=r"other\.jsonl .* #2 'Another' \('t' there, read from issues\.jsonl\)"):
        repository.forge(path).check_kept()
    assert everything(repository) == before


def test_many_issues_under_ids_that_are_taken_are_counted(repository: Repository) -> None:
    issues: list[dict[str, object]] = [{"id": str(number), "title": "t"} for number in range(1, 10)]
    repository.says(*issues)
    repository.backlog()
    path = other_file(repository, *(issue | {"title": "Another"} for issue in issues))
    with pytest.raises(UserFault, match=r"#1 .*#2 .*#3 .*, and 6 more$"):
        repository.forge(path).check_kept()


def test_a_folder_that_was_moved_brings_its_issues_along_with_their_new_text(tmp_path: Path) -> None:
    (tmp_path / "issues").mkdir()
    (tmp_path / "issues" / "1.md").write_text("# First\n\nText.\n")
    repository = Repository(tmp_path)
    repository.backlog(tmp_path / "issues")
    (tmp_path / "docs").mkdir()
    (tmp_path / "issues").rename(tmp_path / "docs" / "issues")
    (tmp_path / "docs" / "issues" / "1.md").write_text("# First\n\nMore text.\n")
    (issue,) = repository.backlog(tmp_path / "docs" / "issues").issues
    assert (issue.body.strip(), issue.origin and issue.origin.path) == (
        "More text.",
        str(tmp_path / "docs" / "issues" / "1.md"),
    )


def test_a_file_by_another_path_is_the_same_file(repository: Repository) -> None:
    repository.backlog()
    repository.says({"id": "1", "title": "Renamed in the file"})
    (repository.root / "sub").mkdir()
    assert repository.backlog(repository.root / "sub" / ".." / "issues.jsonl").issues[0].title == "Renamed in the file"


@pytest.mark.parametrize("kept_by", [None, ".gitkeep"])
def test_an_empty_folder_is_an_empty_backlog(tmp_path: Path, kept_by: str | None) -> None:
    folder = tmp_path / "issues"
    folder.mkdir()
    if kept_by:
        (folder / kept_by).touch()
    forge = Repository(tmp_path).forge(folder)
    assert anyio.run(forge.backlog) == Backlog(issues=())
    assert forge.missing() is None


def test_a_folder_of_other_things_is_no_backlog(tmp_path: Path) -> None:
    (tmp_path / "src" / "deep").mkdir(parents=True)
    with pytest.raises(UserFault, match="not a backlog that can be read"):
        format_of(tmp_path / "src")


def test_closing_edits_change_the_line_at_the_commit_that_lands(repository: Repository) -> None:
    forge = repository.forge()
    anyio.run(forge.backlog)
    assert forge.source_paths() == ("issues.jsonl",)
    landing = {"issues.jsonl": b'{"id": "1", "title": "t", "status": "open", "x": 1}\n{"id": "5", "title": "u"}\n'}
    (edit,) = forge.closing_edits(at(landing), ONE)
    assert (edit.path, edit.content) == ("issues.jsonl", landing["issues.jsonl"].replace(b'"open"', b'"closed"'))
    assert forge.closing_edits(at({edit.path: edit.content}), ONE) == ()
    assert forge.closing_edits(at({}), ONE) == ()


def test_closing_edits_of_a_folder_read_the_issues_own_page_first(tmp_path: Path) -> None:
    folder = tmp_path / "backlog"
    (folder / "tasks").mkdir(parents=True)
    (folder / "config.yml").write_text("statuses: [Open, Over]\n")
    for number in range(1, 9):
        text = f"---\nid: BACK-{number}\ntitle: t\nstatus: Open\n---\n"
        (folder / "tasks" / f"back-{number}.md").write_text(text)
    repository = Repository(tmp_path)
    forge = repository.forge(folder)
    anyio.run(forge.backlog)
    asked: list[str] = []

    def read(path: str) -> bytes:
        asked.append(path)
        return (tmp_path / path).read_bytes()

    (edit,) = forge.closing_edits(read, IssueId("BACK-7"))
    assert edit.content.decode() == "---\nid: BACK-7\ntitle: t\nstatus: Over\n---\n"
    assert (
        set(asked) == {"backlog/config.yml", "backlog/tasks/back-7.md"} == set(forge.closing_paths(IssueId("BACK-7")))
    )


def test_closing_edits_find_a_page_that_the_landing_moved(tmp_path: Path) -> None:
    folder = tmp_path / "issues"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"{number}.md").write_text(f"---\nid: {number}\nstatus: open\n---\n")
    forge = Repository(tmp_path).forge(folder)
    anyio.run(forge.backlog)
    (edit,) = forge.closing_edits(at({"issues/2.md": b"---\nid: 1\nstatus: open\n---\n"}), ONE)
    assert (edit.path, edit.content) == ("issues/2.md", b"---\nid: 1\nstatus: closed\n---\n")


def test_source_outside_of_the_repository_is_read_but_not_written_back(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "out.jsonl").write_text('{"id": "1", "title": "t"}\n')
    forge = Repository(tmp_path / "root").forge(tmp_path / "out.jsonl")
    assert len(anyio.run(forge.backlog).issues) == 1
    with pytest.raises(UserFault, match="not inside the repository"):
        forge.source_paths()


def test_backlog_that_went_away_is_missing(repository: Repository) -> None:
    forge = repository.forge()
    repository.file.unlink()
    assert "no longer a backlog" in (forge.missing() or "")
