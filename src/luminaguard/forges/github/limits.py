"""GitHub's rate limits: how long an answer asks us to wait, and what stops being worth waiting for.

Source: GitHub's "Rate limits for the REST API" and "Best practices": Retry-After first, then x-ratelimit-reset where
nothing remains, else a minute.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from luminaguard.forges.answers import list_at, text_at
from luminaguard.forges.github.line import Answer, Call
from luminaguard.forges.retry_after import bounded, number_in, seconds_in
from luminaguard.model.faults import Unreachable

LONGEST_S = 120.0
"""What one call waits for limits, in all; beyond that the user is told when they end."""

DAY_S = 86_400.0
SECONDARY_S = 60.0
SLACK_S = 1.0
"""Clocks differ: a second after the reset."""


def asked_to_wait(answer: Answer, *, now: float) -> float | None:
    """Give the seconds that the answer asks us to wait, None where it is no limit that we ran into."""
    if answer.status == 200 and _is_limited_query(answer):
        return _until_reset(answer.headers, now) or SECONDARY_S
    if answer.status not in (403, 429):
        return None
    after = seconds_in(answer.headers.get("retry-after"), now=now)
    if after is not None:
        return after
    if answer.headers.get("x-ratelimit-remaining") == "0":
        return _until_reset(answer.headers, now) or SECONDARY_S
    is_said = "retry-after" in answer.headers or "rate-limit" in text_at(answer.body, "documentation_url")
    return SECONDARY_S if is_said or answer.status == 429 else None


def too_long(call: Call, wait_s: float, *, now: float) -> Unreachable:
    """Say when the limit ends."""
    day = "" if wait_s < DAY_S else "%Y-%m-%d "
    ends = datetime.fromtimestamp(now + wait_s, UTC).strftime(f"{day}%H:%M:%S UTC")
    return Unreachable(
        f"GitHub's rate limit stops {call.what} until {ends} ({wait_s:.0f} s)",
        hint="try again then; a GitHub App has a limit of its own",
    )


def _is_limited_query(answer: Answer) -> bool:
    return any(text_at(error, "type") == "RATE_LIMITED" for error in list_at(answer.body, "errors"))


def _until_reset(headers: Mapping[str, str], now: float) -> float | None:
    reset = number_in(headers.get("x-ratelimit-reset"))
    return None if reset is None else bounded(reset - now) + SLACK_S
