"""A plan for a person: plain text, Markdown, Mermaid."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence

from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Notice
from luminaguard.model.plan import Edge, Level, Overlap, Plan, PlannedIssue
from luminaguard.reports.checklist import attempt_checklist
from luminaguard.reports.escape import code, markdown, prose, table
from luminaguard.reports.wording import columns, counted, cut, fitted, ids, lasting, plain

_NARROWEST = 40


def plan_table(plan: Plan, *, width: int) -> str:
    """Write the plan as plain text: a line an issue by wave, then why they stand there, forecast, risks, notices."""
    room = max(width, _NARROWEST)
    blocks = [
        [_headline(plan)],
        *_waves(plan, room),
        _block("Order", (f"#{edge.before} before #{edge.after}: {edge.why}" for edge in plan.edges), room),
        _block("Overlaps", map(_overlap, plan.overlaps), room),
        _block("Forecast", [_forecast(plan)], room),
        _block("Risks", _risks(plan), room),
        _block("Notices", map(_notice, plan.notices), room),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _headline(plan: Plan) -> str:
    base = f", from {plain(plan.base)[:12]}" if plan.base else ""
    return f"{counted(len(plan.issues), 'issue')} in {counted(len(plan.waves), 'wave')}{base}"


def _waves(plan: Plan, room: int) -> Iterator[list[str]]:
    items = _by_id(plan)
    first = max((columns(plain(issue)) + 1 for issue in items), default=0)
    first = min(first, room // 3)
    for number, wave in enumerate(plan.waves, start=1):
        yield [f"Wave {number}", *(_line(items[issue], first, room) for issue in wave if issue in items)]


def _by_id(plan: Plan) -> Mapping[IssueId, PlannedIssue]:
    return {item.issue.id: item for item in plan.issues}


def _line(item: PlannedIssue, first: int, room: int) -> str:
    tail = f"{item.kind:<14}  {lasting(item.estimate_s):>12}  {item.risk:<6}  {plain(item.present.left_to_do)}"
    title_room = max(room - first - columns(tail) - 6, 16)
    head = f"  {fitted(f'#{plain(item.issue.id)}', width=first)}  {fitted(plain(item.issue.title), width=title_room)}"
    return cut(f"{head}  {tail}", width=room).rstrip()


def _block(title: str, lines: Iterable[str], room: int) -> list[str]:
    wrapped = [row for line in lines for row in _wrapped(plain(line), room)]
    return [title, *wrapped] if wrapped else []


def _wrapped(line: str, room: int) -> list[str]:
    rows = textwrap.wrap(line, width=room, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
    # textwrap counts characters; where they are two columns wide each, the row is cut.
    return [cut(row, width=room) for row in rows]


def _overlap(overlap: Overlap) -> str:
    return f"#{overlap.a} and #{overlap.b} may both change {', '.join(overlap.paths)} ({overlap.probability:.0%})"


def _forecast(plan: Plan) -> str:
    forecast = plan.forecast
    return (
        f"{lasting(forecast.makespan_s)} with {counted(forecast.slots, 'slot')}; "
        f"lower bound {lasting(forecast.lower_bound_s)}; one after the other {lasting(forecast.sequential_s)}"
    )


def _risks(plan: Plan) -> Iterator[str]:
    low = sum(1 for risk in plan.risks if risk.risk is Level.LOW)
    yield from (f"#{it.issue} {it.risk}: {it.why}. {it.mitigation}" for it in plan.risks if it.risk is not Level.LOW)
    if low:
        yield f"{counted(low, 'low risk')}: luminaguard plan --markdown tells them"


def _notice(notice: Notice) -> str:
    about = f"#{notice.issue}: " if notice.issue else ""
    place = f" ({notice.origin.path}:{notice.origin.line})" if notice.origin else ""
    return f"{about}{notice.text}{place}"


def plan_markdown(plan: Plan, *, target: str = "the target", checks: Sequence[str] = ()) -> str:
    """Write the plan in Markdown, with the graph and a checklist for each issue; all text of issues is escaped."""
    parts = [
        "# Plan",
        f"{_headline(plan)}. {_forecast(plan)}.",
        *_wave_tables(plan),
        f"## Graph\n\n```mermaid\n{plan_mermaid(plan)}```",
        _rows("Order", ["First", "Then", "Why"], map(_edge_row, plan.edges)),
        _rows("Overlaps", ["Issues", "Files", "Probability"], map(_overlap_row, plan.overlaps)),
        _rows(
            "Risks",
            ["Issue", "Risk", "Why", "Mitigation"],
            ([_number(risk.issue), risk.risk, markdown(risk.why), markdown(risk.mitigation)] for risk in plan.risks),
        ),
        *(_detail(item, target=target, checks=checks) for item in plan.issues),
        _list("Notices", map(_notice, plan.notices)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _wave_tables(plan: Plan) -> Iterator[str]:
    items = _by_id(plan)
    for number, wave in enumerate(plan.waves, start=1):
        rows = (_issue_row(items[issue]) for issue in wave if issue in items)
        yield _rows(f"Wave {number}", ["Issue", "Title", "Kind", "Needs", "Estimate", "Risk", "Left to do"], rows)


def _issue_row(item: PlannedIssue) -> list[str]:
    return [
        _number(item.issue.id),
        markdown(item.issue.title),
        item.kind,
        markdown(ids(item.needs)) or "-",
        f"{lasting(item.estimate_s)} ({markdown(item.estimate_from)})",
        item.risk,
        markdown(item.present.left_to_do),
    ]


def _number(issue: IssueId) -> str:
    return f"#{markdown(issue)}"


def _edge_row(edge: Edge) -> list[str]:
    return [_number(edge.before), _number(edge.after), prose(edge.why)]


def _overlap_row(overlap: Overlap) -> list[str]:
    paths = ", ".join(map(code, overlap.paths))
    return [f"{_number(overlap.a)}, {_number(overlap.b)}", paths, f"{overlap.probability:.0%}"]


def _rows(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    held = list(rows)
    return f"## {title}\n\n{table(head, held)}" if held else ""


def _list(title: str, lines: Iterable[str]) -> str:
    held = "\n".join(f"- {markdown(line)}" for line in lines)
    return f"## {title}\n\n{held}" if held else ""


def _detail(item: PlannedIssue, *, target: str, checks: Sequence[str]) -> str:
    present = item.present
    there = (
        f"Branch {code(present.branch)}, {counted(present.commits_ahead, 'commit')} ahead. " if present.branch else ""
    )
    pull = f"Pull request {markdown(present.pull_request)}. " if present.pull_request else ""
    files = ", ".join(f"{code(touch.path)} ({touch.source}, {touch.confidence:.0%})" for touch in item.touches)
    listed = attempt_checklist((), deliverables=item.deliverables, target=target, checks=checks)
    lines = [
        f"## {_number(item.issue.id)} {markdown(item.issue.title)}",
        f"{there}{pull}Left to do: {markdown(present.left_to_do)}.",
        f"Files expected: {files}." if files else "",
        "\n".join(f"- [ ] {prose(entry.text)}" for entry in listed),
    ]
    return "\n\n".join(line for line in lines if line)


def plan_mermaid(plan: Plan) -> str:
    """Draw the plan as a Mermaid flowchart, a subgraph for each wave."""
    nodes = _nodes(plan)
    lines = ["flowchart LR"]
    items = _by_id(plan)
    for number, wave in enumerate(plan.waves, start=1):
        lines.append(f'  subgraph wave{number}["Wave {number}"]')
        lines += [f'    {nodes[issue]}["{_label(items[issue])}"]' for issue in wave if issue in items]
        lines.append("  end")
    lines += [
        f"  {nodes[edge.before]} --> {nodes[edge.after]}"
        for edge in plan.edges
        if edge.before in nodes and edge.after in nodes
    ]
    return "\n".join(lines) + "\n"


def _nodes(plan: Plan) -> Mapping[IssueId, str]:
    # The place keeps "a-b" and "a_b" apart, and no word of the language ("end") is made.
    return {item.issue.id: f"n{place}_{_letters(item.issue.id)}" for place, item in enumerate(plan.issues)}


def _letters(issue: IssueId) -> str:
    return "".join(char if char.isascii() and char.isalnum() else "_" for char in issue)


def _label(item: PlannedIssue) -> str:
    title = cut(plain(item.issue.title), width=60)
    return "".join(_mermaid_char(char) for char in f"#{plain(item.issue.id)} {title}")


def _mermaid_char(char: str) -> str:
    # Mermaid's own entities: "#35;" is "#". Letters of any alphabet stay.
    return char if char.isalnum() or char in " .,-+=/()" else f"#{ord(char)};"
