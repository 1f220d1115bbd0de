"""What our reviews say in words, the same on every forge."""

from collections.abc import Sequence

from luminaguard.model.work import Finding


def on_its_line(finding: Finding) -> str:
    """Say a finding where its place shows by itself."""
    return f"**{finding.severity}**: {finding.text}"


def with_findings(text: str, findings: Sequence[Finding]) -> str:
    """Put findings that stand on no line beneath a text, each with its place."""
    listed = "\n".join(f"- **{one.severity}** `{_place(one)}`: {one.text}" for one in findings)
    return f"{text}\n\n{listed}" if listed else text


def _place(finding: Finding) -> str:
    return f"{finding.file}:{finding.line}" if finding.line else finding.file
