"""What every forge must do, whatever stands behind it."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import pytest
from github_driver import driver_on
from github_server import Server
from lab_drivers import Lab, filled, gitea_lab, gitlab_lab

from luminaguard.forges.all import FORMATS, format_of
from luminaguard.forges.base import Forge, Pull, PullDraft
from luminaguard.forges.file_backlog import FileBacklog
from luminaguard.forges.local import LocalTracker
from luminaguard.forges.store import TrackerStore
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import IssueState

A, B = Oid("a" * 40), Oid("b" * 40)

FILES: dict[str, tuple[str, dict[str, str]]] = {
    "markdown": (
        "issues",
        {
            "issues/1.md": "# First\n\nDo it.\n",
            "issues/2.md": "---\ntitle: Second\ndepends_on: [1]\n---\nThen this.\n",
            "issues/3.md": "---\ntitle: Third\nstatus: done\n---\n",
        },
    ),
    "backlog.md": (
        "backlog",
        {
            "backlog/config.yml": "statuses: [To Do, Done]\n",
            "backlog/tasks/back-1.md": "---\nid: 1\ntitle: First\nstatus: To Do\n---\nDo it.\n",
            "backlog/tasks/back-2.md": "---\nid: 2\ntitle: Second\nstatus: To Do\ndependencies: [1]\n---\n",
            "backlog/completed/back-3.md": "---\nid: 3\ntitle: Third\nstatus: Done\n---\n",
        },
    ),
    "beads": (
        ".beads",
        {
            ".beads/issues.jsonl": '{"id":"1","title":"First","description":"Do it.","status":"open"}\n'
            '{"id":"2","title":"Second","status":"open",'
            '"dependencies":[{"issue_id":"2","depends_on_id":"1","type":"blocks"}]}\n'
            '{"id":"3","title":"Third","status":"closed"}\n'
        },
    ),
    "github export": (
        "issues.json",
        {
            "issues.json": '[{"number":1,"title":"First","body":"Do it.","state":"OPEN"},\n'
            '{"number":2,"title":"Second","state":"OPEN","blockedBy":[{"number":1}]},\n'
            '{"number":3,"title":"Third","state":"CLOSED"}]\n'
        },
    ),
    "taskmaster": (
        "tasks.json",
        {
            "tasks.json": '{"tasks":[{"id":1,"title":"First","description":"Do it.","status":"pending"},\n'
            '{"id":2,"title":"Second","status":"pending","dependencies":[1]},\n'
            '{"id":3,"title":"Third","status":"done"}]}\n'
        },
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Where a forge lives: issue 1 is open, 2 is open and waits for 1, 3 is closed. `opened` comes back to it.

    `push` brings a branch there; `comments` gives an issue's, and `merged` what each pull request landed as, by number.
    `database` is the local tracker's file, which threads and processes may share.
    """

    opened: Callable[[], Forge]
    push: Callable[[str, str], object]
    comments: Callable[[str], list[str]]
    merged: Callable[[], list[str | None]]
    database: Path | None = None


def stored(database: Path, opened: Callable[[], Forge]) -> Ground:
    """A ground whose truth is in the local tracker's file."""
    return Ground(
        opened=opened,
        push=lambda branch, head: None,
        comments=lambda issue: [one.text for one in TrackerStore(database).comments(issue)],
        merged=lambda: [one.merged for one in TrackerStore(database).pulls()],
        database=database,
    )


def local_ground(root: Path) -> Ground:
    store = TrackerStore(root / ".git" / "luminaguard" / "tracker.db")
    store.add("First", body="Do it.")
    store.add("Second", needs=(IssueId("1"),))
    store.add("Third")
    store.close("3")
    return stored(store.path, lambda: LocalTracker(TrackerStore(store.path)))


def file_ground(root: Path, name: str) -> Ground:
    where, files = FILES[name]
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    database = root / ".git" / "luminaguard" / "tracker.db"
    source = format_of(root / where)
    assert source.name == name

    def opened() -> Forge:
        return FileBacklog(root / where, source=source, root=root, tracker=LocalTracker(TrackerStore(database)))

    return stored(database, opened)


