"""What an agent is told."""

from dataclasses import dataclass

from luminaguard.model.ids import IssueId


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """One attempt as the agent sees it. `prompt` is the whole text; the rest is for programs that want fields."""

    issue: IssueId
    attempt: int
    prompt: str
    timeout_s: float
