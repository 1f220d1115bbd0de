"""When a server wants to be asked again: seconds or a date, as RFC 9110 allows; what is neither reads as nothing."""

from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite

FARTHEST_S = 366 * 86_400.0
"""Who names a later time is read as this: it is too long to wait for, and calendars end somewhere."""


def number_in(text: str | None) -> float | None:
    """Give the number that a header holds; None where there is none. "nan" and "inf" are none."""
    try:
        number = float(text) if text else None
    except ValueError:
        return None
    return number if number is not None and isfinite(number) else None


def seconds_in(text: str | None, *, now: float) -> float | None:
    """Read a `Retry-After`: the seconds from now on, from 0 to `FARTHEST_S`; None where it says nothing."""
    seconds = number_in(text)
    if seconds is None and (when := _time_in(text)) is not None:
        seconds = when - now
    return None if seconds is None else bounded(seconds)


def bounded(seconds: float) -> float:
    """Keep a pause from 0 to `FARTHEST_S`."""
    return min(max(seconds, 0.0), FARTHEST_S)


def _time_in(text: str | None) -> float | None:
    try:
        when = parsedate_to_datetime(text or "")
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