def github_ground(_: Path) -> Ground:
    server = Server()
    server.add_issue("First", body="Do it.")
    server.add_issue("Second")
    server.add_issue("Third", state="closed")
    server.blocked[2] = [1]

    def landed(number: int) -> str | None:
        said = [one.partition("\n")[0].rstrip(".").split()[-1] for one in server.comments_on(number) if "Landed" in one]
        return said[0] if said else None

    return Ground(
        opened=lambda: driver_on(server),
        push=lambda branch, head: server.branches.update({branch: head}),
        comments=lambda issue: [one.partition("\n")[0] for one in server.comments_on(int(issue))],
        merged=lambda: [landed(one["number"]) for one in server.pulls()],
    )


def lab_ground(_: Path, made: Callable[[], Lab]) -> Ground:
    lab = filled(made())
    return Ground(
        opened=lab.opened,
        push=lab.server.push,
        comments=lambda issue: [one.partition("\n")[0] for one in lab.comments(int(issue))],
        merged=lab.landed,
    )


STORED: dict[str, Callable[[Path], Ground]] = {
    "local": local_ground,
    **{name: partial(file_ground, name=name) for name in FILES},
}
GROUNDS: dict[str, Callable[[Path], Ground]] = {
    **STORED,
    "github": github_ground,
    "gitlab": partial(lab_ground, made=gitlab_lab),
    "gitea": partial(lab_ground, made=gitea_lab),
}


@pytest.fixture(params=GROUNDS)
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    return GROUNDS[request.param](tmp_path)


@pytest.fixture(params=STORED)
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    """A ground that threads and processes may share; elsewhere there is one orchestrator for a repository."""
    return STORED[request.param](tmp_path)


def pull_of(ground: Ground, wanted: PullDraft) -> Pull:
    """Push the branch, then ask for its pull request, as the engine does."""
    ground.push(wanted.branch, wanted.head)
    return anyio.run(ground.opened().open_pull, wanted)


def draft(branch: str = "feature/issue-1", *, head: Oid = A, title: str = "First") -> PullDraft:
    return PullDraft(branch=branch, head=head, target="main", issue=IssueId("1"), title=title, body="Closes #1")


def closed(forge: Forge, issue: str, comment: str = "landed") -> None:
    anyio.run(partial(forge.close, IssueId(issue), comment=comment))


def state(forge: Forge, issue: str) -> IssueState:
    return anyio.run(forge.issue, IssueId(issue)).state


def test_every_format_is_here() -> None:
    assert {source.name for source in FORMATS} == set(FILES)


def test_nothing_is_missing(ground: Ground) -> None:
    assert ground.opened().missing() is None


def test_backlog_tells_all_issues_in_the_order_of_the_source(ground: Ground) -> None:
    backlog = anyio.run(ground.opened().backlog)
    assert [(issue.id, issue.title, issue.state.value) for issue in backlog.issues] == [
        ("1", "First", "open"),
        ("2", "Second", "open"),
        ("3", "Third", "closed"),
    ]
    assert backlog.issues[0].body == "Do it."
    assert backlog.issues[1].needs == ("1",)
    assert backlog.notices == ()


def test_one_issue_is_read_without_reading_the_backlog_first(ground: Ground) -> None:
    issue = anyio.run(ground.opened().issue, IssueId("2"))
    assert (issue.title, issue.needs) == ("Second", ("1",))


def test_unknown_issue_is_the_users_fault(ground: Ground) -> None:
    forge = ground.opened()
    with pytest.raises(UserFault, match="99"):
        anyio.run(forge.issue, IssueId("99"))
    with pytest.raises(UserFault, match="99"):
        closed(forge, "99")


def test_unknown_pull_is_the_users_fault(ground: Ground) -> None:
    with pytest.raises(UserFault, match="77"):
        anyio.run(partial(ground.opened().mark_merged, "77", commit=A))


