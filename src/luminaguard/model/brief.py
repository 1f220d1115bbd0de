"""What an agent is told."""

from dataclasses import dataclass

from luminaguard.model.ids import IssueId


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """One attempt as the agent sees it. `prompt` is the whole text; the rest is for programs that want fields.

    `key` is the dummy key by which the gateway knows the attempt. `is_review`: it only reads, and answers in words.
    `words_after` is the number of the last of a person's words that the prompt holds.
    """

    issue: IssueId
    attempt: int
    prompt: str
    timeout_s: float
    key: str = ""
    is_review: bool = False
    words_after: int = 0
