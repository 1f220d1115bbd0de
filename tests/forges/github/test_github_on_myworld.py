"""The driver on a second GitHub that somebody else wrote, over HTTP.

It closes issues by keyword, runs checks and guards branches. It takes no pushes, edits no comments, has no
dependencies, and merges whatever `sha` it is sent: that a wrong head is refused here is the driver's own look before.
"""

import base64
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from github_contracts import myworld_needed

from luminaguard.forges.base import Merged, NotMerged, PullDraft, ReviewNote
from luminaguard.forges.github.auth import Token
from luminaguard.forges.github.forge import GitHub
from luminaguard.forges.github.repository import repository_named
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import Issue, IssueState

FULL = "octo/demo"
WORLD = """
name: demo
task: none
servers:
  github:
    seed:
      viewer: octo
      users: [{login: octo, name: Octo}, {login: ann, name: Ann}]
      repos:
        - name: octo/demo
          files: {README.md: "demo"}
          labels: [ready]
          issues: [{title: First, body: Do it., labels: [ready], author: ann}]
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[httpx.Client]:
    """Start it; its client speaks as the token of the one agent that it knows."""
    program = myworld_needed()
    (tmp_path / "world.yaml").write_text(WORLD)
    argv = (program, "serve", "--host", "127.0.0.1", "--port", "0", "--env", str(tmp_path / "world.yaml"))
    env = {"HOME": str(tmp_path), "PATH": os.defpath}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env) as server:
        try:
            assert server.stdout is not None
            said = iter(server.stdout.readline, "")
            heard = (re.search(r"Uvicorn running on (http://127\.0\.0\.1:\d+)", line) for line in said)
            at = next(found[1] for found in heard if found)
            token = httpx.get(f"{at}/envs/demo", timeout=240).json()["credentials"]["agent"]["github_token"]
            with httpx.Client(
                base_url=f"{at}/gw/api.github.com/", headers={"Authorization": f"Bearer {token}"}, timeout=240
            ) as client:
                yield client
        finally:
            server.terminate()


def driver(world: httpx.Client) -> GitHub:
    token = world.headers["Authorization"].partition(" ")[2]
    return GitHub(repository_named(FULL, base_url=str(world.base_url)), Token(text=token, source="test"))


def commit_on(world: httpx.Client, branch: str) -> Oid:
    """Make a branch with a commit, as a push would."""
    base = world.get(f"repos/{FULL}/git/ref/heads/main").json()["object"]["sha"]
    world.post(f"repos/{FULL}/git/refs", json={"ref": f"refs/heads/{branch}", "sha": base}).raise_for_status()
    content = base64.b64encode(b"new\n").decode()
    body = {"message": "Add new.txt", "content": content, "branch": branch}
    put = world.put(f"repos/{FULL}/contents/new.txt", json=body).raise_for_status()
    return Oid(put.json()["commit"]["sha"])


async def way(world: httpx.Client, head: Oid) -> None:
    forge = driver(world)
    async with forge.open():
        first = IssueId("1")
        second = await forge.add(Issue(id=IssueId("x-2"), title="Second"))
        assert await driver(world).add(Issue(id=IssueId("x-2"), title="Second")) == second
        with pytest.raises(UserFault, match="no dependencies"):
            await forge.add_need(second, first)
        found = (await forge.backlog()).issues
        assert [(one.title, one.labels, one.author) for one in found] == [
            ("First", ("ready",), "ann"),
            ("Second", (), "octo"),
        ]
        for _ in range(2):
            await driver(world).tell(first, "working")
        draft = PullDraft(branch="lg/1", head=head, target="main", issue=first, title="P", body=f"Closes #{first}")
        pull = await forge.open_pull(draft)
        assert (await driver(world).open_pull(draft)).id == pull.id
        for state in ("pending", "passed"):
            await forge.report_check(head, name="luminaguard", state=state, text=f"{state}")
        assert [(one.name, one.state) for one in await forge.checks(head)] == [("luminaguard", "passed")]
        for _ in range(2):
            await driver(world).post_review(pull.id, ReviewNote(commit=head, ok=True, text="Fine."))
        wrong = await forge.merge(pull.id, head=Oid("0" * 40), style="squash", message="P")
        assert isinstance(wrong, NotMerged)
        outcome = await forge.merge(pull.id, head=head, style="squash", message="P (#3)\n\nCloses #1")
        assert isinstance(outcome, Merged)
        assert await driver(world).merge(pull.id, head=head, style="squash", message="P (#3)") == outcome
        await forge.mark_merged(pull.id, commit=outcome.commit)
        for issue in (first, second, first, second):
            await driver(world).close(issue, comment="Landed.")
        assert [(await forge.issue(one)).state for one in (first, second)] == [IssueState.CLOSED] * 2


def test_issue_goes_all_the_way_on_a_second_server_of_others(world: httpx.Client) -> None:
    anyio.run(way, world, commit_on(world, "lg/1"))
    said = [
        [one["body"].partition("\n")[0] for one in world.get(f"repos/{FULL}/issues/{number}/comments").json()]
        for number in (1, 2)
    ]
    assert said == [["working"], ["Landed."]]
    assert len(world.get(f"repos/{FULL}/pulls", params={"state": "all"}).json()) == 1
    assert len(world.get(f"repos/{FULL}/pulls/3/reviews").json()) == 1
    head = world.get(f"repos/{FULL}/git/ref/heads/main").json()["object"]["sha"]
    assert head == world.get(f"repos/{FULL}/pulls/3").json()["merge_commit_sha"]


def test_keyword_closes_the_issue_there_and_the_driver_says_nothing_more(world: httpx.Client) -> None:
    head = commit_on(world, "lg/1")

    async def merged() -> None:
        forge = driver(world)
        draft = PullDraft(
            branch="lg/1", head=head, target="main", issue=IssueId("1"), title="P", body="Closes #1", labels=("ready",)
        )
        pull = await forge.open_pull(draft)
        await forge.merge(pull.id, head=head, style="merge", message="P")
        assert (await forge.issue(IssueId("1"))).state is IssueState.CLOSED
        await forge.close(IssueId("1"), comment="Landed.")

    anyio.run(merged)
    assert world.get(f"repos/{FULL}/issues/1/comments").json() == []
