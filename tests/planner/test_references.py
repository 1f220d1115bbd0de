import pytest

from luminaguard.model.ids import IssueId
from luminaguard.planner.directory import Directory
from luminaguard.planner.prose import read
from luminaguard.planner.references import Mention, Reader, Relation

NUMBERS = tuple(IssueId(str(number)) for number in range(1, 60))
NEEDS, BLOCKS, AFTER, CHILD, PARENT = (
    Relation.NEEDS, Relation.BLOCKS, Relation.AFTER, Relation.CHILD, Relation.PARENT,
)  # fmt: skip


def mentions(text: str, *, ids: tuple[IssueId, ...] = NUMBERS, repository: str | None = "me/mine") -> list[Mention]:
    return list(Reader(directory=Directory(ids), repository=repository).mentions("A title", read(text)))


def found(text: str, *, ids: tuple[IssueId, ...] = NUMBERS) -> list[tuple[Relation, str | None]]:
    return [(mention.relation, mention.target.id) for mention in mentions(text, ids=ids)]


def ids(*names: str) -> tuple[IssueId, ...]:
    return tuple(map(IssueId, names))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Depends on #1", [(NEEDS, "1")]),
        ("depends on #1, #2 and #3", [(NEEDS, "1"), (NEEDS, "2"), (NEEDS, "3")]),
        ("DEPENDS ON: #1 & #2", [(NEEDS, "1"), (NEEDS, "2")]),
        ("This depends upon issue #4.", [(NEEDS, "4")]),
        ("**Blocked by:** #3", [(NEEDS, "3")]),
        ("**Blocked by**: #3, #4", [(NEEDS, "3"), (NEEDS, "4")]),
        ("*Blocked by* #3", [(NEEDS, "3")]),
        ("- Blocked by #3", [(NEEDS, "3")]),
        ("Requires #12", [(NEEDS, "12")]),
        ("It requires #12 (the parser) and #13 to be there", [(NEEDS, "12"), (NEEDS, "13")]),
        ("Prerequisite: #9", [(NEEDS, "9")]),
        ("Prerequisites: #9, #10", [(NEEDS, "9"), (NEEDS, "10")]),
        ("Waiting on #9", [(NEEDS, "9")]),
        ("Dependencies: #9", [(NEEDS, "9")]),
        ("Depends on: the parser (#12), and the lexer #13", [(NEEDS, "12"), (NEEDS, "13")]),
        ("Depends on: 12, 13", [(NEEDS, "12"), (NEEDS, "13")]),
        ("Depends on [#12](https://example.org/12), [#13](x)", [(NEEDS, "12"), (NEEDS, "13")]),
        ("Depends on GH-7", [(NEEDS, "7")]),
        ("Depends on me/mine#7", [(NEEDS, "7")]),
        ("Depends on https://github.com/me/mine/issues/7", [(NEEDS, "7")]),
        ("Depends on https://gitlab.com/Me/Mine/-/issues/7.", [(NEEDS, "7")]),
        ("Part of #5, blocked by #6", [(PARENT, "5"), (NEEDS, "6")]),
        ("Blocks #9", [(BLOCKS, "9")]),
        ("Unblocks #9", [(BLOCKS, "9")]),
        ("Required by #9", [(BLOCKS, "9")]),
        ("A prerequisite for #9", [(BLOCKS, "9")]),
        ("Part of #44", [(PARENT, "44")]),
        ("Parent: #12", [(PARENT, "12")]),
        ("**Epic:** #12", [(PARENT, "12")]),
        ("Sub-issue of #12", [(PARENT, "12")]),
        ("After #12", [(AFTER, "12")]),
        ("Start after #12.", [(AFTER, "12")]),
        ("Do this only after #12 lands", [(AFTER, "12")]),
        ("Repair the sites after #12 establishes the rules", [(AFTER, "12")]),
        ("Depends on the new columns (#12) being there", [(AFTER, "12")]),
        ("not only blocks #9 but also depends on #3", [(BLOCKS, "9"), (NEEDS, "3")]),
    ],
)
def test_keyword_and_what_follows_it_are_read(text: str, expected: list[tuple[Relation, str]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "This does not depend on #3",
        "It doesn't depend on #3",
        "It doesn\u2019t really depend on #3",
        "No longer blocked by #4",
        "Nothing depends on #3",
        "Previously blocked by #3",
        "Not yet blocked by #3",
        "Does this depend on #3?",
        "Depends on: none (it was #3)",
        "Blocked by: nothing",
        "~~Depends on #3~~",
        "`Depends on #3`",
        "``Depends on #3``",
        "```\nDepends on #3\n```",
        "~~~text\nDepends on #3\n~~~",
        "- ```\n  Depends on #3\n  ```",
        "````\n```\nDepends on #3\n```\n````",
        "> Depends on #3",
        "<!-- Depends on #3 -->",
        "<!--\n```\nDepends on #3\n-->",
        "<!-- never closed\nDepends on #3",
        'A sentence such as "Depends on #3" must be read',
        "See #3, it is related",
        "Fixes #3",
        "It broke after #3 was merged",
        "After #3 was merged, the build broke",
        "The regression after #3",
        "This needs 3 machines and requires 12 GB",
        "Depends on the weather, see #3",
        "Depends on PR #3",
        "independent of #3",
        "Non-blocking #3",
        "## Related\n- #3",
        "## Implementation notes\nDepends on #3",
        "## Acceptance criteria\n- [ ] #1 it is fast\n- [ ] #2 it is small",
        "- [ ] add a test for the crash in #3",
        "- [ ] write it",
    ],
)
def test_text_that_says_no_need_gives_none(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("## Blocked by\n- #43\n- #7", [(NEEDS, "43"), (NEEDS, "7")]),
        ("## Blocked by\n\nNone - can start immediately, unlike #3", []),
        (
            "### Dependencies:\n\n* #43 the parser, see also #9\n\ntext #5\n\n## Other\n- #7",
            [(NEEDS, "43"), (NEEDS, "5")],
        ),
        ("## Depends on\n#1, #2", [(NEEDS, "1"), (NEEDS, "2")]),
        ("## Dependencies\n- Parser rewrite (#43)\n- numpy >= 2", [(NEEDS, "43")]),
        ("## Dependencies\n- Depends on: #43\n- Blocks: #50", [(NEEDS, "43"), (BLOCKS, "50")]),
        ("**Blocked by**\n- #43\n\nThen text about #9.", [(NEEDS, "43")]),
        ("Blocked by:\n\n- [ ] #43\n- [x] #44\n\nThen text about #9.", [(NEEDS, "43"), (NEEDS, "44")]),
        ("### Parent\n\n#12", [(PARENT, "12")]),
        ("## Blocks\n- #12", [(BLOCKS, "12")]),
        ("## Sub-issues\n- #12\n- #13", [(CHILD, "12"), (CHILD, "13")]),
        ("- [ ] #12\n- [x] #13 The other", [(CHILD, "12"), (CHILD, "13")]),
        ("- [ ] me/mine#12\n* [ ] https://github.com/me/mine/issues/13", [(CHILD, "12"), (CHILD, "13")]),
        ("1. [ ] Implement the parser #12\n- [ ] The lexer (#13)", [(CHILD, "12"), (CHILD, "13")]),
    ],
)
def test_sections_and_task_lists_are_read(text: str, expected: list[tuple[Relation, str]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    ("text", "known", "expected"),
    [
        ("Depends on BACK-12.", ids("BACK-12"), "BACK-12"),
        ("Depends on back-12", ids("BACK-12"), "BACK-12"),
        ("Depends on task-3", ids("BACK-3", "BACK-4"), "BACK-3"),
        ("Depends on task-003", ids("BACK-3", "BACK-4"), "BACK-3"),
        ("Depends on #3", ids("BACK-3"), "BACK-3"),
        ("Depends on task-3.1", ids("BACK-3", "BACK-3.1"), "BACK-3.1"),
        ("Requires quarry-42q8.4: the rest", ids("quarry-42q8.4", "quarry-42q8"), "quarry-42q8.4"),
        ("Part of quarry-bwq epic.", ids("quarry-bwq"), "quarry-bwq"),
        ("Requires add-login", ids("add-login"), "add-login"),
        ("Depends on task-3", ids("BACK-3", "FRONT-3"), None),
    ],
)
def test_ids_of_trackers_are_found_exactly_and_then_without_their_prefix(
    text: str, known: tuple[IssueId, ...], expected: str | None
) -> None:
    assert [mention.target.id for mention in mentions(text, ids=known)] == [expected]


@pytest.mark.parametrize(
    "text",
    ["Requires python-3", "Requires utf-8", "Needs sha-256", "Depends on parser changes", "Requires BACK-to-back"],
)
def test_words_that_look_like_ids_are_no_references(text: str) -> None:
    assert mentions(text, ids=ids("BACK-3", "BACK-8", "BACK-256", "parser")) == []


def test_numbered_criteria_are_not_issues_of_a_tracker_with_a_prefix() -> None:
    assert mentions("- [ ] #1 it is fast\n- [ ] #2 it is small", ids=ids("BACK-1", "BACK-2")) == []


def test_unknown_reference_is_said_and_not_resolved() -> None:
    (mention,) = mentions("Depends on #99")
    assert (mention.target.name, mention.target.id, mention.target.foreign) == ("#99", None, False)


@pytest.mark.parametrize("repository", ["me/mine", None])
def test_issue_of_another_repository_is_foreign(repository: str | None) -> None:
    text = "Depends on you/yours#3 and https://github.com/you/yours/issues/4"
    assert [(one.target.foreign, one.target.id) for one in mentions(text, repository=repository)] == [(True, None)] * 2


def test_words_are_quoted_as_they_stand() -> None:
    (mention, _) = mentions("It goes on. This **depends on** #1 and #2 for now.")
    assert mention.words == "depends on** #1 and #2"


def test_quoted_words_hold_nothing_that_a_terminal_obeys() -> None:
    (mention,) = mentions("Depends\ton #1 \x1b[31m")
    assert mention.words == "Depends on #1"


@pytest.mark.parametrize("text", ["#5 depends on #4", "- #5 (the parser) depends on #4", "#5 is blocked by #4"])
def test_sentence_about_another_issue_is_about_that_issue(text: str) -> None:
    (mention,) = mentions(text)
    assert (mention.subject, mention.relation, mention.target.id) == ("5", NEEDS, "4")


def test_title_is_read_too() -> None:
    reader = Reader(directory=Directory(NUMBERS))
    assert [one.target.id for one in reader.mentions("Parser (blocked by #3)", ())] == ["3"]


def test_endless_line_is_read_in_bounded_time() -> None:
    assert found("depends on #3 " * 20_000) == [(NEEDS, "3")] * 285
    assert found("Depends on #1" + ", #2" * 50_000)[:2] == [(NEEDS, "1"), (NEEDS, "2")]
    assert found("(((((" * 100_000 + " blocked by " + "*" * 20_000) == []
    assert found("# " + "# " * 100_000 + "x") == []
    assert found("<!-- " * 100_000) == []
    assert found("` `` " * 100_000) == []
