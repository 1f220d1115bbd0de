"""What an issue's text says about the order of work: "Depends on #1, #2", "## Blocked by", "- [ ] #123"."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from luminaguard.model.ids import IssueId
from luminaguard.planner.directory import Directory
from luminaguard.planner.prose import Line, one_line, without_code


class Relation(StrEnum):
    """How the issue that speaks stands to the issue that it names."""

    NEEDS = "needs"
    BLOCKS = "blocks"
    AFTER = "after"
    CHILD = "child"
    PARENT = "parent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An issue as it was named. `id` is None where this backlog has none of that name."""

    name: str
    id: IssueId | None
    foreign: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """`subject` (None: the issue whose text this is) stands in `relation` to `target`, because of `words`."""

    relation: Relation
    target: Target
    words: str
    subject: IssueId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What one keyword governs, and where in the line that ends."""

    relation: Relation
    targets: list[Target]
    end: int


_NAMES = re.compile(r"[#_\d]|(?<=\w)-")
"""No id of a tracker does without one of these; most lines do."""

_CHEAP = re.compile(
    r"d(?=ep(?:end|s))|b(?=lock)|requir|need|prereq|wai(?=t)|stacked|after|once|part of|parent|epic"
    r"|child of|sub-?(?:task|issue|ticket)"
)
_WORDS = re.compile(
    r"""(?<![\w-])(?:
      (?P<blocks>
          (?:un)?block(?:s|ing) | (?:required|needed)\s+(?:by|for)
        | (?:prereq(?:uisite)?|dependency|blocker)\s+(?:for|of))
    | (?P<needs>
          depend(?:s|ent|ing)?\s+(?:up)?on | dep(?:endenc(?:y|ies)|s)(?=[\s*_]*:) | blocked\s+(?:by|on)
        | blockers?(?=[\s*_]*:) | requires? | needs? | prereq(?:uisite)?s?
        | wait(?:s|ing)?\s+(?:on|for) | stacked\s+on(?:\s+top\s+of)?)
    | (?P<parent>
          part\ of | (?:parent|epic)(?:\s+(?:issue|task|epic|ticket|story))?(?:\s+is)?(?=[\s*_]*[:#])
        | parent | (?:sub-?(?:issue|task|ticket)|child)\s+of)
    | (?P<after> after | once)
    )(?![\w-])""",
    re.IGNORECASE | re.VERBOSE,
)
_NAME = re.compile(
    r"""(?:
      https?://[^\s/]+/(?P<url_repo>[\w.-]+(?:/[\w.-]+)+?)/(?:-/)?(?:issues|pull)/(?P<url_number>\d+)[^\s),\]]*
    | (?P<repo>[\w.-]+(?:/[\w.-]+)+)\#(?P<number>\d+)
    | \#(?P<hash>\d+(?:\.\d+)*)\b
    | \#?(?P<own>\w(?:[\w-]|\.(?=\w))*)
    )""",
    re.VERBOSE,
)
_FILLER = re.compile(
    r"[\s:*_\[(]*(?:(?:the|both|either|issues?|tasks?|tickets?|beads?|epics?|items?|story|stories"
    r"|(?:completion|landing|merge)\s+of)\b(?![-.])[\s:*_\[(]*)*",
    re.IGNORECASE,
)
_PULL = re.compile(r"(?:PRs?|MRs?|pull\s+requests?|merge\s+requests?)\b", re.IGNORECASE)
_BETWEEN = re.compile(
    r"[\]*_)]*(?:\s*\([^()]*\))*[\]*_]*\s*(?:,\s*(?:and|or)\b|,|;|&|\+|\band\b|\bor\b)\s*", re.IGNORECASE
)
_COLON = re.compile(r"[\s*_]*:[\s*_]*")
_LINE_START = re.compile(r"[\s*_\[\]xX+(>-]*|\s*\d+[.)]\s*[*_]*")
_SENTENCE_END = re.compile(r"[.;!?](?=\s|$)")
_NUMBERS = re.compile(r"\s*\d+(?:\s*(?:,|and|&)\s*\d+)*[\s.]*")
_NOTHING = re.compile(r"[\s*_:-]*(?:none|nothing|n/?a|no|not|tbd)\b", re.IGNORECASE)
_NEGATED = re.compile(
    r"(?:\b(?:not(?!\s+only)|never|no\s+longer|nothing|none|without|neither|nor|cannot|previously|formerly|used\s+to)"
    r"|n['\u2019]t)(?:\s+\w+){0,3}\s*$",
    re.IGNORECASE,
)
_NEAR = 80
"""Characters before a keyword that can turn its sense."""

_QUOTE_OPENS = re.compile(r"(?:^|[\s(])[\"\u201c'\u2018«][\s*_]*$")
_LOOSE = re.compile(r"depend|blocked|wait", re.IGNORECASE)
_BRACKETED = re.compile(r"[^()#]{0,80}\((?=\S)")
_SUBJECT = re.compile(
    r"(?:^|[\s(\[])(?P<name>\#?\w[\w-]*(?:\.\w+)*)[\])]*\s*(?:\([^()]*\))?\s*"
    r"(?:(?:also|now|still|which|that|is|are|itself|currently)\s+)*$",
    re.IGNORECASE,
)
_ORDERS_BEFORE = re.compile(
    r"\b(?:starts?|begins?|do|done|lands?|only|until|work|waits?|schedule[sd]?|runs?|immediately|right|merges?|ships?"
    r"|implement(?:ed)?|defer(?:red)?|tackle)\s*$",
    re.IGNORECASE,
)
_ORDERS_BEHIND = re.compile(
    r"[\])*_]*\s*(?:\([^()]*\)\s*)?(?:is|are|has|have|lands?|ships?|merges?|closes|completes|finishes|establishes)\b",
    re.IGNORECASE,
)
_TOLD = re.compile(r"[\])*_]*\s*(?:\([^()]*\)\s*)?(?:was|were|had|merged|landed|shipped|broke)\b", re.IGNORECASE)
_BOX = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+\[[ xX]\]\s+(?P<rest>.*)$")
_ITEM = re.compile(r"\s*(?:(?:[-*+]|\d+[.)])\s+)?(?:\[[ xX]\]\s+)?")
_TAIL = re.compile(r"(?P<before>.*?\s)\(?(?=(?:\#\d+|[\w.-]+/[\w.-]+\#\d+|https?://\S+/issues/\d+)\)?[\s.]*$)")
_PREPOSITION = re.compile(
    r"\b(?:from|in|of|by|see|to|like|for|with|per|as|fix(?:es)?|close[sd]?|via|than|PR|and)[\s(]*$", re.IGNORECASE
)

_SECTIONS = {
    **dict.fromkeys(
        (
            "blocked by",
            "blocked on",
            "depends on",
            "depends",
            "dependencies",
            "dependency",
            "issue dependencies",
            "requires",
            "prerequisites",
            "prerequisite",
            "blockers",
            "waiting on",
            "waiting for",
            "needs",
        ),
        Relation.NEEDS,
    ),
    **dict.fromkeys(("blocks", "unblocks", "blocking", "required by"), Relation.BLOCKS),
    **dict.fromkeys(
        ("sub-issues", "subissues", "sub issues", "subtasks", "sub-tasks", "children", "child issues"), Relation.CHILD
    ),
    **dict.fromkeys(("parent", "parent issue", "parent epic", "part of", "epic"), Relation.PARENT),
}
_CRITERIA = ("acceptance", "definition of done", "done when", "checklist")
_HISTORY = frozenset({"implementation notes", "final summary", "work log", "changelog", "review notes"})
_GENERIC = frozenset({"task", "issue", "ticket", "story", "bug", "item"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads the references in texts of one backlog. `repository` is its "owner/name", where known."""

    directory: Directory
    repository: str | None = None

    def mentions(self, title: str, lines: Iterable[Line]) -> Iterator[Mention]:
        """Yield what a title and the lines of a body say, in their order; the same may be said twice."""
        yield from self._said(title)
        for line in lines:
            if not _NAMES.search(line.text) or line.code or line.quoted or line.section in _HISTORY:
                continue
            text = without_code(line.text)
            yield from tuple(self._said(text)) or self._listed(text, line.section)

    def target(self, name: str) -> Target:
        """Say which issue a field or a label means: any spelling goes, and whatever it is counts as a reference."""
        found = _NAME.fullmatch(name.strip())
        target = self._target(found) if found else None
        if target is not None:
            return target
        return Target(name=name, id=self.directory.resolve(name.strip().removeprefix("#")))

    def _said(self, text: str) -> Iterator[Mention]:
        words = list(_WORDS.finditer(text)) if _CHEAP.search(text.lower()) else []
        for place, word in enumerate(words):
            until = words[place + 1].start() if place + 1 < len(words) else len(text)
            yield from self._clause(text, word, until)

    def _clause(self, text: str, word: re.Match[str], until: int) -> Iterator[Mention]:
        """Read what one keyword governs: to the next keyword or the end of the sentence."""
        end = _SENTENCE_END.search(text, word.end())
        said = self._targets(text, word, min(until, end.start()) if end else until)
        if not said.targets or (end is not None and end[0] == "?"):
            return
        before = _sentence_before(text, word.start())
        near = before[-_NEAR:]
        if _NEGATED.search(near) or _QUOTE_OPENS.search(near):
            return
        if word.lastgroup == Relation.AFTER and not _orders(before, text[said.end :]):
            return
        subject = _SUBJECT.search(near)
        speaker = self._named(subject["name"]) if subject else None
        start = word.start() - (len(near) - subject.start("name") if subject and speaker else 0)
        words = one_line(text[start : said.end].strip(" *_"))
        for target in said.targets:
            yield Mention(
                relation=said.relation, target=target, words=words, subject=speaker.id if speaker is not None else None
            )

    def _targets(self, text: str, word: re.Match[str], stop: int) -> _Said:
        """Give what follows the keyword."""
        relation = Relation(word.lastgroup or "")
        colon = _COLON.match(text, word.end())
        if colon and _LINE_START.fullmatch(text[: word.start()]):
            targets, end = self._field(text, colon.end(), stop)
            return _Said(relation=relation, targets=targets, end=end)
        targets, end = self._list(text, word.end())
        bracket = _BRACKETED.match(text, word.end(), stop)
        if targets or bracket is None or not _LOOSE.match(word[0]):
            return _Said(relation=relation, targets=targets, end=end)
        # "Depends on the new columns (#12)" names an issue beside the thing that is needed: a hint, no more.
        targets, end = self._list(text, bracket.end())
        return _Said(relation=Relation.AFTER, targets=targets, end=min(len(text), end + 1))

    def _field(self, text: str, start: int, stop: int) -> tuple[list[Target], int]:
        """Read "Depends on: the parser (#12), #13": a line that is a field; every reference in it counts."""
        if _NOTHING.match(text, start, stop):
            return [], stop
        if _NUMBERS.fullmatch(text, start, stop):
            return [self.target(number) for number in re.findall(r"\d+", text[start:stop])], stop
        targets, last = self._list(text, start)
        if targets:
            return targets, last
        return self._every(text, start, stop), stop

    def _every(self, text: str, start: int, stop: int) -> list[Target]:
        found = (
            self._target(name)
            for name in _NAME.finditer(text, start, stop)
            if not re.search(r"\b(?:PR|MR|see)\s*$", text[: name.start()], re.IGNORECASE)
        )
        return [target for target in found if target is not None]

    def _list(self, text: str, start: int) -> tuple[list[Target], int]:
        """Read "#1, #2 (the parser) and #3" from `start` on."""
        targets: list[Target] = []
        at = last = start
        while True:
            at = filler.end() if (filler := _FILLER.match(text, at)) else at
            name = None if _PULL.match(text, at) else _NAME.match(text, at)
            target = self._target(name) if name else None
            if name is None or target is None:
                return targets, last
            targets.append(target)
            last = name.end()
            between = _BETWEEN.match(text, last)
            if between is None:
                return targets, last
            at = between.end()

    def _listed(self, text: str, section: str) -> Iterator[Mention]:
        """Read a line without a keyword: an item of a section that is one, or of a task list."""
        relation = _SECTIONS.get(section)
        box = _BOX.match(text)
        if relation is not None and not _NOTHING.match(text):
            item = _ITEM.match(text)
            start = item.end() if item else 0
            targets = self._list(text, start)[0] or self._every(text, start, len(text))
        elif box is not None and relation is None and not section.startswith(_CRITERIA):
            relation, targets = Relation.CHILD, self._boxed(box["rest"])
        else:
            return
        for target in targets:
            yield Mention(relation=relation, target=target, words=one_line(text))

    def _boxed(self, rest: str) -> list[Target]:
        """Read "#123", "#123 Title" or "Title #123". A number must be an id as it stands: many lists have numbers."""
        targets, _ = self._list(rest, 0)
        tail = None if targets else _TAIL.match(rest)
        if tail is not None and not _PREPOSITION.search(tail["before"]):
            targets, _ = self._list(rest, tail.end())
        return [one for one in targets if one.foreign or self.directory.exact(one.name.lstrip("#")) or "/" in one.name]

    def _named(self, name: str) -> Target | None:
        found = _NAME.fullmatch(name)
        target = self._target(found) if found else None
        return target if target is not None and target.id is not None else None

    def _target(self, name: re.Match[str]) -> Target | None:
        """Say what a match of a name means; None where it is a word like any other."""
        repository = name["url_repo"] or name["repo"]
        if repository is not None:
            ours = self.repository is not None and repository.casefold() == self.repository.casefold()
            number = name["url_number"] or name["number"]
            return Target(name=name[0], id=self.directory.resolve(number) if ours else None, foreign=not ours)
        if name["hash"] is not None:
            return Target(name=name[0], id=self.directory.resolve(name["hash"]))
        return self._own(name["own"])

    def _own(self, name: str) -> Target | None:
        if name.isalpha() or name.isdigit():
            return None
        known = self.directory.exact(name)
        if known is not None:
            return Target(name=name, id=known)
        prefix, _, rest = name.casefold().rpartition("-")
        if prefix == "gh" and rest.isdigit():
            return Target(name=name, id=self.directory.resolve(rest))
        if prefix not in self.directory.prefixes | _GENERIC or not rest[:1].isdigit():
            return None
        return Target(name=name, id=self.directory.resolve(name))


def _sentence_before(text: str, end: int) -> str:
    start = 0
    for mark in _SENTENCE_END.finditer(text, 0, end):
        start = mark.end()
    return text[start:end]


def _orders(before: str, behind: str) -> bool:
    """Tell "After #12" and "start after #12" from "it broke after #12"."""
    if _TOLD.match(behind):
        return False
    starts = _LINE_START.fullmatch(before) is not None
    return starts or bool(_ORDERS_BEFORE.search(before)) or bool(_ORDERS_BEHIND.match(behind))
