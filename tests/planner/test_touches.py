import pytest

from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Issue
from luminaguard.planner.prose import read
from luminaguard.planner.touches import Files

TRACKED = (
    *("README.md", "docs/README.md", ".github/ci.yml"),
    *("src/core/queue.ts", "src/ui/board.ts", "src/board.ts", "src/cli.ts"),
)


def touched(
    body: str, *, title: str = "", field: tuple[str, ...] = (), tracked: tuple[str, ...] = TRACKED
) -> list[str]:
    issue = Issue(id=IssueId("1"), title=title, body=body, touches=field)
    return [f"{one.source} {one.path}" for one in Files(tracked).touches(issue, read(body))]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("See src/cli.ts.", ["named src/cli.ts"]),
        ("See `src/cli.ts:42`, and (src/board.ts)", ["named src/board.ts", "named src/cli.ts"]),
        ("See ./src/cli.ts and queue.ts", ["named src/cli.ts", "named src/core/queue.ts"]),
        ("It is in core/queue.ts", ["named src/core/queue.ts"]),
        ("```\nat run (src/cli.ts:3)\n```", ["named src/cli.ts"]),
        ("Write docs/new.md", ["named docs/new.md"]),
        ("Write `NOTES.md`", ["named NOTES.md"]),
        ("Look into .github/ci.yml", ["named .github/ci.yml"]),
        ("Update README.md", ["named README.md"]),
        ("Files: src/new.py, src/cli.ts", ["declared src/cli.ts", "declared src/new.py"]),
        ("**Deliverable:** docs/isolation.md", ["declared docs/isolation.md"]),
        ("## Scope\n- `src/new.py` the parser\n## Other\n- src/cli.ts", ["declared src/new.py", "named src/cli.ts"]),
    ],
)
def test_paths_in_the_text_are_found(body: str, expected: list[str]) -> None:
    assert touched(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        "board.ts",
        "https://example.org/src/cli.ts",
        "example.com/page.html and www.example.org/a.js",
        "/home/me/src/cli.ts and ~/notes/x.md",
        "Version 1.2.3, e.g. i.e. etc. and Node.js, Next.js",
        "the code in new.py",
        "src/**/*.ts and src/{a,b}.ts and $HOME/x.py and <dir>/x.py",
        "user@example.py and ../other/x.py",
        "> src/cli.ts",
        "<!-- src/cli.ts -->",
        "```\nmake new/thing.py\n```",
        "Do not touch src/cli.ts",
        "## Out of scope\n- src/cli.ts",
        "and/or, read/write, 10/12",
        "C:\\src\\cli.ts",
    ],
)
def test_what_only_looks_like_a_path_is_not_one(body: str) -> None:
    assert touched(body) == []


def test_field_is_declared_and_surer_than_text() -> None:
    issue = Issue(id=IssueId("1"), title="Mend src/cli.ts", body="docs/new.md", touches=("./lib/x.py",))
    touches = Files(TRACKED).touches(issue, read(issue.body))
    assert [(one.path, one.source, one.confidence) for one in touches] == [
        ("lib/x.py", "declared", 0.95),
        ("src/cli.ts", "named", 0.8),
        ("docs/new.md", "named", 0.6),
    ]


def test_one_issue_has_at_most_30_files() -> None:
    assert len(touched(" ".join(f"src/m{number}.py" for number in range(99)))) == 30
