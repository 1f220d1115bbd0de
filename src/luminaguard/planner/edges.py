"""What must land before what, and who says so: fields, labels and text of one issue after the other."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Issue, Notice
from luminaguard.model.plan import Edge
from luminaguard.planner.prose import Line, one_line
from luminaguard.planner.references import Mention, Reader, Relation, Target


class Bond(IntEnum):
    """How firmly an edge holds when the edges go round in a circle; the loosest gives way first."""

    HINT = 0
    FAMILY = 1
    NEED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An edge and how firmly it holds."""

    edge: Edge
    bond: Bond


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """All edges between open issues, and what could not be followed: notices, and the names by issue."""

    claims: tuple[Claim, ...]
    notices: tuple[Notice, ...]
    unknown: Mapping[IssueId, tuple[str, ...]]


@dataclass(slots=True, kw_only=True)
class _Ledger:
    """What has been claimed so far; the first and firmest reason of an edge stays."""

    open: Mapping[IssueId, Issue]
    claims: dict[tuple[IssueId, IssueId], Claim] = field(default_factory=dict)
    notices: dict[tuple[IssueId, str], Notice] = field(default_factory=dict)
    unknown: dict[IssueId, dict[str, None]] = field(default_factory=dict)

    def enter(self, issue: Issue, mention: Mention, why: str) -> None:
        target = mention.target
        if target.id is None:
            self._refuse(issue, target, why)
            return
        subject = mention.subject or issue.id
        if target.id == subject:
            self._note(issue, f"{why} names the issue itself; it does not wait for itself")
            return
        bond = _BONDS[mention.relation]
        # What one issue says about two others is hearsay: it gives way before anything that they say themselves.
        bond = Bond.HINT if subject != issue.id else bond
        inverse = mention.relation in {Relation.BLOCKS, Relation.PARENT}
        before, after = (subject, target.id) if inverse else (target.id, subject)
        self._claim(Claim(edge=Edge(before=before, after=after, why=why), bond=bond))

    def _claim(self, claim: Claim) -> None:
        key = (claim.edge.before, claim.edge.after)
        if key[0] not in self.open or key[1] not in self.open:
            return
        known = self.claims.get(key)
        if known is None or known.bond < claim.bond:
            self.claims[key] = claim

    def _refuse(self, issue: Issue, target: Target, why: str) -> None:
        name = one_line(target.name)
        if target.foreign:
            self._note(issue, f"{why}: {name} is in another repository; it is not waited for")
            return
        self._note(issue, f"{why}: this backlog has no issue {name}; it is not waited for")
        self.unknown.setdefault(issue.id, {})[name] = None

    def _note(self, issue: Issue, text: str) -> None:
        self.notices.setdefault((issue.id, text), Notice(text=text, issue=issue.id, origin=issue.origin))


_BONDS = {
    Relation.NEEDS: Bond.NEED,
    Relation.BLOCKS: Bond.NEED,
    Relation.AFTER: Bond.HINT,
    Relation.CHILD: Bond.FAMILY,
    Relation.PARENT: Bond.FAMILY,
}
_LABEL = re.compile(r"(?P<blocks>blocks)|(?:blocked[-_ ]?by|depends(?:[-_ ]?on)?|requires|needs)", re.IGNORECASE)


def claims(issues: Sequence[Issue], texts: Mapping[IssueId, tuple[Line, ...]], reader: Reader) -> Claims:
    """Collect the edges between open issues. What a closed issue says or was needed for is settled and left out.

    Args:
        issues: the open issues; of two that claim the same edge, a field is named before a text, and the first is.
        texts: the lines of every issue's body.
        reader: reads the references.
    """
    ledger = _Ledger(open={issue.id: issue for issue in issues})
    for issue in ledger.open.values():
        for mention in _fields(issue, reader):
            ledger.enter(issue, mention, mention.words)
    for issue in ledger.open.values():
        for mention in reader.mentions(issue.title, texts[issue.id]):
            ledger.enter(issue, mention, f'{issue.id} says "{mention.words}"')
    return Claims(
        claims=tuple(ledger.claims.values()),
        notices=tuple(ledger.notices.values()),
        unknown={issue: tuple(names) for issue, names in ledger.unknown.items()},
    )


def _fields(issue: Issue, reader: Reader) -> Iterator[Mention]:
    for needed in issue.needs:
        yield _field(Relation.NEEDS, reader.target(needed), f'field "needs" of {issue.id}')
    for blocked in issue.blocks:
        yield _field(Relation.BLOCKS, reader.target(blocked), f'field "blocks" of {issue.id}')
    for label in issue.labels:
        yield from _labelled(issue, label, reader)
    if issue.parent is not None:
        yield _field(Relation.PARENT, reader.target(issue.parent), f'field "parent" of {issue.id}')


def _field(relation: Relation, target: Target, why: str) -> Mention:
    return Mention(relation=relation, target=target, words=why)


def _labelled(issue: Issue, label: str, reader: Reader) -> Iterator[Mention]:
    word, mark, names = label.partition(":")
    found = _LABEL.fullmatch(word.strip()) if mark else None
    if found is None:
        return
    relation = Relation.BLOCKS if found["blocks"] else Relation.NEEDS
    for name in filter(None, (part.strip() for part in names.split(","))):
        yield _field(relation, reader.target(name), f'label "{one_line(label)}" of {issue.id}')
