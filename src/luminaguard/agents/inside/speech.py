"""What a driver prints: the agent's own words as they are, and a plain line for each thing that it does."""

import sys
from collections.abc import Sequence

LINE_CHARS = 400
_TABLE = dict.fromkeys(range(32), " ") | {127: " "}
_at_line_start = True


def say(text: str) -> None:
    """Print the agent's words as they are, also in pieces."""
    global _at_line_start  # noqa: PLW0603 standard output is one, and so is where it stands
    if not text:
        return
    sys.stdout.write(text)
    sys.stdout.flush()
    _at_line_start = text.endswith("\n")


def end_line() -> None:
    """Go to the start of a line, where we are not there."""
    if not _at_line_start:
        say("\n")


def tell(line: str) -> None:
    """Print a line of ours, alone on its line and of bounded length."""
    end_line()
    say(shortened(line.translate(_TABLE), LINE_CHARS * 4) + "\n")


def command(text: str) -> None:
    """Tell of a command that is run."""
    first, *more = text.strip().splitlines() or [""]
    tell(f"$ {shortened(first, LINE_CHARS)}{' …' if more else ''}")


def usage(*, tokens_in: int, tokens_out: int, usd: float | None = None) -> None:
    """Tell what the agent says it has used; what counts is what the gateway has counted."""
    tell(f"usage: {tokens_in} tokens in, {tokens_out} out" + (f", {usd:.4f} USD" if usd else ""))


def plan(entries: Sequence[tuple[str, str]]) -> None:
    """Tell a plan: pairs of what and how it stands."""
    marks = {"completed": "x", "in_progress": ">", "cancelled": "-"}
    tell("plan: " + "; ".join(f"[{marks.get(status, ' ')}] {shortened(what, 120)}" for what, status in entries))


def shortened(text: str, chars: int) -> str:
    """Cut a text that is too long, and show that it was cut."""
    return text if len(text) <= chars else text[: chars - 1] + "…"
