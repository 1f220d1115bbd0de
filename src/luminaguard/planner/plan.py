"""Issues in, plan out."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Oid, natural
from luminaguard.model.issue import Issue, IssueState, Kind, Notice
from luminaguard.model.plan import Edge, Overlap, Plan, PlannedIssue, Present, Risk, Touch
from luminaguard.planner.circles import settled
from luminaguard.planner.deliverables import deliverables_of
from luminaguard.planner.directory import Directory
from luminaguard.planner.edges import Claim, Claims, claims
from luminaguard.planner.estimates import Estimate, estimate_of
from luminaguard.planner.kinds import kind_of
from luminaguard.planner.overlaps import overlaps_of
from luminaguard.planner.prose import Line, read
from luminaguard.planner.references import Reader
from luminaguard.planner.risks import Known, highest, risks_of
from luminaguard.planner.schedule import forecast
from luminaguard.planner.touches import Files
from luminaguard.planner.waves import dependents_of, waves


@dataclass(frozen=True, slots=True, kw_only=True)
class _Understood:
    """What one issue says by itself."""

    issue: Issue
    kind: Kind
    estimate: Estimate
    touches: tuple[Touch, ...]
    deliverables: tuple[str, ...]


def plan(
    issues: Sequence[Issue],
    *,
    base: Oid | None,
    tracked: frozenset[str],
    present: Mapping[IssueId, Present],
    slots: int,
    select: frozenset[IssueId] | None = None,
    repository: str | None = None,
) -> Plan:
    """Plan the open issues, or those selected and what they need.

    Args:
        issues: all issues, open and closed: what a closed one was needed for is free.
        base: the commit that the plan is made for.
        tracked: the paths that git tracks there.
        present: what already exists for an issue; nothing where it is missing.
        slots: agents at work at once, at least 1.
        select: ids in any spelling that means one issue; None for all that are open.
        repository: "owner/name" of this repository, so that "owner/name#12" is known as ours.

    Raises:
        UserFault: two issues have one id, a selected one does not exist, or firm needs go round in a circle.
    """
    if slots < 1:
        raise UserFault(f"slots must be at least 1, got {slots}", hint="set slots in [run], or use --slots")
    _require_unique(issues)
    directory = Directory(issue.id for issue in issues)
    unfinished = {issue.id: issue for issue in sorted(issues, key=_by_id) if issue.state is IssueState.OPEN}
    texts = {issue.id: read(issue.body) for issue in unfinished.values()}
    said = claims(tuple(unfinished.values()), texts, Reader(directory=directory, repository=repository))
    asked = _asked(unfinished, select, directory)
    chosen = asked.ids if select is None else _with_needs(asked.ids, said.claims)
    kept = settled(
        chosen, [claim for claim in said.claims if claim.edge.after in chosen and claim.edge.before in chosen]
    )
    files = Files(tracked)
    understood = [_understood(unfinished[issue], texts[issue], files) for issue in unfinished if issue in chosen]
    edges = _sorted_edges(kept.claims, understood)
    notices = (*asked.notices, *(notice for notice in said.notices if notice.issue in chosen), *kept.notices)
    return _plan(understood, edges, said, base=base, present=present, slots=slots, notices=notices)


def _plan(
    understood: Sequence[_Understood],
    edges: tuple[Edge, ...],
    said: Claims,
    *,
    base: Oid | None,
    present: Mapping[IssueId, Present],
    slots: int,
    notices: tuple[Notice, ...],
) -> Plan:
    ordered = _needs(understood, edges)
    needs = {issue: frozenset(needed) for issue, needed in ordered.items()}
    overlapping = overlaps_of({one.issue.id: one.touches for one in understood}, needs)
    risks = _risks(understood, needs, said, overlapping.overlaps, present)
    return Plan(
        base=base,
        issues=tuple(
            _planned(one, tuple(ordered[one.issue.id]), risks[one.issue.id], present.get(one.issue.id, Present()))
            for one in understood
        ),
        waves=waves(needs),
        edges=edges,
        overlaps=overlapping.overlaps,
        forecast=forecast(
            needs,
            {one.issue.id: one.estimate.seconds for one in understood},
            {one.issue.id: one.issue.priority for one in understood},
            slots=slots,
        ),
        risks=tuple(risk for own in risks.values() for risk in own),
        notices=(*notices, *overlapping.notices),
    )


def _by_id(issue: Issue) -> tuple[tuple[int, int, str], ...]:
    return natural(issue.id)


def _require_unique(issues: Sequence[Issue]) -> None:
    doubled = [issue for issue, count in Counter(issue.id for issue in issues).items() if count > 1]
    if not doubled:
        return
    first = min(doubled, key=natural)
    places = [f"{issue.origin.path}:{issue.origin.line}" for issue in issues if issue.id == first and issue.origin]
    where = f" ({', '.join(places)})" if places else ""
    more = f", and {len(doubled) - 1} more ids are not unique" if len(doubled) > 1 else ""
    raise UserFault(f"two issues have the id {first}{where}{more}", hint="give one of them another id")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    ids: frozenset[IssueId]
    notices: tuple[Notice, ...] = ()


def _asked(unfinished: Mapping[IssueId, Issue], select: frozenset[IssueId] | None, directory: Directory) -> _Asked:
    """Find the selected issues; a closed one is said and left out."""
    if select is None:
        return _Asked(ids=frozenset(unfinished))
    found = {_found(name, directory) for name in select}
    closed = sorted(found - unfinished.keys(), key=natural)
    return _Asked(
        ids=frozenset(found & unfinished.keys()),
        notices=tuple(
            Notice(text=f"issue {issue} is closed; there is nothing to plan", issue=issue) for issue in closed
        ),
    )


def _found(name: IssueId, directory: Directory) -> IssueId:
    issue = directory.resolve(name.removeprefix("#"))
    if issue is not None:
        return issue
    near = directory.nearest(name)
    hint = f"did you mean {' or '.join(near)}?" if near else "`luminaguard issues` lists the ids"
    raise UserFault(f"there is no issue {name} in this backlog", hint=hint)


def _with_needs(ids: Iterable[IssueId], all_claims: Iterable[Claim]) -> frozenset[IssueId]:
    needs: dict[IssueId, list[IssueId]] = defaultdict(list)
    for claim in all_claims:
        needs[claim.edge.after].append(claim.edge.before)
    chosen = set(ids)
    reached = list(chosen)
    while reached:
        fresh = set(needs[reached.pop()]) - chosen
        chosen |= fresh
        reached.extend(fresh)
    return frozenset(chosen)


def _sorted_edges(kept: Iterable[Claim], understood: Sequence[_Understood]) -> tuple[Edge, ...]:
    place = {one.issue.id: place for place, one in enumerate(understood)}
    return tuple(sorted((claim.edge for claim in kept), key=lambda edge: (place[edge.after], place[edge.before])))


def _understood(issue: Issue, lines: tuple[Line, ...], files: Files) -> _Understood:
    kind = kind_of(issue)
    touches = files.touches(issue, lines)
    return _Understood(
        issue=issue,
        kind=kind,
        estimate=estimate_of(issue, kind, lines),
        touches=touches,
        deliverables=deliverables_of(lines, touches),
    )


def _needs(understood: Iterable[_Understood], edges: Iterable[Edge]) -> dict[IssueId, list[IssueId]]:
    """List what each issue needs, in the order of the edges, which is that of the ids."""
    needs: dict[IssueId, list[IssueId]] = {one.issue.id: [] for one in understood}
    for edge in edges:
        needs[edge.after].append(edge.before)
    return needs


def _risks(
    understood: Iterable[_Understood],
    needs: Mapping[IssueId, frozenset[IssueId]],
    said: Claims,
    overlaps: Iterable[Overlap],
    present: Mapping[IssueId, Present],
) -> dict[IssueId, tuple[Risk, ...]]:
    dependents = dependents_of(needs)
    own: dict[IssueId, list[Overlap]] = defaultdict(list)
    for overlap in overlaps:
        own[overlap.a].append(overlap)
        own[overlap.b].append(overlap)
    return {
        one.issue.id: risks_of(
            Known(
                issue=one.issue,
                kind=one.kind,
                estimate_s=one.estimate.seconds,
                touches=one.touches,
                deliverables=one.deliverables,
                present=present.get(one.issue.id, Present()),
                dependents=len(dependents[one.issue.id]),
                overlaps=tuple(own[one.issue.id]),
                unknown=said.unknown.get(one.issue.id, ()),
            )
        )
        for one in understood
    }


def _planned(one: _Understood, needs: tuple[IssueId, ...], risks: tuple[Risk, ...], present: Present) -> PlannedIssue:
    return PlannedIssue(
        issue=one.issue,
        kind=one.kind,
        needs=needs,
        estimate_s=one.estimate.seconds,
        estimate_from=one.estimate.source,
        risk=highest(risks),
        touches=one.touches,
        present=present,
        deliverables=one.deliverables,
    )
