"""What stops a call before it goes up: a spent budget, and a provider that said "not before"."""

import json
import time

import pytest
from tests.gateway.conftest import Open, Stage
from tests.gateway.upstream import Asked, Reply

from luminaguard.gateway.base import Budget

ASK = {"model": "claude-opus-5-5", "messages": []}
MESSAGE = {"type": "message", "model": "claude-opus-5-5", "usage": {"input_tokens": 1_000_000, "output_tokens": 0}}


def paid(asked: Asked) -> Reply:
    return Reply(pieces=[json.dumps(MESSAGE).encode()])


def too_many(**headers: str) -> Reply:
    more = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Reply(
        status=429,
        headers=[*more, ("content-type", "application/json")],
        pieces=[b'{"error": {"message": "slow down"}}'],
    )


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/anthropic/v1/messages", lambda it: (it["type"], it["error"]["type"], it["error"]["message"])),
        ("/openai/v1/responses", lambda it: ("error", it["error"]["type"], it["error"]["message"])),
        (
            "/gemini/v1beta/models/m:generateContent",
            lambda it: ("error", it["error"]["status"].lower()[:10] + "_error", it["error"]["message"]),
        ),
    ],
)
def test_a_spent_budget_is_a_403_in_the_words_of_the_api(stage: Stage, path: str, said: object) -> None:
    assert callable(said)
    stage.upstream.script = paid
    stage.ledger.allow(stage.run, Budget(usd_per_issue=4.0))
    client = stage.client()
    assert client.call("/anthropic/v1/messages", ASK).status == 200
    answer = client.call(path, ASK)
    assert answer.status == 403
    words = "the budget is spent: usd_per_issue: 4.00 of 4.00 USD spent (attempt 1: 4.00)"
    assert said(answer.json) == ("error", "permission_error", words)
    assert len(stage.upstream.asked) == 1


def test_the_budget_of_one_issue_stops_no_other_and_that_of_the_run_all(stage: Stage) -> None:
    stage.upstream.script = paid
    stage.ledger.allow(stage.run, Budget(usd_per_issue=4.0, usd_per_run=8.0))
    statuses = [stage.client(stage.holder(issue)).call("/anthropic/v1/messages", ASK).status for issue in "11223"]
    assert statuses == [200, 403, 200, 403, 403]


def test_more_money_lets_calls_through_again(stage: Stage) -> None:
    stage.upstream.script = paid
    stage.ledger.allow(stage.run, Budget(usd_per_issue=4.0))
    client = stage.client()
    statuses = [client.call("/anthropic/v1/messages", ASK).status for _ in range(2)]
    stage.ledger.allow(stage.run, Budget(usd_per_issue=8.0))
    statuses.append(client.call("/anthropic/v1/messages", ASK).status)
    assert statuses == [200, 403, 200]


def test_a_long_limit_is_written_and_given_to_everybody_at_once(open_stage: Open) -> None:
    stage = open_stage()
    stage.upstream.script = lambda asked: too_many(retry_after="3000")
    before = time.time()
    first = stage.client().call("/anthropic/v1/messages", ASK)
    second = stage.client(stage.holder("13")).call("/anthropic/v1/messages", ASK)
    other = stage.client().call("/gemini/v1beta/models", None)
    assert [answer.status for answer in (first, second)] == [429, 429]
    assert 2000 < int(second.headers["retry-after"]) <= 3000
    assert "slow down" in second.json["error"]["message"]
    assert other.status == 429  # another provider, asked on its own
    limited = stage.ledger.limits(stage.run)[0]
    assert (limited.provider, limited.why) == ("anthropic", "slow down")
    assert before + 2999 < limited.until < time.time() + 3001
    assert [asked.path for asked in stage.upstream.asked] == ["/v1/messages", "/v1beta/models"]
    assert stage.spent() == (1, 0, 0, 0.0)


def test_a_limit_without_a_time_holds_for_a_minute(open_stage: Open) -> None:
    stage = open_stage()
    stage.upstream.script = lambda asked: too_many()
    assert stage.client().call("/openai/v1/responses", ASK).status == 429
    limited = stage.ledger.limits(stage.run)[0]
    assert 59 < limited.until - limited.since < 61


def test_a_limit_is_still_known_after_the_gateway_was_started_anew(open_stage: Open) -> None:
    stage = open_stage()
    stage.upstream.script = lambda asked: too_many(retry_after="3000")
    stage.client().call("/anthropic/v1/messages", ASK)
    stage.kill()
    assert stage.client().call("/anthropic/v1/messages", ASK).status == 429
    assert len(stage.upstream.asked) == 1


def test_a_short_limit_is_waited_out_and_nobody_hears_of_it(stage: Stage) -> None:
    answers = [
        too_many(retry_after_ms="50"),
        Reply(status=529, headers=[("retry-after", "0")]),
        paid(Asked(method="", path="", headers={}, body=b"")),
    ]
    stage.upstream.script = lambda asked: answers.pop(0)
    assert stage.client().call("/anthropic/v1/messages", ASK).status == 200
    assert (len(stage.upstream.asked), stage.ledger.limits(stage.run)) == (3, [])
    assert stage.spent()[0] == 1
