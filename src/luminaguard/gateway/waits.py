"""When a provider says "not now": until when, and why. Pure."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from luminaguard.model.ids import Json

UNTOLD_S = 60.0
"""How long a limit without a time is taken to hold."""
LONGEST_S = 8 * 24 * 3600.0
WHY_CHARS = 300
PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
EPOCH_MS, EPOCH_S = 1e11, 1e8
"""Above these a plain number is a point in time, in milliseconds or seconds."""


def told_wait_s(headers: Mapping[str, str], body: bytes, *, now: float) -> float | None:
    """Give the seconds that a 429 or 529 says to wait; None where it says nothing."""
    told = _milliseconds(headers.get("retry-after-ms"))
    if told is None:
        told = _seconds(headers.get("retry-after"), now=now)
    if told is None:
        told = _resets_s(headers, now=now)
    if told is None:
        told = _retry_delay_s(body)
    return None if told is None else min(max(told, 0.0), LONGEST_S)


def why_limited(body: bytes) -> str:
    """Give the provider's own words."""
    try:
        said: Json = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    error = said.get("error") if isinstance(said, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message[:WHY_CHARS] if isinstance(message, str) and message else "rate limited"


def _milliseconds(text: str | None) -> float | None:
    number = _number(text)
    return None if number is None else number / 1000


def _seconds(text: str | None, *, now: float) -> float | None:
    """Read a number of seconds, a duration such as "6m0s", or a point in time in one of the spellings in use."""
    if text is None:
        return None
    number = _number(text)
    if number is not None:
        if number >= EPOCH_MS:
            return number / 1000 - now
        return number - now if number >= EPOCH_S else number
    parts = PART.findall(text)
    if parts and not PART.sub("", text).strip():
        return sum(float(much) * SECONDS[unit] for much, unit in parts)
    when = _time(text)
    return None if when is None else when - now


def _number(text: str | None) -> float | None:
    if text is None or not re.fullmatch(r"\s*\d{1,16}(\.\d{1,9})?\s*", text):
        return None
    return float(text)


def _time(text: str) -> float | None:
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        try:
            when = parsedate_to_datetime(text)
        except ValueError:
            return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _resets_s(headers: Mapping[str, str], *, now: float) -> float | None:
    """Take the latest of the resets; those of allowances that are used up, where the answer says which are."""
    resets: dict[str, float] = {}
    for name, value in headers.items():
        if "ratelimit" in name and "reset" in name:
            told = _seconds(value, now=now)
            if told is not None:
                resets[name] = told
    used_up = [told for name, told in resets.items() if _number(headers.get(_remaining(name))) == 0]
    return max(used_up or resets.values(), default=None)


def _remaining(name: str) -> str:
    """Name the header that says what is left: "x-ratelimit-remaining-tokens" for "x-ratelimit-reset-tokens"."""
    return name.replace("reset", "remaining")


def _retry_delay_s(body: bytes) -> float | None:
    """Read Google's RetryInfo, which stands in the body."""
    found = re.search(rb'"retryDelay"\s*:\s*"(\d+(?:\.\d+)?)s"', body[:65536])
    return None if found is None else float(found[1])
