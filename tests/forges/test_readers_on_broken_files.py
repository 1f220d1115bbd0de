"""Whatever stands in a file, a reader gives a backlog or an error that names the file; nothing else comes out."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luminaguard.forges.all import FORMATS
from luminaguard.forges.backlog_md import BacklogMd
from luminaguard.forges.base import BacklogFormat
from luminaguard.forges.beads import Beads
from luminaguard.forges.github_export import GithubExport
from luminaguard.forges.markdown_folder import MarkdownFolder
from luminaguard.forges.taskmaster import Taskmaster
from luminaguard.model.faults import UserFault
from luminaguard.model.issue import Backlog

Keys = dict[str, Any]

PAGE: Keys = {
    "id": "BACK-1",
    "title": "First",
    "status": "To Do",
    "labels": ["a"],
    "dependencies": ["BACK-2"],
    "author": "x",
    "estimate": "2h",
    "files": ["a.py"],
    "parent": "BACK-3",
    "type": "bug",
    "assignee": ["@x"],
    "priority": "high",
}
EDGE: Keys = {"issue_id": "x-1.1", "depends_on_id": "x-1", "type": "parent-child"}
BEAD: Keys = {
    "id": "x-1.1",
    "title": "First",
    "description": "d",
    "status": "open",
    "priority": 1,
    "issue_type": "bug",
    "labels": ["a"],
    "estimated_minutes": 30,
    "acceptance_criteria": "a",
    "design": "d",
    "notes": "n",
    "created_by": "x",
    "dependencies": [EDGE],
}
GITHUB: Keys = {
    "number": 1,
    "title": "First",
    "body": "b",
    "state": "OPEN",
    "labels": [{"name": "bug"}],
    "milestone": {"title": "m"},
    "blockedBy": {"nodes": [{"number": 2}]},
    "blocking": [],
    "parent": {"number": 3},
    "subIssues": [{"number": 4}],
    "issueType": {"name": "Bug"},
    "url": "https://github.com/o/r/issues/1",
    "authorAssociation": "OWNER",
    "author": {"login": "x"},
}
TASK: Keys = {
    "id": 1,
    "title": "First",
    "description": "d",
    "details": "x",
    "testStrategy": "t",
    "status": "pending",
    "priority": "high",
    "dependencies": [2],
    "subtasks": [{"id": 1, "title": "Inner", "dependencies": [2]}],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    source: BacklogFormat
    name: str
    keys: Keys
    write: Callable[[Any], bytes]

    def read(self, content: bytes) -> Backlog | UserFault:
        """Read one file in a folder of its own."""
        with tempfile.TemporaryDirectory() as made:
            file = Path(made) / self.name
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
            Path(made, "config.yml").write_text("statuses: [To Do, Done]\n")
            try:
                return self.source.read(Path(made) if self.name.endswith(".md") else file)
            except UserFault as fault:
                return fault

    def check(self, content: bytes) -> None:
        result = self.read(content)
        if isinstance(result, UserFault):
            assert Path(self.name).name in result.message
            assert result.hint
        else:
            assert all(issue.title and issue.origin for issue in result.issues)


def page_bytes(keys: Keys) -> bytes:
    lines = "".join(f"{json.dumps(key)}: {json.dumps(value)}\n" for key, value in keys.items())
    return f"---\n{lines}---\n\n# Heading\n\nBody\n".encode()


def bead_bytes(keys: Any) -> bytes:
    return f"{json.dumps(BEAD | {'id': 'x-1'})}\n{json.dumps(keys)}\n".encode()


def github_bytes(keys: Any) -> bytes:
    return json.dumps([GITHUB | {"number": 9}, keys], indent=2).encode()


def task_bytes(keys: Any) -> bytes:
    return json.dumps({"master": {"tasks": [TASK | {"id": 9}, keys], "metadata": {}}}, indent=2).encode()


CASES = {
    "markdown": Case(source=MarkdownFolder(), name="1-first.md", keys=PAGE, write=page_bytes),
    "backlog.md": Case(source=BacklogMd(), name="tasks/back-1 - First.md", keys=PAGE, write=page_bytes),
    "beads": Case(source=Beads(), name="issues.jsonl", keys=BEAD, write=bead_bytes),
    "github export": Case(source=GithubExport(), name="issues.json", keys=GITHUB, write=github_bytes),
    "taskmaster": Case(source=Taskmaster(), name="tasks.json", keys=TASK, write=task_bytes),
}
PATCHES = [b"---\n", b"*a", b"&a ", b"!!int ", b"\r\n", b"[", b"{", b'"', b"\xff", b"\0"]
quick = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


def test_every_format_has_its_case() -> None:
    assert {source.name for source in FORMATS} == set(CASES)


@pytest.fixture(params=CASES, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def test_valid_file_is_read(case: Case) -> None:
    assert isinstance(case.read(case.write(case.keys)), Backlog)


@quick
@given(content=st.binary(max_size=300))
def test_random_bytes(case: Case, content: bytes) -> None:
    case.check(content)


@quick
@given(data=st.data())
def test_valid_file_that_was_cut_or_changed(case: Case, data: st.DataObject) -> None:
    content = case.write(case.keys)
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 20)))
    patch = data.draw(st.binary(max_size=6) | st.sampled_from(PATCHES))
    case.check(content[:start] + patch + content[end:])
    case.check(content[:start])


@quick
@given(data=st.data())
def test_any_value_in_any_field(case: Case, data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(case.keys)))
    case.check(case.write(case.keys | {key: data.draw(anything)}))


@quick
@given(value=anything)
def test_any_value_in_place_of_an_entry(case: Case, value: object) -> None:
    case.check(b"---\n" + json.dumps(value).encode() + b"\n---\n" if case.name.endswith(".md") else case.write(value))
