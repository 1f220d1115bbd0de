"""What may go wrong with an issue, why we think so, and what is done about it."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from luminaguard.model.issue import Issue, Kind
from luminaguard.model.plan import Level, Overlap, Present, Risk, Touch
from luminaguard.planner.prose import one_line

_LEVELS = (Level.LOW, Level.MEDIUM, Level.HIGH)
_BUILD = re.compile(
    r"(?:^|/)(?:\.github/|\.gitlab-ci|\.ci/|\.circleci/|\.forgejo/|\.gitea/|azure-pipelines|jenkinsfile|makefile$|justfile$|dockerfile"
    r"|cmakelists\.txt$|pyproject\.toml$|setup\.(?:py|cfg)$|tox\.ini$|noxfile\.py$|package\.json$|tsconfig[\w.]*\.json$"
    r"|cargo\.toml$|build\.rs$|go\.mod$|build\.gradle|pom\.xml$|meson\.build$|conftest\.py$)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All that is known of an issue before it starts. `overlaps` are its own; `dependents` wait for it directly."""

    issue: Issue
    kind: Kind
    estimate_s: float
    touches: tuple[Touch, ...]
    deliverables: tuple[str, ...]
    present: Present
    dependents: int
    overlaps: tuple[Overlap, ...]
    unknown: tuple[str, ...]


def risks_of(known: Known) -> tuple[Risk, ...]:
    """List the risks of an issue, highest first."""
    found = [risk for rule in _RULES for risk in rule(known)]
    return tuple(sorted(found, key=lambda risk: -_LEVELS.index(risk.risk)))


def highest(risks: tuple[Risk, ...]) -> Level:
    """Say how much risk there is in all; low where nothing is known to be wrong."""
    return max((risk.risk for risk in risks), key=_LEVELS.index, default=Level.LOW)


def _risk(known: Known, level: Level, why: str, mitigation: str) -> Risk:
    return Risk(issue=known.issue.id, risk=level, why=why, mitigation=mitigation)


def _words(known: Known) -> Iterator[Risk]:
    if not known.issue.body.strip():
        why, mitigation = "it has a title and no description", "describe what must be there in the end before the run"
        yield _risk(
            known, Level.MEDIUM, why, f"{mitigation}; a change that misses the point still has to pass the checks"
        )
    elif not known.deliverables:
        why = "it names no deliverable and no acceptance criteria"
        yield _risk(
            known,
            Level.LOW,
            why,
            'add a list "Acceptance criteria" to the issue; it becomes the checklist of the attempt',
        )


def _fan_out(known: Known) -> Iterator[Risk]:
    if known.dependents < 3:
        return
    level = Level.HIGH if known.dependents >= 8 else Level.MEDIUM
    mitigation = "what has the longest path behind it starts first; if this one is held, only those that need it wait"
    yield _risk(known, level, f"{known.dependents} issues wait for it", mitigation)


def _overlapping(known: Known) -> Iterator[Risk]:
    if not known.overlaps:
        return
    worst = max(known.overlaps, key=lambda overlap: overlap.probability)
    other = worst.b if worst.a == known.issue.id else worst.a
    more = len(known.overlaps) - 1
    others = f"{other} and {more} more" if more else other
    level = Level.MEDIUM if worst.probability >= 0.3 else Level.LOW
    why = f"it may change {one_line(worst.paths[0])} at the same time as {others}"
    mitigation = (
        "they land one by one, each checked on top of the last; a conflict goes back to the agent with both sides"
    )
    yield _risk(known, level, why, mitigation)


def _size(known: Known) -> Iterator[Risk]:
    hours = known.estimate_s / 3600
    if hours <= 4:
        return
    level = Level.HIGH if hours > 8 else Level.MEDIUM
    mitigation = "split the issue, or raise minutes_per_issue in [budget]; commits that were made are kept either way"
    yield _risk(known, level, f"it is estimated at {hours:.3g} hours", mitigation)


def _unknown(known: Known) -> Iterator[Risk]:
    if not known.unknown:
        return
    why = f"it refers to {', '.join(known.unknown[:5])}, which this backlog does not have"
    yield _risk(
        known, Level.MEDIUM, why, "correct the reference, or make sure that the work it names is on the target already"
    )


def _begun(known: Known) -> Iterator[Risk]:
    present = known.present
    if present.branch is None or present.commits_ahead == 0:
        return
    commits = "1 commit" if present.commits_ahead == 1 else f"{present.commits_ahead} commits"
    mitigation = "the attempt goes on from that branch, with the target merged into it first"
    yield _risk(
        known, Level.LOW, f"branch {one_line(present.branch)} already holds {commits} that have not landed", mitigation
    )


def _build(known: Known) -> Iterator[Risk]:
    paths = [touch.path for touch in known.touches if _BUILD.search(touch.path)]
    if not paths:
        return
    why = f"it is expected to change how the project is built or checked: {', '.join(map(one_line, paths[:3]))}"
    mitigation = 'checks run on exactly the tree that would land; approve = "human" in [landing] lets you read it first'
    yield _risk(known, Level.MEDIUM, why, mitigation)


def _words_only(known: Known) -> Iterator[Risk]:
    if known.kind in {Kind.RESEARCH, Kind.DOCS}:
        why = "its result is a document, and checks say little about documents"
        yield _risk(known, Level.LOW, why, "read it in the report, or set a [review] agent that does")


_RULES: tuple[Callable[[Known], Iterator[Risk]], ...] = (
    _words, _fan_out, _overlapping, _size, _unknown, _begun, _build, _words_only,
)  # fmt: skip
