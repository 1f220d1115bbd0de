"""What sort of work an issue asks for: by its field, its labels, its prefix ("fix:"), the words of its title."""

import re

from luminaguard.model.issue import Issue, Kind

_BY_NAME = {
    **dict.fromkeys(("research", "spike", "investigation", "investigate", "question", "analysis"), Kind.RESEARCH),
    **dict.fromkeys(("design", "architecture", "rfc", "adr", "proposal"), Kind.DESIGN),
    **dict.fromkeys(("bug", "fix", "bugfix", "hotfix", "regression", "crash", "defect"), Kind.BUG),
    **dict.fromkeys(("docs", "doc", "documentation", "readme"), Kind.DOCS),
    **dict.fromkeys(("test", "tests", "testing", "coverage"), Kind.TEST),
    **dict.fromkeys(("chore", "ci", "build", "deps", "dependencies", "maintenance", "release", "style"), Kind.CHORE),
    **dict.fromkeys(
        ("feat", "feature", "enhancement", "implementation", "perf", "performance", "refactor", "refactoring", "impl"),
        Kind.IMPLEMENTATION,
    ),
}
_GROUPED = frozenset({"type", "kind", "category", "t", "k"})
_PREFIX = re.compile(r"\s*(?:\[[^\]]*\]\s*)*([A-Za-z]+)(?:\([^)]*\))?!?:\s")
_TAGS = re.compile(r"\s*(?:\[[^\]]*\]\s*|\([^)]*\)\s*|[\w./ -]{1,24}:\s+)*")
_LOOK_FIRST = re.compile(
    r"\b(?:research|investigat\w+|diagnose|evaluat\w+|explore|audit|analy[sz]e)\s+(?:and|&)\s+(?:\w+ly\s+)?"
    r"(?=fix|replac|implement|remov|add|updat|minimi|moderni|resolv|refactor|repair|improv)"
)
"""Who is to look and then mend is to mend."""

_FIRST = (
    (
        Kind.RESEARCH,
        re.compile(r"(?:research|investigat\w+|spike|evaluat\w+|explor\w+|compar\w+|study|analy[sz]e|survey|audit)\b"),
    ),
    (Kind.DESIGN, re.compile(r"(?:design|architect\w*|rfc|propos\w+|specify)\b")),
    (
        Kind.DESIGN,
        re.compile(
            r"(?:define|extract|introduce|create|draft|sketch)\b.*\b(?:architecture|traits?|interfaces?|abstractions?|protocols?"
            r"|rfc|adr|design)\b"
        ),
    ),
    (Kind.BUG, re.compile(r"(?:fix|bug|crash\w*|hotfix|repair|regression|prevent|stop)\b")),
    (Kind.DOCS, re.compile(r"(?:document|docs?|readme|documentation)\b")),
    (
        Kind.DOCS,
        re.compile(
            r"(?:write|add|create|update|improve|expand|extend|backfill|refresh)\b(?:\W+[\w'-]+){0,3}?"
            r"\W+(?:docs?|documentation|readme|guide|tutorial|changelog|docstrings?)\b"
        ),
    ),
    (Kind.TEST, re.compile(r"(?:tests?|cover|coverage|benchmark)\b")),
    (
        Kind.TEST,
        re.compile(
            r"(?:write|add|create|improve|increase|extend|expand|raise|modernize)\b(?:\W+[\w'-]+){0,3}?\W+(?:tests?|coverage)\b"
        ),
    ),
    (
        Kind.CHORE,
        re.compile(r"(?:chore|bump|upgrade|rename|pin|ci|release|clean|cleanup)\b"),
    ),
    (
        Kind.IMPLEMENTATION,
        re.compile(
            r"(?:implement|add|create|build|support|introduce|allow|enable|make|extend|feature|refactor|improve|use)\w*\b"
        ),
    ),
)
_ANYWHERE = (
    (Kind.RESEARCH, re.compile(r"\b(?:research|investigat\w+|spike|evaluat\w+)\b")),
    (Kind.DESIGN, re.compile(r"\b(?:design|architecture|traits?|interface|abstraction|rfc)\b")),
    (
        Kind.BUG,
        re.compile(
            r"\b(?:fix(?:es|ed)?|bug|crash\w*|errors?|fails?|failing|broken|wrong|doesn['\u2019]t|leaks?|regress\w+)\b"
        ),
    ),
    (Kind.DOCS, re.compile(r"\b(?:docs?|readme|documentation)\b")),
    (Kind.TEST, re.compile(r"\b(?:tests?|coverage)\b")),
    (Kind.CHORE, re.compile(r"\b(?:chore|bump|upgrade|ci|dependabot)\b")),
)


def kind_of(issue: Issue) -> Kind:
    """Tell the kind; an issue that says nothing of it is an implementation."""
    if issue.kind is not None:
        return issue.kind
    for label in issue.labels:
        kind = _labelled(label)
        if kind is not None:
            return kind
    return _titled(issue.title)


def _labelled(label: str) -> Kind | None:
    """Read "bug", "type: bug", "kind/bug"; an area such as "area/docs" is no kind."""
    group, mark, name = label.strip().lower().replace("/", ":").rpartition(":")
    if mark and group.strip() not in _GROUPED:
        return None
    return _BY_NAME.get(name.strip())


def _titled(title: str) -> Kind:
    prefix = _PREFIX.match(title)
    if prefix is not None and prefix[1].lower() in _BY_NAME:
        return _BY_NAME[prefix[1].lower()]
    lower = _LOOK_FIRST.sub("", title.lower())
    tags = _TAGS.match(lower)
    words = lower[tags.end() :] if tags else lower
    for kind, pattern in _FIRST:
        if pattern.match(words):
            return kind
    return next((kind for kind, pattern in _ANYWHERE if pattern.search(lower)), Kind.IMPLEMENTATION)
