"""A whole run as a GitHub App: our driver and git, real HTTP, and tokens that are over before the run is."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from app_front import APP_ID, AppFront, key_in, served
from face_ground import Ground, Running, git
from run_ground import luminaguard, set_up

from luminaguard.forges.face.tokens import Holder, Rights
from luminaguard.forges.github.auth import AppKey
from luminaguard.forges.github.forge import GitHub
from luminaguard.forges.github.line import Call, Line
from luminaguard.forges.github.repository import repository_named
from luminaguard.forges.once import Unsent
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Oid

pytestmark = pytest.mark.timeout(900)  # whole runs of the command

ACCOUNT = "luminaguard[bot]"
PUSH = "POST /ann/demo.git/git-receive-pack"
ISSUES = ("152", "154", "155")
AGENT = """
import os, pathlib, subprocess, sys, time
issue, shared = os.environ["LUMINAGUARD_ISSUE"], pathlib.Path({shared!r})
settings = subprocess.run(["git", "config", "--list"], text=True, capture_output=True).stdout
environment = "\\n".join(f"{{name}}={{value}}" for name, value in os.environ.items())
(shared / f"seen_{{issue}}").write_text(f"{{environment}}\\n{{settings}}")
until = time.monotonic() + 600
while issue != "155" and not all((shared / f"seen_{{one}}").exists() for one in ("152", "154")):
    if time.monotonic() > until:
        sys.exit("the other one was not at work at the same time")
    time.sleep(0.01)
if issue == "155" and not pathlib.Path("made_154.txt").exists():
    sys.exit("154 had not landed")
pathlib.Path(f"made_{{issue}}.txt").write_text("done by an agent\\n")
"""


@pytest.fixture
def key(tmp_path: Path) -> Path:
    (tmp_path / "keys").mkdir()
    return tmp_path / "keys/app.pem"


@pytest.fixture
def front(ground: Ground, key: Path) -> AppFront:
    account = Holder(login=ACCOUNT, rights=Rights.FULL)
    return AppFront(face=ground.app, inside=ground.tokens.make(account), public=key_in(key))


@pytest.fixture
def running(front: AppFront, ground: Ground) -> Iterator[Running]:
    """The front at work; nobody who asks it has a token of a person's."""
    with served(front) as url:
        yield Running(folder=ground.folder, env={}, url=url, token="")


@pytest.fixture
def clone(running: Running, key: Path, tmp_path: Path) -> Path:
    """A person's clone, whose settings name the App."""
    made = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(running.folder), str(made))
    git(made, "remote", "set-url", "origin", f"{running.url}/ann/demo.git")
    for name, value in (("user.name", "Ann"), ("user.email", "ann@example.org")):
        git(made, "config", name, value)
    (tmp_path / "seen").mkdir()
    (tmp_path / "agent.py").write_text(AGENT.format(shared=str(tmp_path / "seen")))
    (made / ".git/info/exclude").write_text("luminaguard.toml\n")
    set_up(made, running, backlog=f'app_id = "{APP_ID}"\napp_key = "{key}"')
    return made


