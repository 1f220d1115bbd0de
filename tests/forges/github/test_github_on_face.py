"""The driver on the local forge's own face, over a real repository: they know each other only by GitHub's contract."""

from pathlib import Path

import anyio
import httpx
import pytest
from face_ground import Ground, commit, git, ground_of, work_on

from luminaguard.forges.base import Merged, NotMerged, PullDraft, ReviewNote
from luminaguard.forges.github.auth import Token
from luminaguard.forges.github.forge import GitHub
from luminaguard.forges.github.repository import repository_named
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import Issue


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    folder = tmp_path / "demo"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "README.md", "demo\n")
    return ground_of(folder, tmp_path / "state")


def driver(ground: Ground) -> GitHub:
    return GitHub(
        repository_named("ann/demo", base_url="http://forge.test/"),
        Token(text=ground.full, source="test"),
        transport=httpx.ASGITransport(app=ground.app),
    )


def test_issue_goes_all_the_way(ground: Ground) -> None:
    head = Oid(work_on(ground.folder, "lg/1", "new.txt", "new\n"))

    async def way() -> None:
        forge = driver(ground)
        first = await forge.add(Issue(id=IssueId("x-1"), title="First", body="Do it.", labels=("ready",)))
        second = await forge.add(Issue(id=IssueId("x-2"), title="Second"))
        await forge.add_need(second, first)
        assert [(one.id, one.needs) for one in (await forge.backlog()).issues] == [("1", ()), ("2", ("1",))]
        draft = PullDraft(branch="lg/1", head=head, target="main", issue=first, title="P", body=f"Closes #{first}")
        pull = await forge.open_pull(draft)
        assert (await driver(ground).open_pull(draft)).id == pull.id
        for text in ("working", "landing"):
            await driver(ground).tell(first, text)
        for _ in range(2):
            await driver(ground).post_review(pull.id, ReviewNote(commit=head, ok=True, text="Fine."))
        await forge.report_check(head, name="luminaguard", state="passed", text="1 passed")
        assert [(one.name, one.state) for one in await forge.checks(head)] == [("luminaguard", "passed")]
        assert (await forge.rules("main")).approvals == 0
        wrong = await forge.merge(pull.id, head=Oid("0" * 40), style="squash", message="P")
        assert isinstance(wrong, NotMerged)
        outcome = await forge.merge(pull.id, head=head, style="squash", message="P (#3)\n\nWhy.")
        assert outcome == await driver(ground).merge(pull.id, head=head, style="squash", message="P (#3)")
        assert isinstance(outcome, Merged)
        await forge.mark_merged(pull.id, commit=outcome.commit)
        for issue in (first, second, first, second):
            await driver(ground).close(issue, comment="Landed.")
        assert git(ground.folder, "rev-parse", "main").stdout.strip() == outcome.commit

    anyio.run(way)
    assert [issue.state.value for issue in ground.store.issues()] == ["closed", "closed"]
    assert [one.text.partition("\n")[0] for one in ground.store.comments("1")] == ["landing"]
    assert [one.text.partition("\n")[0] for one in ground.store.comments("2")] == ["Landed."]
    assert len(ground.store.pulls()) == 1
