"""GitHub's rate limits: how long an answer asks us to wait, and what stops being worth waiting for.

Source: GitHub's "Rate limits for the REST API" and "Best practices": Retry-After first, then x-ratelimit-reset where
nothing remains, else a minute.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from luminaguard.forges.answers import list_at, text_at
from luminaguard.forges.github.line import Answer, Call
from luminaguard.model.faults import Unreachable

LONGEST_S = 120.0
"""What one call waits for limits, in all; beyond that the user is told when they end."""

SECONDARY_S = 60.0
SLACK_S = 1.0
"""Clocks differ: a second after the reset."""


def asked_to_wait(answer: Answer, *, now: float) -> float | None:
    """Give the seconds that the answer asks us to wait, None where it is no limit that we ran into."""
    if answer.status == 200 and _is_limited_query(answer):
        return _until_reset(answer.headers, now) or SECONDARY_S
    if answer.status not in (403, 429):
        return None
    after = _number(answer.headers.get("retry-after"))
    if after is not None:
        return max(after, 0.0)
    if answer.headers.get("x-ratelimit-remaining") == "0":
        return _until_reset(answer.headers, now) or SECONDARY_S
    is_secondary = "rate-limit" in text_at(answer.body, "documentation_url") or answer.status == 429
    return SECONDARY_S if is_secondary else None


def too_long(call: Call, wait_s: float, *, now: float) -> Unreachable:
    """Say when the limit ends."""
    ends = datetime.fromtimestamp(now + wait_s, UTC).strftime("%H:%M:%S UTC")
    return Unreachable(
        f"GitHub's rate limit stops {call.what} until {ends} ({wait_s:.0f} s)",
        hint="try again then; a GitHub App has a limit of its own",
    )


def _is_limited_query(answer: Answer) -> bool:
    return any(text_at(error, "type") == "RATE_LIMITED" for error in list_at(answer.body, "errors"))


def _until_reset(headers: Mapping[str, str], now: float) -> float | None:
    reset = _number(headers.get("x-ratelimit-reset"))
    return None if reset is None else max(reset - now, 0.0) + SLACK_S


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
