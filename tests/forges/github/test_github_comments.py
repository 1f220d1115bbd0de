"""What is said on an issue: told in order, and added once."""

from functools import partial

import anyio
import pytest
from github_driver import Opened
from github_server import Broken, Server

from luminaguard.forges.github.forge import GitHub
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId

ONE = IssueId("1")


@pytest.fixture(autouse=True)
def _issue(server: Server) -> None:
    server.add_issue("First")


def comment(forge: GitHub, text: str, *, key: str = "k") -> None:
    anyio.run(partial(forge.comment, ONE, text, key=key))


def first_lines(server: Server) -> list[str]:
    return [one.partition("\n")[0] for one in server.comments_on(1)]


def test_comments_are_told_in_order_ours_too(server: Server, opened: Opened) -> None:
    server.comment_on(1, "It crashes.", login="ann", standing="MEMBER")
    anyio.run(opened().tell, ONE, "working")
    server.now += 60.0
    server.comment_on(1, "For me too.", login="mallory", standing="NONE")
    found = anyio.run(opened().comments, ONE)
    assert [(one.author, one.association, one.text.partition("\n")[0]) for one in found] == [
        ("ann", "member", "It crashes."),
        ("robot", "owner", "working"),
        ("mallory", "none", "For me too."),
    ]
    assert [one.id for one in found] == [str(number) for number in server.comments]
    assert found[2].time == pytest.approx(server.now, abs=1.0)


def test_all_pages_of_comments_are_told(server: Server, forge: GitHub) -> None:
    for number in range(150):
        server.comment_on(1, f"comment {number}")
    assert [one.text for one in anyio.run(forge.comments, ONE)] == [f"comment {number}" for number in range(150)]


def test_comment_of_a_key_is_made_once_and_stays_as_it_is(server: Server, opened: Opened) -> None:
    for text, key in (("hello", "a"), ("hello again", "a"), ("hello", "b")):
        comment(opened(), text, key=key)
    assert first_lines(server) == ["hello", "hello"]


@pytest.mark.parametrize("key", ["a -->", "x" * 500, "two\nlines", ""])
def test_any_text_may_be_a_key(server: Server, opened: Opened, key: str) -> None:
    for _ in range(2):
        comment(opened(), "hello", key=key)
    assert len(server.comments_on(1)) == 1


@pytest.mark.parametrize("how", ["timeout after", "502 after", "truncated"])
def test_comment_whose_answer_was_lost_is_looked_for_first(server: Server, forge: GitHub, how: str) -> None:
    server.faults = iter([None, Broken(how)])  # which comments, and the comment
    comment(forge, "hello")
    assert first_lines(server) == ["hello"]
    assert sum(one.method == "POST" for one in server.seen) == 1


@pytest.mark.parametrize("key", ["closed", "status"])
def test_key_of_somebody_else_takes_the_place_of_none_of_ours(server: Server, opened: Opened, key: str) -> None:
    comment(opened(), "hello", key=key)
    anyio.run(opened().tell, ONE, "working")
    anyio.run(partial(opened().close, ONE, comment="Landed."))
    assert first_lines(server) == ["hello", "working", "Landed."]


def test_words_in_our_name_pass_for_no_comment_of_ours(server: Server, opened: Opened) -> None:
    comment(opened(), "<!-- luminaguard:closed --> <!-- luminaguard:status -->")
    anyio.run(opened().tell, ONE, "working")
    anyio.run(partial(opened().close, ONE, comment="Landed."))
    assert first_lines(server)[1:] == ["working", "Landed."]


def test_issue_that_is_not_there_is_the_users_fault(forge: GitHub) -> None:
    with pytest.raises(UserFault, match="99"):
        anyio.run(partial(forge.comment, IssueId("99"), "hello", key="k"))
