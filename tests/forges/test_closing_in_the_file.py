"""Closing in a file changes the status of one issue and nothing else: read, close, read again."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luminaguard.forges.all import FORMATS, format_of
from luminaguard.forges.base import SourceFile
from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Issue, IssueState

quick = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
extras = st.dictionaries(words.map(lambda text: f"x-{text}"), values, max_size=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    number: int
    title: str
    status: str | None
    extra: dict[str, object]


asked = st.lists(
    st.builds(
        Asked, number=st.integers(1, 30), title=words, status=st.sampled_from(["open", "done", None]), extra=extras
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda one: one.number,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    newline: str
    indent: int | None
    ascii: bool


styles = st.builds(
    Style, newline=st.sampled_from(["\n", "\r\n"]), indent=st.sampled_from([None, 0, 2, 4]), ascii=st.booleans()
)


def keyed(one: Asked, *, id_key: str, status_key: str) -> dict[str, object]:
    status = {} if one.status is None else {status_key: one.status}
    return {id_key: one.number, "title": one.title, **one.extra, **status}


def dumped(value: object, style: Style) -> str:
    return json.dumps(value, indent=style.indent, ensure_ascii=style.ascii).replace("\n", style.newline)


def page(one: Asked, style: Style) -> bytes:
    # What JSON escapes is escaped so in YAML too, but for surrogate pairs; YAML wants more escaped than that.
    def quoted(value: object) -> str:
        text = json.dumps(value, ensure_ascii=False)
        return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in text)

    lines = [f"{quoted(key)}: {quoted(value)}" for key, value in keyed(one, id_key="id", status_key="status").items()]
    return style.newline.join(["---", *lines, "---", "", "body", ""]).encode()


def markdown(issues: list[Asked], style: Style) -> dict[str, bytes]:
    return {f"{one.number}-x.md": page(one, style) for one in issues}


def backlog_md(issues: list[Asked], style: Style) -> dict[str, bytes]:
    pages = {f"tasks/back-{one.number} - x.md": page(one, style) for one in issues}
    return {"config.yml": b"statuses: [To Do, Over]\n", **pages}


def beads(issues: list[Asked], style: Style) -> dict[str, bytes]:
    lines = [dumped(keyed(one, id_key="id", status_key="status"), replace(style, indent=None)) for one in issues]
    return {"issues.jsonl": style.newline.join(lines).encode()}


def github(issues: list[Asked], style: Style) -> dict[str, bytes]:
    return {"issues.json": dumped([keyed(one, id_key="number", status_key="state") for one in issues], style).encode()}


def taskmaster(issues: list[Asked], style: Style) -> dict[str, bytes]:
    tasks = [keyed(one, id_key="id", status_key="status") for one in issues]
    inner = {"id": 77, "title": "task", "subtasks": tasks}
    return {"tasks.json": dumped({"master": {"tasks": [*tasks, inner]}}, style).encode()}


WRITERS: dict[str, Callable[[list[Asked], Style], dict[str, bytes]]] = {
    "markdown": markdown,
    "backlog.md": backlog_md,
    "beads": beads,
    "github export": github,
    "taskmaster": taskmaster,
}


def put(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def sources(files: dict[str, bytes]) -> list[SourceFile]:
    return [SourceFile(path=name, content=content) for name, content in files.items()]


def path_of(folder: Path, files: dict[str, bytes]) -> Path:
    name = next(iter(files))
    return folder / name if name.endswith((".json", ".jsonl")) else folder


def without_place(issues: tuple[Issue, ...]) -> dict[IssueId, Issue]:
    return {issue.id: replace(issue, origin=None) for issue in issues}


def test_every_format_has_its_writer() -> None:
    assert {source.name for source in FORMATS} == set(WRITERS)


@pytest.mark.parametrize("case", WRITERS)
@quick
@given(issues=asked, style=styles, data=st.data())
def test_closing_one_leaves_all_else(case: str, issues: list[Asked], style: Style, data: st.DataObject) -> None:
    files = WRITERS[case](issues, style)
    with tempfile.TemporaryDirectory() as made:
        put(Path(made), files)
        path = path_of(Path(made), files)
        source = format_of(path)
        assert source.name == case
        before = without_place(source.read(path).issues)
        chosen = data.draw(st.sampled_from(sorted(before)))
        edits = source.close(sources(files), chosen)
        assert len(edits) == (before[chosen].state is IssueState.OPEN)
        files |= {edit.path: edit.content for edit in edits}
        put(Path(made), files)
        after = without_place(source.read(path).issues)
        assert after == {**before, chosen: replace(before[chosen], state=IssueState.CLOSED)}
        assert source.close(sources(files), chosen) == ()


@pytest.mark.parametrize("case", WRITERS)
def test_only_the_status_changes_in_the_text(case: str) -> None:
    issues = [
        Asked(number=number, title="é", status="open", extra={"x-z": [1, {"a": "ü"}], "x-a": None}) for number in (1, 2)
    ]
    files = WRITERS[case](issues, Style(newline="\r\n", indent=4, ascii=False))
    source = next(one for one in FORMATS if one.name == case)
    (edit,) = source.close(sources(files), IssueId("2"))
    old, new = files[edit.path].split(b"\r\n"), edit.content.split(b"\r\n")
    different = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    assert len(different) == 1
    before, after = different[0]
    word = b"Over" if case == "backlog.md" else b"done" if case == "taskmaster" else b"closed"
    assert before.replace(b'"open"', b"#").replace(b"open", b"#") == after.replace(b'"' + word + b'"', b"#").replace(
        word, b"#"
    )


@pytest.mark.parametrize("case", WRITERS)
def test_unknown_issue_changes_no_file(case: str) -> None:
    files = WRITERS[case](
        [Asked(number=1, title="a", status="open", extra={})], Style(newline="\n", indent=2, ascii=True)
    )
    source = next(one for one in FORMATS if one.name == case)
    assert source.close(sources(files), IssueId("2")) == ()
