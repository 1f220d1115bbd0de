"""Issues and work as facts spell them: the same thing out as went in."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from luminaguard.model.ids import IssueId, Json
from luminaguard.model.issue import Issue, IssueState, Kind
from luminaguard.model.work import FileChange, Finding, Severity, Verdict


def issue_json(issue: Issue) -> dict[str, Json]:
    """Write what an attempt needs to know of an issue, so that a run goes on from its own facts."""
    return {
        "id": issue.id,
        "title": issue.title,
        "body": issue.body,
        "labels": list(issue.labels),
        "kind": issue.kind,
        "author": issue.author,
        "association": issue.association,
        "url": issue.url,
    }


def issue_of(data: Json) -> Issue:
    """Read what `issue_json` wrote."""
    assert isinstance(data, dict)
    labels = data["labels"]
    assert isinstance(labels, list)
    return Issue(
        id=IssueId(str(data["id"])),
        title=str(data["title"]),
        body=str(data["body"]),
        state=IssueState.OPEN,
        labels=tuple(map(str, labels)),
        kind=Kind(str(data["kind"])) if data["kind"] else None,
        author=_text(data["author"]),
        association=_text(data["association"]),
        url=_text(data["url"]),
    )


def _text(value: Json) -> str | None:
    return None if value is None else str(value)


def files_json(files: Sequence[FileChange]) -> list[Json]:
    """Write line counts."""
    return [{"path": it.path, "added": it.added, "removed": it.removed} for it in files]


def files_of(data: Json) -> tuple[FileChange, ...]:
    """Read what `files_json` wrote."""
    rows = [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []
    return tuple(
        FileChange(path=str(row["path"]), added=int(number(row, "added")), removed=int(number(row, "removed")))
        for row in rows
    )


def findings_json(findings: Sequence[Finding]) -> list[Json]:
    """Write findings."""
    return [dict(asdict(it)) for it in findings]


def findings_of(data: Json) -> tuple[Finding, ...]:
    """Read what `findings_json` wrote."""
    rows = [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []
    return tuple(
        Finding(
            severity=Severity(str(row["severity"])),
            file=str(row["file"]),
            line=int(number(row, "line")),
            text=str(row["text"]),
        )
        for row in rows
    )


def verdict_json(verdict: Verdict) -> dict[str, Json]:
    """Write a verdict of the checks."""
    commands: list[Json] = [
        {"command": it.command, "exit_code": it.exit_code, "seconds": it.seconds} for it in verdict.commands
    ]
    return {
        "ok": verdict.ok,
        "why": verdict.why,
        "seconds": verdict.seconds,
        "cached": verdict.cached,
        "commands": commands,
        "log": verdict.log,
    }


def text(data: Mapping[str, Json], key: str) -> str:
    """Read a text of a fact, "" where it is not there."""
    value = data.get(key)
    return "" if value is None else str(value)


def number(data: Mapping[str, Json], key: str) -> float:
    """Read a number of a fact, 0 where it is not there."""
    value = data.get(key)
    return float(value) if isinstance(value, int | float) else 0.0


def texts(data: Mapping[str, Json], key: str) -> tuple[str, ...]:
    """Read a list of texts of a fact."""
    value = data.get(key)
    return tuple(map(str, value)) if isinstance(value, list) else ()
