import pytest

from luminaguard.planner.prose import Line, one_line, read, without_code


def test_each_line_knows_its_section() -> None:
    lines = read("Intro\n## Blocked by:\n- one\n\n- two\n# Next #\ntext")
    assert [f"{line.section}: {line.text}" for line in lines] == [
        ": Intro",
        ": Blocked by:",
        "blocked by: - one",
        "blocked by: - two",
        ": Next",
        "next: text",
    ]


def test_bold_line_is_a_section_that_ends_with_its_list() -> None:
    lines = read("# Top\n**Files**\n- a\n\n- b\n\nafter")
    assert [line.section for line in lines if line.text in {"- a", "- b", "after"}] == ["files", "files", "top"]


def test_code_quotations_and_labels_are_marked() -> None:
    assert read("```\na\n```\n> b\n**Files:** c") == (
        Line(text="", code=True),
        Line(text="a", code=True),
        Line(text="```", code=True),
        Line(text="> b", quoted=True),
        Line(text="**Files:** c", label="files"),
    )


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("a <!-- b --> c", "a   c"),
        ("a <!--\nb\n--> c", "a | c"),
        ("a <!-- b\nc", "a "),
        ("`<!--` a", "`<!--` a"),
        ("a\r\nb", "a|b"),
    ],
)
def test_comments_are_gone(body: str, kept: str) -> None:
    assert "|".join(line.text for line in read(body)) == kept


def test_code_spans_leave_room_of_their_length() -> None:
    assert without_code("a `b` ~~c~~ d") == f"a{' ' * 11}d"


def test_one_line_is_one_short_line_that_a_terminal_can_show() -> None:
    assert one_line("a\n\x1b[31mb\u202e  c") == "a [31mb c"
    assert one_line("x" * 300, limit=10) == "x" * 9 + "…"
