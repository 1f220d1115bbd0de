"""What an agent says on an issue of a real forge, as we post it: in our name, and plainly not our words.

Our token may close, label and merge, and forges obey words in comments: "/close" at the beginning of a line, "@team",
"fixes #9". So every line is a quotation, and nobody and nothing is called by it.
"""

from luminaguard.reports.escape import uncalled
from luminaguard.reports.wording import plain_lines

FIRST = "The agent that works on this issue says:"


def agent_words(text: str) -> str:
    """Write an agent's comment."""
    lines = uncalled(plain_lines(text)).strip("\n").split("\n")
    return "\n".join((FIRST, "", *(f"> {line}".rstrip() for line in lines)))
