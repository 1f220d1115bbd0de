import pytest

from luminaguard.model.plan import Touch
from luminaguard.planner.deliverables import deliverables_of
from luminaguard.planner.prose import read


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("**Deliverable:** docs/isolation.md", ("docs/isolation.md",)),
        ("## Deliverables\n- a module\n- a test", ("a module", "a test")),
        (
            "## Acceptance Criteria\n- [ ] #1 It is fast\n- [x] #2 It is small\n- it is told",
            ("It is fast", "it is told"),
        ),
        ("- [ ] works on   Linux", ("works on Linux",)),
        ("- [ ] #12\n- [ ] me/mine#4\n- [ ] https://github.com/me/mine/issues/4\n- [ ] BACK-12", ()),
        ("Some text.\n- an item\n```\n- [ ] code\n```", ()),
    ],
)
def test_promises_and_open_boxes_are_deliverables(body: str, expected: tuple[str, ...]) -> None:
    assert deliverables_of(read(body), ()) == expected


def test_declared_files_are_deliverables_once_and_named_ones_are_not() -> None:
    touches = (
        Touch(path="docs/a.md", source="declared", confidence=0.95),
        Touch(path="docs/b.md", source="declared", confidence=0.95),
        Touch(path="docs/c.md", source="named", confidence=0.6),
    )
    assert deliverables_of(read("Deliverable: docs/a.md, reviewed"), touches) == ("docs/a.md, reviewed", "docs/b.md")


def test_there_are_at_most_12_and_each_is_one_line() -> None:
    found = deliverables_of(read("\n".join(f"- [ ] {number} {'x' * 300}" for number in range(50))), ())
    assert len(found) == 12
    assert all(len(text) <= 160 for text in found)
