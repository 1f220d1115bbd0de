"""What is asked: an issue as a tracker or a backlog file tells it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from luminaguard.model.ids import IssueId, Json


class IssueState(StrEnum):
    """Whether an issue still asks for something."""

    OPEN = "open"
    CLOSED = "closed"


class Kind(StrEnum):
    """What sort of work an issue asks for."""

    RESEARCH = "research"
    DESIGN = "design"
    IMPLEMENTATION = "implementation"
    BUG = "bug"
    DOCS = "docs"
    TEST = "test"
    CHORE = "chore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an issue was read: a file and the line (from 1) that it begins on."""

    path: str
    line: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One issue. Text fields are untrusted: nothing may run them or put them unfenced into a prompt.

    `needs` and `blocks` hold only what the tracker's own fields say; what the text says is the planner's to read.
    `priority` is 0 (most urgent) to 4; `estimate_s` is in seconds; `touches` are paths declared by a field.
    `association` is the author's standing as GitHub spells it in lower case ("owner", "member", "none"), None where
    the source does not say. `extra` keeps the keys that we do not know, as they stood.
    """

    id: IssueId
    title: str
    body: str = ""
    state: IssueState = IssueState.OPEN
    labels: tuple[str, ...] = ()
    kind: Kind | None = None
    needs: tuple[IssueId, ...] = ()
    blocks: tuple[IssueId, ...] = ()
    parent: IssueId | None = None
    priority: int | None = None
    estimate_s: float | None = None
    touches: tuple[str, ...] = ()
    author: str | None = None
    association: str | None = None
    milestone: str | None = None
    url: str | None = None
    origin: Origin | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that a reader or the planner could not take at its word, where work can go on all the same."""

    text: str
    issue: IssueId | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Issues in the order of their source, and what the reader has to say about them."""

    issues: tuple[Issue, ...]
    notices: tuple[Notice, ...] = ()
