"""The report of a run as one HTML file: no network, no script, everything escaped."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from luminaguard.reports.events import changes_text
from luminaguard.reports.standing import State
from luminaguard.reports.status_text import totals_text
from luminaguard.reports.task import TaskView
from luminaguard.reports.view import RunView
from luminaguard.reports.wording import clock, cut, lasting, plain, stamp

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --agent: #4477aa; --checks: #228833; --queue: #ccbb44;
  --review: #aa3377 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 }
td, th { border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: left; vertical-align: top;
  overflow-wrap: anywhere }
code { font-size: .9em } svg { width: 100%; height: auto } svg text { font-size: 12px; fill: currentColor }
.agent { fill: var(--agent) } .checks { fill: var(--checks) } .queue { fill: var(--queue) }
.review { fill: var(--review) }
.landed { color: #228833 } .held, .failed, .approval { color: #cc3311 }
"""
_LEFT, _WIDTH, _ROW = 220, 1000, 24
_LANES: Mapping[str, tuple[int, int]] = {"queue": (6, 12), "agent": (3, 18), "review": (3, 18), "checks": (9, 6)}
"""Top and height of each bar in its row; the checks show inside the queue that they are part of."""


def report_html(view: RunView) -> str:
    """Write the whole report."""
    title = f"Run {_text(view.run)}"
    sections = "\n".join(
        f"<h2>{name}</h2>\n{body}"
        for name, body in (
            ("Final verification", _verification(view)),
            ("When what ran", gantt(view)),
            ("Issues", _issues(view)),
            ("What waits for a person", _holds(view)),
            ("Findings", _findings(view)),
            ("Statistics", _statistics(view)),
            ("Timeline", _timeline(view)),
        )
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<style>{_STYLE}</style></head>\n"
        f"<body><h1>{title}</h1>\n<p>{_text(totals_text(view))}</p>\n{sections}\n</body></html>\n"
    )


def _text(text: str | None) -> str:
    return escape(plain(text or ""))


def _code(text: str | None) -> str:
    return f"<code>{_text(text)}</code>" if text else "-"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> str:
    if not rows:
        return f"<p>{empty}</p>"
    top = "".join(f"<th>{name}</th>" for name in head)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>\n{body}</table>"


def _verification(view: RunView) -> str:
    found = view.verified
    rows = [
        ["Every landed commit is on the target", _yes(found.commits_on_target)],
        ["Every landed tree is one that the checks passed on", _yes(found.trees_tested)],
        ["Every landed issue is closed", _yes(found.issues_closed)],
        *([[_text(detail), ""] for detail in found.details]),
    ]
    return _table(["What", "True"], rows if found.made else [], empty="Not made yet.")


def _yes(*answers: bool) -> str:
    return "yes" if all(answers) else "no"


def gantt(view: RunView) -> str:
    """Draw the bars of each issue as SVG: agent, review, queue, and the checks inside it."""
    begun = min((span.start for task in view.tasks for span in task.spans), default=0.0)
    end = max((span.end for task in view.tasks for span in task.spans), default=0.0)
    if end <= begun:
        return "<p>Nothing ran yet.</p>"
    scale = (_WIDTH - _LEFT - 10) / (end - begun)
    height = _ROW * (len(view.tasks) + 1)
    rows = "\n".join(
        row for place, task in enumerate(view.tasks) for row in _bars(task, place * _ROW, begun=begun, scale=scale)
    )
    axis = (
        f'<text x="{_LEFT}" y="{height - 6}">T+{clock(0)}</text>'
        f'<text x="{_WIDTH - 10}" y="{height - 6}" text-anchor="end">T+{clock(end - begun)}</text>'
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="Bars by issue">\n{rows}\n{axis}</svg>\n{_LEGEND}'
    )


_LEGEND = (
    '<svg viewBox="0 0 1000 20">'
    + "".join(
        f'<rect class="{kind}" x="{_LEFT + place * 100}" y="4" width="12" height="12"/>'
        f'<text x="{_LEFT + place * 100 + 18}" y="14">{kind}</text>'
        for place, kind in enumerate(_LANES)
    )
    + "</svg>"
)


def _bars(task: TaskView, top: int, *, begun: float, scale: float) -> Iterator[str]:
    yield f'<text x="0" y="{top + 16}">{_text(cut(plain(f"#{task.id} {task.title}"), width=30))}</text>'
    for span in sorted(task.spans, key=lambda span: list(_LANES).index(span.kind)):
        down, tall = _LANES[span.kind]
        left, width = _LEFT + (span.start - begun) * scale, max((span.end - span.start) * scale, 1.0)
        yield (
            f'<rect class="{span.kind}" x="{left:.1f}" y="{top + down}" width="{width:.1f}" height="{tall}">'
            f"<title>{span.kind} {lasting(span.end - span.start)}</title></rect>"
        )


def _issues(view: RunView) -> str:
    rows = [
        [
            f"#{_text(task.id)} {_text(task.title)}",
            f'<span class="{task.state.value}">{task.state.value}</span>',
            _text(task.pull_request) or "-",
            _code(task.branch),
            _code((task.commit or "")[:12]),
            "<br>".join(f"{_code(file.path)} +{file.added} -{file.removed}" for file in task.files) or "-",
            str(len(task.attempts)),
        ]
        for task in view.tasks
    ]
    return _table(["Issue", "State", "Pull request", "Branch", "Commit", "Files", "Attempts"], rows, empty="No issues.")


def _holds(view: RunView) -> str:
    rows = [
        [f"#{_text(task.id)} {_text(task.title)}", _text(task.hold.why), _text(task.hold.who), _code(task.hold.how)]
        for task in view.tasks
        if task.hold
    ]
    return _table(["Issue", "Why", "Who must act", "What to type"], rows, empty="Nothing.")


def _findings(view: RunView) -> str:
    rows = [
        [finding.severity.value, f"#{_text(task.id)}", _code(f"{finding.file}:{finding.line}"), _text(finding.text)]
        for task in view.tasks
        for finding in task.findings
    ]
    none = "No findings." if view.review_asked else "No review was asked for."
    return _table(["Severity", "Issue", "Where", "What"], rows, empty=none)


def _statistics(view: RunView) -> str:
    totals = view.totals
    landed = tuple(file for task in view.tasks if task.state is State.LANDED for file in task.files)
    rows = [
        ["Landed", f"{totals.landed} of {totals.issues}: {changes_text(landed)}"],
        ["Agent starts, reworks", f"{totals.agent_starts}, {totals.reworks}"],
        ["Check runs, conflicts", f"{totals.check_runs}, {totals.conflicts}"],
        ["Wall time", lasting(totals.wall_s)],
        ["Lower bound", lasting(totals.lower_bound_s)],
        ["One after the other", lasting(totals.sequential_s)],
        ["Started", stamp(view.started) if view.started is not None else "-"],
        ["Isolation in force", f"{_text(view.isolation) or 'unknown'} {_text(view.isolation_reason)}"],
    ]
    return _table(["What", "Number"], rows, empty="")


def _timeline(view: RunView) -> str:
    rows = [
        [f"T+{clock(entry.t_s)}", f"#{_text(entry.issue)}" if entry.issue else "run", _text(entry.what)]
        for entry in view.timeline
    ]
    return _table(["When", "Issue", "What"], rows, empty="Nothing has happened yet.")