@pytest.mark.parametrize("by", ["push", "forge"])
def test_issues_land_in_parallel_and_in_order_are_closed_and_nothing_secret_stays_behind(
    ground: Ground, front: AppFront, running: Running, clone: Path, key: Path, by: str
) -> None:
    for issue in ISSUES:
        ground.store.add(f"Part {issue}", id=issue)
    ground.store.add_need("155", "154")
    with (clone / "luminaguard.toml").open("a") as settings:
        settings.write(f'\n[landing]\nby = "{by}"\n')
    ran = luminaguard(clone, running, "run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = luminaguard(clone, running, "report", "--json").stdout
    assert json.loads(told)["verified"] == {"commits_on_target": True, "trees_tested": True, "issues_closed": True}
    all_has_landed(ground)
    only_the_app_was_there(front, ground, pushes={"push": 6, "forge": 3}[by])
    all_verdicts_are_check_runs_of_the_app(ground)
    shown = luminaguard(clone, running, "report").stdout
    nothing_secret_is_in(front, ground, clone, key, printed=ran.stdout + ran.stderr + told + shown)


def all_has_landed(ground: Ground) -> None:
    assert {issue.id: issue.state.value for issue in ground.store.issues()} == dict.fromkeys(ISSUES, "closed")
    subjects = git(ground.folder, "log", "--first-parent", "--format=%s", "main").stdout
    assert sorted(re.findall(r"\(#(\d+)\)$", subjects, re.MULTILINE)) == list(ISSUES)
    assert subjects.index("(#155)") < subjects.index("(#154)")  # newest first


def only_the_app_was_there(front: AppFront, ground: Ground, *, pushes: int) -> None:
    """Look that the key bought all tokens, git's for one repository alone, and that many were over in mid-run."""
    assert front.strange == []
    pushed = [grant for grant in front.grants.values() for one in grant.shown if one == PUSH]
    assert len(pushed) >= pushes
    assert all(grant.wanted == {"repositories": ["demo"]} for grant in pushed)
    assert len(front.over) > 1
    assert not any("git-" in where or "/info/refs" in where for where in front.over)
    assert {pull.author for pull in ground.site.snapshots.now().pulls.values()} == {ACCOUNT}


def all_verdicts_are_check_runs_of_the_app(ground: Ground) -> None:
    """Look that each was found again and brought up to date, as the comment was."""
    commits = [Oid(one) for one in git(ground.folder, "rev-list", "--all").stdout.split()]
    verdicts = [run for commit in commits for run in ground.site.verdicts.runs(commit, every=True)]
    assert [(run.name, run.said["conclusion"]) for run in verdicts] == [("luminaguard", "success")] * len(ISSUES)
    assert len({run.head for run in verdicts}) == len(ISSUES)
    assert not any(ground.site.verdicts.statuses(commit) for commit in commits)
    for issue in ISSUES:
        said = [one for one in ground.store.comments(issue) if "It landed as" in one.text]
        assert [one.author for one in said] == [ACCOUNT]


def nothing_secret_is_in(front: AppFront, ground: Ground, clone: Path, key: Path, *, printed: str) -> None:
    words = [f"x-access-token:{token}" for token in front.grants]
    secret = {*front.grants, *front.signed, front.inside, ground.full, *key.read_text().splitlines()[1:-1]}
    secret |= {base64.b64encode(one.encode()).decode() for one in words}
    files = [path for top in (clone, clone.parent / "seen") for path in top.rglob("*") if path.is_file()]
    places = {path: path.read_bytes() for path in files}
    assert clone / ".git/config" in places
    assert clone / ".git/luminaguard/journal.db" in places
    assert {path.name for path in places} >= {f"seen_{issue}" for issue in ISSUES}
    places[Path("printed")] = printed.encode()
    found = [(path, one) for path, content in places.items() for one in secret if one.encode() in content]
    assert found == []


def driver(front: AppFront, key: Path) -> GitHub:
    transport, app = httpx.ASGITransport(app=front), AppKey(app_id=APP_ID, key_path=key)
    return GitHub(repository_named("ann/demo"), app, transport=transport, sleep=at_once)


async def at_once(_seconds: float) -> None:
    """Wait for nothing."""


def test_a_call_whose_token_is_over_is_made_once_more_with_a_new_one(
    ground: Ground, front: AppFront, key: Path
) -> None:
    ground.store.add("First")
    front.uses = 1
    forge = driver(front, key)

    async def several() -> list[str]:
        return [(await forge.issue(IssueId("1"))).title for _ in range(3)]

    assert anyio.run(several) == ["First"] * 3
    assert len(front.over) > 0
    assert len(front.grants) == len(front.over) + 1


def test_a_forge_that_takes_no_token_at_all_is_asked_twice_and_no_more(
    ground: Ground, front: AppFront, key: Path
) -> None:
    ground.store.add("First")
    front.uses = 0
    with pytest.raises(UserFault, match="refuses our token"):
        anyio.run(driver(front, key).issue, IssueId("1"))
    assert len(front.over) == 2


def test_a_limit_on_tokens_is_waited_out(ground: Ground, front: AppFront, key: Path) -> None:
    ground.store.add("First")
    front.is_limited = iter([True, True])
    assert anyio.run(driver(front, key).issue, IssueId("1")).title == "First"
    assert len(front.grants) == 1


class Losing(httpx.ASGITransport):
    """Loses the answer to who wants a token."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await super().handle_async_request(request)
        if request.url.path.endswith("/access_tokens"):
            raise httpx.ReadTimeout("no answer", request=request)
        return answer


def test_a_call_whose_token_was_lost_was_not_sent_and_says_so(front: AppFront, key: Path) -> None:
    app = AppKey(app_id=APP_ID, key_path=key)
    line = Line(repository_named("ann/demo"), app, transport=Losing(app=front))
    with pytest.raises(Unsent, match="access_tokens"):
        anyio.run(line.send, Call(method="POST", url="repos/ann/demo/issues", body={"title": "First"}))
    assert [grant.shown for grant in front.grants.values()] == [[]]
