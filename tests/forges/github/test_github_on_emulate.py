"""The driver on a GitHub that somebody else wrote, over HTTP. It has no dependencies, statuses or GraphQL."""

from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from emulate_server import client_of, commit_on, emulate

from luminaguard.forges.base import Merged, NotMerged, PullDraft, ReviewNote
from luminaguard.forges.github.auth import Token
from luminaguard.forges.github.forge import GitHub
from luminaguard.forges.github.repository import repository_named
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json, Oid
from luminaguard.model.issue import Issue, IssueState

FULL, TOKEN = "octo/demo", "test_token_admin"
SEED: dict[str, Json] = {
    "tokens": {TOKEN: {"login": "octo", "scopes": ["repo"]}},
    "github": {"users": [{"login": "octo"}], "repos": [{"owner": "octo", "name": "demo", "auto_init": True}]},
}


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with emulate(tmp_path, SEED) as url:
        yield url


def driver(url: str) -> GitHub:
    return GitHub(repository_named(FULL, base_url=url), Token(text=TOKEN, source="test"))


async def way(url: str, head: Oid) -> None:
    forge = driver(url)
    async with forge.open():
        first = await forge.add(Issue(id=IssueId("x-1"), title="First", body="Do it."))
        assert await driver(url).add(Issue(id=IssueId("x-1"), title="First", body="Do it.")) == first
        second = await forge.add(Issue(id=IssueId("x-2"), title="Second"))
        with pytest.raises(UserFault, match="no dependencies"):
            await forge.add_need(second, first)
        assert [one.title for one in (await forge.backlog()).issues] == ["First", "Second"]
        for text in ("working", "landing"):
            await driver(url).tell(first, text)
        draft = PullDraft(branch="lg/1", head=head, target="main", issue=first, title="P", body=f"Closes #{first}")
        pull = await forge.open_pull(draft)
        assert (await driver(url).open_pull(draft)).id == pull.id
        for _ in range(2):
            await driver(url).post_review(pull.id, ReviewNote(commit=head, ok=True, text="Fine."))
        wrong = await forge.merge(pull.id, head=Oid("0" * 40), style="squash", message="P")
        assert isinstance(wrong, NotMerged)
        outcome = await forge.merge(pull.id, head=head, style="squash", message="P (#3)")
        assert isinstance(outcome, Merged)
        assert await driver(url).merge(pull.id, head=head, style="squash", message="P (#3)") == outcome
        await forge.mark_merged(pull.id, commit=outcome.commit)
        for _ in range(2):
            await driver(url).close(second, comment="Landed.")
        assert (await forge.issue(second)).state is IssueState.CLOSED


def test_issue_goes_all_the_way_on_a_server_of_others(url: str) -> None:
    with client_of(url, FULL, TOKEN) as client:
        anyio.run(way, url, commit_on(client, "lg/1"))
        said = {number: [one["body"] for one in client.get(f"issues/{number}/comments").json()] for number in (1, 2)}
        assert [len(one) for one in said.values()] == [1, 1]
        assert said[1][0].startswith("landing")
        assert len(client.get("pulls", params={"state": "all"}).json()) == 1
        assert len(client.get("pulls/3/reviews").json()) == 1
