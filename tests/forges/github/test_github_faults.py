"""A thousand random schedules of what can go wrong at the HTTP boundary: nothing is done twice."""

import re
from collections import Counter
from itertools import count

import anyio
import pytest
from github_driver import driver_on
from github_server import Broken, Server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luminaguard.forges.base import Merged, PullDraft, ReviewNote
from luminaguard.forges.github.forge import GitHub
from luminaguard.model.faults import Fault
from luminaguard.model.ids import IssueId, Oid

HEAD, COMMIT = Oid("a" * 40), Oid("c" * 40)
RUNS = 40

HOWS = ("500", "timeout", "timeout after", "502 after", "truncated", "limit", "unreachable", "422", "moved head")
BREAKS = st.one_of(
    st.sampled_from(HOWS).map(Broken),
    st.floats(0.1, 15.0).map(lambda late_s: Broken("late", late_s=late_s)),
)
SCHEDULES = st.dictionaries(st.sampled_from(range(90)), BREAKS, max_size=12)
"""Which request goes wrong, and how: spread over the whole way, as a list would break its beginning alone."""


async def story(server: Server, *, by_api: bool) -> None:
    """One issue's way, as one start of the program goes it; a fault ends it, and the next start begins again."""
    forge = driver_on(server)
    async with forge.open():
        await way(server, forge, by_api=by_api)


async def way(server: Server, forge: GitHub, *, by_api: bool) -> None:
    one = IssueId("1")
    await forge.tell(one, "working")
    draft = PullDraft(branch="b", head=HEAD, target="main", issue=one, title="P", body="Closes #1", labels=("x",))
    pull = await forge.open_pull(draft)
    await forge.post_review(pull.id, ReviewNote(commit=HEAD, ok=True, text="Fine."))
    await forge.comment(one, "An agent asks.", key="question")
    await forge.report_check(HEAD, name="luminaguard", state="passed", text="ok")
    if by_api:
        outcome = await forge.merge(pull.id, head=HEAD, style="squash", message="P (#2)")
        if not isinstance(outcome, Merged):
            return
    await forge.mark_merged(pull.id, commit=COMMIT)
    await forge.tell(one, "landed")
    await forge.close(one, comment="Landed.")
    server.items[1]["is_done"] = True


async def started_until_done(server: Server, *, by_api: bool) -> None:
    for _ in range(RUNS):
        try:
            await story(server, by_api=by_api)
        except Fault:
            server.now += 60.0
        if server.items[1].get("is_done"):
            return


@pytest.mark.timeout(900)
@settings(max_examples=1000, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(faults=SCHEDULES, by_api=st.booleans(), keywords_close=st.booleans(), moves=st.booleans())
def test_nothing_is_done_twice(faults: dict[int, Broken], *, by_api: bool, keywords_close: bool, moves: bool) -> None:
    server = Server(faults=map(faults.get, count()), keywords_close=keywords_close)
    server.add_issue("First")
    server.branches["b"] = HEAD
    server.moved_to = "octo/renamed" if moves else None
    anyio.run(lambda: _with_the_move_mended(server, by_api=by_api))
    assert server.items[1].get("is_done"), "it never came through"
    assert server.items[1]["state"] == "closed"
    assert len(server.pulls()) == 1
    assert len(server.merges) == (1 if by_api else 0)
    assert [one["context"] for one in server.statuses] == ["luminaguard"]
    assert len(server.reviews) == 1
    marks = Counter(
        (one["number"], mark)
        for one in server.comments.values()
        for mark in re.findall(r"<!-- luminaguard:.+ -->", one["body"])
    )
    assert set(marks.values()) == {1}, marks
    assert sum(one["body"].startswith("An agent asks.") for one in server.comments.values()) == 1


async def _with_the_move_mended(server: Server, *, by_api: bool) -> None:
    """A moved repository stops the first start; the user sets the new name, here by the old one answering again."""
    if server.moved_to is not None:
        try:
            await story(server, by_api=by_api)
        except Fault:
            assert server.comments == {}
            assert server.pulls() == []
        server.moved_to = None
    await started_until_done(server, by_api=by_api)
