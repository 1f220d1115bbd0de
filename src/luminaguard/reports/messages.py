"""What we write into commits and pull requests.

Titles and texts are untrusted, and a forge obeys words in them: "closes #9" closes an issue that nobody worked on.
So such words are changed to "refers to", and only our own last line closes anything.
"""

import re
from collections.abc import Mapping, Sequence

from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Kind
from luminaguard.model.work import FileChange
from luminaguard.reports.escape import code, counts_text
from luminaguard.reports.wording import plain, plain_lines

SUBJECT_CHARS = 100
FILES = 100
CHECKS = "Checks before it lands:"

_PREFIX: Mapping[Kind, str] = {
    Kind.RESEARCH: "docs",
    Kind.DOCS: "docs",
    Kind.DESIGN: "feat",
    Kind.IMPLEMENTATION: "feat",
    Kind.BUG: "fix",
    Kind.TEST: "test",
    Kind.CHORE: "chore",
}
_CONVENTIONAL = re.compile(
    r"(?:build|chore|ci|docs|feat|fix|perf|refactor|revert|style|test)(?:\([^()]*\))?!?:\s", re.IGNORECASE
)
# GitHub's keywords, and GitLab's, which knows more forms.
_CLOSES = re.compile(
    r"\b(?:clos(?:e[sd]?|ing)|fix(?:e[sd]|ing)?|resolv(?:e[sd]?|ing)|implement(?:s|ed|ing)?)(?:\s*:)?\s+"
    r"(?=(?:issues?\s+)?(?:[\w./-]*#\w|GH-\d|https?://))",
    re.IGNORECASE,
)


def landing_message(*, kind: Kind, issue: IssueId, title: str, body: str, closes: bool = True) -> str:
    """Write the message of a landing: "feat: Title (#154)", the body, "Closes #154"."""
    return _joined(
        subject(kind=kind, issue=issue, title=title), _tame(plain_lines(body)), _closing(issue, closes=closes)
    )


def subject(*, kind: Kind, issue: IssueId, title: str) -> str:
    """Write the first line: at most 100 characters, without control characters, with one conventional prefix."""
    number = f"(#{plain(issue)})"
    words = _tame(plain(title)).removesuffix(number).strip() or "work"
    prefix = "" if _CONVENTIONAL.match(words) else f"{_PREFIX[kind]}: "
    room = SUBJECT_CHARS - len(prefix) - len(number) - 1
    short = words if len(words) <= room else words[: max(room - 3, 0)].rstrip() + "..."
    return f"{prefix}{short} {number}"[:SUBJECT_CHARS]


def pull_body(
    *,
    issue: IssueId,
    text: str,
    files: Sequence[FileChange] = (),
    checks: Sequence[str] = (),
    verdict: str = "",
    needs: Sequence[IssueId] = (),
    closes: bool = True,
) -> str:
    """Write a pull request's description: why, what, how it is checked, "Depends on #152", "Closes #154"."""
    changed = "\n".join(f"- {code(file.path)} {counts_text(file)}" for file in files[:FILES])
    more = f"\n- and {len(files) - FILES} more" if len(files) > FILES else ""
    asked = "\n".join(f"- {code(command)}" for command in checks)
    said = f"Checked, merged with the target as it was then: {plain(verdict)}:" if verdict else CHECKS
    return _joined(
        _tame(plain_lines(text)),
        f"Files:\n\n{changed}{more}" if changed else "",
        f"{said}\n\n{asked}" if asked else "",
        "\n".join(f"Depends on #{plain(need)}" for need in needs),
        _closing(issue, closes=closes),
    )


def _closing(issue: IssueId, *, closes: bool) -> str:
    return f"Closes #{plain(issue)}" if closes else ""


def _tame(text: str) -> str:
    return _CLOSES.sub("refers to ", text)


def _joined(*parts: str) -> str:
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"
