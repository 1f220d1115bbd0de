"""How a copied issue is known again: by hidden marks in its text that name what it is a copy of.

An issue has one name where it lies, "issues.json#1", and one for each place that it was copied from. Names alone may
meet by chance: two files are called alike, a server has a repository of the same name. So a mark also tells where its
source lies, and who shares a name from elsewhere is the same issue only under the same title.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Issue

# Marks had no "at" once, and are still there.
_MARK = re.compile(r"\n*<!-- luminaguard: copy of (?P<of>[^\n]*?)(?: at (?P<at>[0-9a-f]{12}))? -->\s*")
_OURS = re.compile(r"<!-- luminaguard:[^\n]*? -->")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What an issue is a copy of: `of` is the name, `at` a digest of where the source lies, "" in old marks."""

    of: str
    at: str = ""

    def __str__(self) -> str:
        at = f" at {self.at}" if self.at else ""
        return f"<!-- luminaguard: copy of {self.of}{at} -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where issues lie: what it is called, and what tells it from others of that name; "" where the name does."""

    name: str
    where: str = ""

    def mark(self, issue: IssueId) -> Mark:
        """Name one of its issues."""
        at = sha256(self.where.encode(errors="surrogateescape")).hexdigest()[:12] if self.where else ""
        return Mark(of=f"{self.name}#{issue}", at=at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is there of an issue: `same` is the issue itself or a copy, `others` only share a name with it."""

    same: Issue | None
    others: tuple[Issue, ...]


class Shelf:
    """The issues of a place, to be found by every name that they have."""

    def __init__(self, place: Place, issues: Iterable[Issue]) -> None:
        self.place = place
        self._named: defaultdict[str, list[tuple[str, Issue]]] = defaultdict(list)
        for issue in issues:
            self.put(issue)

    def put(self, issue: Issue) -> None:
        """Add one more."""
        for mark in _names(issue, self.place):
            self._named[mark.of].append((mark.at, issue))

    def find(self, issue: Issue, *, of: Place) -> Found:
        """Look for an issue that lies at `of`: sooner the one whose mark tells the place than one of its title."""
        ranked = [
            (at == mark.at, one_line(here.title) == one_line(issue.title), here)
            for mark in _names(issue, of)
            for at, here in self._named.get(mark.of, [])
        ]
        same = max((it for it in ranked if it[0] or it[1]), key=lambda it: it[:2], default=None)
        return Found(same=None if same is None else same[2], others=tuple(it[2] for it in ranked if not any(it[:2])))

    def lost(self, issue: Issue) -> tuple[IssueId, ...]:
        """Name what the issue says to be a copy of here, and what is not on the shelf."""
        own = f"{self.place.name}#"
        said = [mark.of for mark in marks_in(issue.body) if mark.of.startswith(own)]
        return tuple(IssueId(of.removeprefix(own)) for of in said if of not in self._named)


def marked(body: str, mark: Mark) -> str:
    """Give a text with the mark of a copy, beneath the marks that it has from other places."""
    kept = [it for it in marks_in(body) if it.of != mark.of]
    plain = _MARK.sub("\n\n", body).strip("\n").rstrip()
    marks = "\n".join(str(it) for it in (*kept, mark))
    return f"{plain}\n\n{marks}" if plain else marks


def marks_in(body: str) -> tuple[Mark, ...]:
    """Tell what an issue is a copy of, oldest first."""
    return tuple(Mark(of=found["of"], at=found["at"] or "") for found in _MARK.finditer(body))


def is_copy(issue: Issue, mark: Mark) -> bool:
    """Tell whether an issue says to be a copy of what has this name."""
    return any(it.of == mark.of for it in marks_in(issue.body))


def is_alike(one: Issue, other: Issue) -> bool:
    """Tell whether two issues say the same, whatever marks of ours they have."""
    return one_line(one.title) == one_line(other.title) and _said(one) == _said(other)


def one_line(title: str) -> str:
    """Give a title as every forge keeps it."""
    return " ".join(title.split())


def _said(issue: Issue) -> str:
    return one_line(_OURS.sub("", issue.body))


def _names(issue: Issue, place: Place) -> tuple[Mark, ...]:
    return (place.mark(issue.id), *marks_in(issue.body))
