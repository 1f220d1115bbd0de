"""What is said on an issue of GitLab or Gitea: told in order, and added once."""

from functools import partial

import anyio
import pytest
from gitlab_server import GitLabServer
from lab_drivers import Lab, filled, gitea_lab, gitlab_lab

from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId

LABS = {"gitlab": gitlab_lab, "gitea": gitea_lab}
ONE = IssueId("1")


@pytest.fixture(params=LABS)
def lab(request: pytest.FixtureRequest) -> Lab:
    return filled(LABS[request.param]())


def said(lab: Lab, body: str, author: str) -> None:
    if isinstance(lab.server, GitLabServer):
        lab.server.says(1, body, author, kind="issues")
    else:
        lab.server.says(1, body, author)


def comment(lab: Lab, text: str, *, key: str = "k") -> None:
    anyio.run(partial(lab.opened().comment, ONE, text, key=key))


def first_lines(lab: Lab) -> list[str]:
    return [one.partition("\n")[0] for one in lab.comments(1)]


def test_comments_are_told_in_order_ours_too(lab: Lab) -> None:
    said(lab, "It crashes.", "maria")
    anyio.run(lab.opened().tell, ONE, "working")
    said(lab, "For me too.", "mallory")
    found = anyio.run(lab.opened().comments, ONE)
    assert [(one.author, one.association, one.text.partition("\n")[0]) for one in found] == [
        ("maria", "member", "It crashes."),
        ("robot", "none", "working"),
        ("mallory", "none", "For me too."),
    ]
    assert [one.id for one in found] == ["1", "2", "3"]
    assert found[2].time == 1795255202.0
    assert lab.server.violations == []


def test_all_pages_of_comments_are_told(lab: Lab) -> None:
    for number in range(120):
        said(lab, f"comment {number}", "maria")
    assert [one.text for one in anyio.run(lab.opened().comments, ONE)] == [f"comment {n}" for n in range(120)]


def test_what_gitlab_notes_itself_and_what_is_for_insiders_is_no_comment() -> None:
    lab = filled(gitlab_lab())
    assert isinstance(lab.server, GitLabServer)
    lab.server.says(1, "added a label", "maria", kind="issues", system=True)
    lab.server.says(1, "Their contract ends.", "maria", kind="issues", internal=True)
    lab.server.says(1, "Hello.", "maria", kind="issues", internal=False)
    assert [one.text for one in anyio.run(lab.opened().comments, ONE)] == ["Hello."]


def test_comment_of_a_key_is_made_once_and_stays_as_it_is(lab: Lab) -> None:
    for text, key in (("hello", "a"), ("hello again", "a"), ("hello", "b")):
        comment(lab, text, key=key)
    assert first_lines(lab) == ["hello", "hello"]
    assert lab.server.violations == []


@pytest.mark.parametrize("how", ["lost", "500 after", "cut"])
def test_comment_whose_answer_was_lost_is_looked_for_first(lab: Lab, how: str) -> None:
    lab.server.faults = ["none", how]  # which comments, and the comment
    comment(lab, "hello")
    assert first_lines(lab) == ["hello"]
    assert len([one for one in lab.server.requests if one.startswith("POST")]) == 1


@pytest.mark.parametrize("key", ["closed", "status"])
def test_key_of_somebody_else_takes_the_place_of_none_of_ours(lab: Lab, key: str) -> None:
    comment(lab, "hello", key=key)
    anyio.run(lab.opened().tell, ONE, "working")
    anyio.run(partial(lab.opened().close, ONE, comment="Landed."))
    assert first_lines(lab) == ["hello", "working", "Landed."]


def test_words_in_our_name_pass_for_no_comment_of_ours(lab: Lab) -> None:
    comment(lab, "<!-- luminaguard:closed --> <!-- luminaguard:status -->")
    anyio.run(lab.opened().tell, ONE, "working")
    anyio.run(partial(lab.opened().close, ONE, comment="Landed."))
    assert first_lines(lab)[1:] == ["working", "Landed."]


def test_issue_that_is_not_there_is_the_users_fault(lab: Lab) -> None:
    with pytest.raises(UserFault, match="99"):
        anyio.run(partial(lab.opened().comment, IssueId("99"), "hello", key="k"))