def test_closing_is_seen_by_reading_again_and_by_who_opens_it_again(ground: Ground) -> None:
    forge = ground.opened()
    closed(forge, "1")
    assert state(forge, "1") is IssueState.CLOSED
    again = ground.opened()
    assert [issue.state.value for issue in anyio.run(again.backlog).issues] == ["closed", "open", "closed"]
    assert state(again, "1") is IssueState.CLOSED


def test_closing_twice_leaves_one_comment(ground: Ground) -> None:
    closed(ground.opened(), "1", "landed as aaa")
    closed(ground.opened(), "1", "landed as aaa")
    assert ground.comments("1") == ["landed as aaa"]


def test_pull_of_a_branch_is_made_once_and_brought_up_to_the_draft(ground: Ground) -> None:
    first = pull_of(ground, draft())
    second = pull_of(ground, draft(head=B, title="First, again"))
    assert second.id == first.id
    assert second.title == "First, again"
    assert len(ground.merged()) == 1


def test_pulls_of_two_branches_are_two(ground: Ground) -> None:
    first, second = (pull_of(ground, draft(branch)) for branch in ("a", "b"))
    assert first.id != second.id
    assert {first.id, second.id}.isdisjoint({"1", "2", "3"})


def test_merged_once_stays_merged_as_that_commit(ground: Ground) -> None:
    pull = pull_of(ground, draft())
    for commit in (A, A, B):
        anyio.run(partial(ground.opened().mark_merged, pull.id, commit=commit))
    assert ground.merged() == [A]


def test_pull_asked_for_again_after_its_merge_is_the_same(ground: Ground) -> None:
    pull = pull_of(ground, draft())
    anyio.run(partial(ground.opened().mark_merged, pull.id, commit=B))
    again = pull_of(ground, draft())
    assert (again.id, again.merged) == (pull.id, B)


def test_branch_that_goes_on_after_its_merge_gets_a_new_pull(ground: Ground) -> None:
    pull = pull_of(ground, draft())
    anyio.run(partial(ground.opened().mark_merged, pull.id, commit=B))
    assert pull_of(ground, draft(head=B)).id != pull.id


def test_threads_at_once_make_one_pull_and_one_comment(shared: Ground) -> None:
    def whole_way(_: int) -> Pull:
        forge = shared.opened()
        pull = anyio.run(forge.open_pull, draft())
        anyio.run(partial(forge.mark_merged, pull.id, commit=A))
        closed(forge, "1")
        return pull

    with ThreadPoolExecutor(4) as pool:
        pulls = list(pool.map(whole_way, range(8)))
    assert len({pull.id for pull in pulls}) == len(shared.merged()) == 1
    assert len(shared.comments("1")) == 1


WORKER = """
import sys
from pathlib import Path
from luminaguard.forges.base import PullDraft
from luminaguard.forges.store import TrackerStore
store = TrackerStore(Path(sys.argv[1]))
sys.stdin.readline()
for number in range(5):
    draft = PullDraft(branch=f"b{number}", head="a" * 40, target="main", issue="1", title="t", body="b")
    store.mark_merged(store.open_pull(draft).id, commit="c" * 40)
    store.add(f"from {sys.argv[2]}")
    store.close("2", comment="done")
"""


def test_processes_at_once_share_one_sequence_of_numbers(shared: Ground) -> None:
    assert shared.database is not None
    anyio.run(shared.opened().backlog)
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, shared.database, str(number)], stdin=subprocess.PIPE)
        for number in range(3)
    ]
    for worker in workers:
        assert worker.stdin
        worker.stdin.write(b"go\n")
        worker.stdin.close()
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0, 0]
    store = TrackerStore(shared.database)
    numbers = [issue.id for issue in store.issues()] + [pull.id for pull in store.pulls()]
    assert sorted(map(int, numbers)) == list(range(1, 3 + 15 + 5 + 1))
    assert len(store.comments("2")) == 1
