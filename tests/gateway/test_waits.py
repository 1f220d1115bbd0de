"""What providers say of when to come again, in all the spellings in use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luminaguard.gateway.waits import LONGEST_S, told_wait_s, why_limited

NOW = 1_795_004_800.0  # 2026-11-18 12:26:40 UTC


@pytest.mark.parametrize(
    ("headers", "body", "wait_s"),
    [
        ({"retry-after": "7"}, b"", 7),
        ({"retry-after": "1.5"}, b"", 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, b"", 0.25),
        ({"retry-after": "Wed, 18 Nov 2026 12:27:40 GMT"}, b"", 60),
        ({"anthropic-ratelimit-tokens-reset": "2026-11-18T12:28:40Z"}, b"", 120),
        (
            {
                "anthropic-ratelimit-requests-remaining": "3",
                "anthropic-ratelimit-requests-reset": "2026-11-18T13:26:40Z",
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-11-18T12:27:10Z",
            },
            b"",
            30,
        ),
        ({"anthropic-ratelimit-unified-reset": "1795008400"}, b"", 3600),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "0"}, b"", 360),
        ({"x-ratelimit-reset-tokens": "120ms"}, b"", 0.12),
        ({"x-ratelimit-reset-tokens": "1h2m3.5s"}, b"", 3723.5),
        ({"x-ratelimit-reset": "1795004860000"}, b"", 60),
        ({}, b'{"error": {"details": [{"retryDelay": "34s"}]}}', 34),
        ({"retry-after": "-5"}, b"", None),
        ({"retry-after": "soon"}, b"", None),
        ({}, b"", None),
        ({"retry-after": "Wed, 18 Nov 2020 12:27:40 GMT"}, b"", 0),
        ({"retry-after": "99999999"}, b"", LONGEST_S),
    ],
)
def test_the_time_is_read(headers: dict[str, str], body: bytes, wait_s: float | None) -> None:
    assert told_wait_s(headers, body, now=NOW) == (None if wait_s is None else pytest.approx(wait_s))


@given(
    st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "x-ratelimit-reset-tokens"]), st.text()),
    st.binary(),
)
def test_no_words_trouble_it(headers: dict[str, str], body: bytes) -> None:
    told = told_wait_s(headers, body, now=NOW)
    assert told is None or 0 <= told <= LONGEST_S
    assert why_limited(body)


def test_the_providers_own_words_are_kept() -> None:
    assert why_limited(b'{"error": {"message": "too many tokens"}}') == "too many tokens"
    assert why_limited(b"<html>") == "rate limited"
