"""Model calls through a real gateway, from a dummy key to an answer."""

import gzip
import http.client
import json
import threading
from contextlib import closing

import pytest
from tests.gateway.conftest import REAL, Open, Stage, wait_until
from tests.gateway.upstream import Asked, Reply, event, messages_events, stream

from luminaguard.gateway.base import Price, Provider

ASK = {"model": "claude-opus-5-5", "stream": True, "messages": []}
RESPONSE = {
    "model": "gpt-6-sol",
    "usage": {
        "input_tokens": 1000,
        "input_tokens_details": {"cached_tokens": 400},
        "output_tokens": 50,
        "total_tokens": 1050,
    },
}
CHAT = {
    "model": "gpt-6-sol",
    "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 400}},
}
GEMINI = {
    "modelVersion": "gemini-3.1-pro-preview",
    "candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
    "usageMetadata": {
        "promptTokenCount": 1000,
        "cachedContentTokenCount": 400,
        "candidatesTokenCount": 30,
        "thoughtsTokenCount": 20,
    },
}
MESSAGE = {"type": "message", "model": "claude-opus-5-5", "usage": {"input_tokens": 1000, "output_tokens": 50}}


def body(said: object) -> Reply:
    return Reply(pieces=[json.dumps(said).encode()])


def test_a_stream_comes_through_byte_for_byte_and_is_counted(stage: Stage) -> None:
    events = messages_events()
    stage.upstream.script = lambda asked: stream(*events)
    answer = stage.client().call("/anthropic/v1/messages", ASK)
    assert (answer.status, answer.body) == (200, b"".join(events))
    usd = (100 * 4 + 1000 * 0.2 + 150 * 5 + 50 * 8 + 20 * 20) / 1e6
    assert stage.spent() == (1, 1300, 20, round(usd, 9))


@pytest.mark.parametrize(
    ("path", "asked", "reply", "usd"),
    [
        ("/anthropic/v1/messages", ASK | {"stream": False}, body(MESSAGE), 0.005),
        ("/openai/v1/responses", {"model": "gpt-6-sol"}, body(RESPONSE), 0.00178),
        (
            "/openai/v1/responses",
            {"model": "gpt-6-sol", "stream": True},
            stream(
                event({"type": "response.created", "response": {"model": "gpt-6-sol", "usage": None}}),
                event({"type": "response.completed", "response": RESPONSE}),
            ),
            0.00178,
        ),
        ("/openai/v1/chat/completions", {"model": "gpt-6-sol"}, body(CHAT), 0.00178),
        ("/gemini/v1beta/models/gemini-3.1-pro-preview:generateContent", {"contents": []}, body(GEMINI), 0.00188),
        (
            "/gemini/v1beta/models/gemini-3.1-pro-preview:streamGenerateContent?alt=sse",
            {"contents": []},
            stream(event({"candidates": [{"content": {}}], "usageMetadata": {"promptTokenCount": 9}}), event(GEMINI)),
            0.00188,
        ),
        (
            "/gemini/v1beta/models/gemini-3.1-pro-preview:streamGenerateContent",
            {"contents": []},
            body([{"usageMetadata": {"promptTokenCount": 9}}, GEMINI]),
            0.00188,
        ),
    ],
)
def test_each_api_is_counted_by_its_own_words(stage: Stage, path: str, asked: object, reply: Reply, usd: float) -> None:
    stage.upstream.script = lambda _: reply
    answer = stage.client().call(path, asked)
    assert answer.body == b"".join(reply.pieces)
    assert stage.spent() == (1, 1000, 50, usd)
    assert stage.upstream.asked[0].path == path.partition("/")[2].partition("/")[2].join(("/", ""))


def test_counts_are_asked_for_in_chat_streams_and_hidden_from_who_did_not_ask(stage: Stage) -> None:
    chunk = {"model": "gpt-6-sol", "choices": [{"index": 0, "delta": {"content": 'say ,"usage":null'}}], "usage": None}
    as_asked = {name: value for name, value in chunk.items() if name != "usage"}
    last = {"model": "gpt-6-sol", "choices": [], "usage": CHAT["usage"]}

    def lines(*said: object) -> list[bytes]:
        return [b"data: " + json.dumps(one, separators=(",", ":")).encode() + b"\n\n" for one in said]

    stage.upstream.script = lambda asked: stream(*lines(chunk, chunk, last), b"data: [DONE]\n\n")
    asked = {"model": "gpt-6-sol", "stream": True}
    plain = stage.client().call("/openai/v1/chat/completions", asked)
    wanting = stage.client().call("/openai/v1/chat/completions", asked | {"stream_options": {"include_usage": True}})
    assert plain.body == b"".join([*lines(as_asked, as_asked), b"data: [DONE]\n\n"])
    assert wanting.body == b"".join([*lines(chunk, chunk, last), b"data: [DONE]\n\n"])
    assert [it.json["stream_options"] for it in stage.upstream.asked] == [{"include_usage": True}] * 2
    assert stage.spent()[:3] == (2, 2000, 100)


def test_a_provider_that_knows_no_counts_in_streams_is_asked_as_the_caller_did(stage: Stage) -> None:
    def script(asked: Asked) -> Reply:
        if b"stream_options" in asked.body:
            return Reply(status=422, pieces=[b'{"detail": "extra field stream_options"}'])
        return stream(event({"choices": [{"delta": {"content": "x" * 400}}]}), b"data: [DONE]\n\n")

    stage.upstream.script = script
    answer = stage.client().call("/openai/v1/chat/completions", {"model": "gpt-6-sol", "stream": True})
    assert answer.status == 200
    assert stage.spent()[2] == 100
    assert stage.ledger.notes(stage.run) == ["1 call did not end as it should: its 100 tokens out are an estimate"]


@pytest.mark.parametrize(
    ("path", "headers", "sent"),
    [
        ("/anthropic/v1/messages", {"x-api-key": "KEY"}, {"x-api-key": REAL}),
        ("/anthropic/v1/messages", {"authorization": "Bearer KEY"}, {"x-api-key": REAL}),
        ("/openai/v1/responses", {"authorization": "Bearer KEY"}, {"authorization": f"Bearer {REAL}"}),
        ("/gemini/v1beta/models/m:generateContent", {"x-goog-api-key": "KEY"}, {"x-goog-api-key": REAL}),
        ("/gemini/v1beta/models/m:generateContent?alt=sse&key=KEY", {}, {"x-goog-api-key": REAL}),
    ],
)
def test_the_dummy_key_is_known_wherever_it_stands_and_the_real_one_goes_up_in_its_place(
    stage: Stage, path: str, headers: dict[str, str], sent: dict[str, str]
) -> None:
    client = stage.client()
    more = {"cookie": "a=b", "x-forwarded-for": "1.2.3.4", "te": "trailers", "x-own": "stays"}
    answer = client.call(
        path.replace("KEY", client.key),
        {"model": "m"},
        headers={
            "authorization": "none",
            **{name: value.replace("KEY", client.key) for name, value in headers.items()},
            **more,
        },
    )
    assert answer.status == 200
    asked = stage.upstream.asked[0]
    keys = {
        name: value for name, value in asked.headers.items() if name in ("authorization", "x-api-key", "x-goog-api-key")
    }
    assert keys == sent
    assert client.key not in repr(asked)
    assert asked.headers["x-own"] == "stays"
    assert not {"cookie", "x-forwarded-for", "te"} & asked.headers.keys()


@pytest.mark.parametrize("key", ["", "lg-unknown", "sk-something"])
def test_an_unknown_key_is_refused_in_the_words_of_the_api(stage: Stage, key: str) -> None:
    for path, kind in (
        ("/anthropic/v1/messages", "authentication_error"),
        ("/openai/v1/responses", "authentication_error"),
    ):
        answer = stage.client().call(path, ASK, headers={"authorization": f"Bearer {key}"})
        assert (answer.status, answer.json["error"]["type"]) == (401, kind)
    answer = stage.client().call(
        "/gemini/v1beta/models/m:generateContent", {}, headers={"authorization": f"Bearer {key}"}
    )
    assert (answer.status, answer.json["error"]["status"]) == (401, "UNAUTHENTICATED")
    assert stage.upstream.asked == []


@pytest.mark.parametrize(
    "path",
    [
        "/anthropic/v1/messages/batches",
        "/openai/v1/batches",
        "/openai/v1/files",
        "/openai/v1/chat/completions/../batches",
        "/openai/v1/%2e%2e/responses",
        "/openai/v1/models/../batches",
        "/gemini/v1beta/models/m:batchGenerateContent",
        "/gemini/v1beta/models/a/b:generateContent",
        "/nobody/v1/messages",
    ],
)
def test_what_cannot_be_counted_is_not_forwarded(stage: Stage, path: str) -> None:
    assert stage.client().call(path, ASK).status == 404
    assert stage.upstream.asked == []


def test_answers_in_the_background_are_refused(stage: Stage) -> None:
    answer = stage.client().call("/openai/v1/responses", {"model": "gpt-6-sol", "background": True})
    assert (answer.status, stage.upstream.asked) == (400, [])


def test_models_are_listed_and_tokens_counted_for_nothing(stage: Stage) -> None:
    client = stage.client()
    assert client.call("/openai/v1/models").status == 200
    assert client.call("/anthropic/v1/messages/count_tokens", ASK).status == 200
    assert stage.ledger.spent(stage.run) == {}


def test_a_packed_request_is_unpacked_and_a_packed_answer_too(stage: Stage) -> None:
    packed = gzip.compress(json.dumps(RESPONSE).encode())
    stage.upstream.script = lambda asked: Reply(
        headers=(("content-type", "application/json"), ("content-encoding", "gzip")), pieces=[packed[:9], packed[9:]]
    )
    answer = stage.client().call(
        "/openai/v1/responses", gzip.compress(b'{"model": "gpt-6-sol"}'), headers={"content-encoding": "gzip"}
    )
    assert (answer.json, stage.upstream.asked[0].json) == (RESPONSE, {"model": "gpt-6-sol"})
    assert "content-encoding" not in answer.headers
    assert stage.spent()[:3] == (1, 1000, 50)


def test_an_error_of_the_provider_comes_through_and_costs_nothing(stage: Stage) -> None:
    stage.upstream.script = lambda asked: Reply(status=529, pieces=[b'{"error": {"message": "busy"}}'])
    answer = stage.client().call("/anthropic/v1/messages", ASK)
    assert (answer.status, answer.json) == (529, {"error": {"message": "busy"}})
    assert stage.spent() == (1, 0, 0, 0.0)


def test_a_provider_that_is_down_is_said_in_the_words_of_the_api(open_stage: Open) -> None:
    stage = open_stage(
        providers=(Provider(name="anthropic", api="anthropic", base_url="http://127.0.0.1:1", key=REAL),)
    )
    answer = stage.client().call("/anthropic/v1/messages", ASK)
    assert (answer.status, answer.json["error"]["type"]) == (502, "api_error")
    assert stage.spent() == (1, 0, 0, 0.0)


def test_a_refused_key_is_said_in_the_notes(stage: Stage) -> None:
    stage.upstream.script = lambda asked: Reply(status=401, pieces=[b"{}"])
    stage.client().call("/anthropic/v1/messages", ASK)
    assert stage.ledger.notes(stage.run) == ["the provider 'anthropic' refused the key in 1 call"]


def test_a_model_without_a_price_is_counted_in_tokens_and_said_in_the_notes(stage: Stage) -> None:
    stage.upstream.script = lambda asked: body(MESSAGE | {"model": "own-model"})
    stage.client().call("/anthropic/v1/messages", {"model": "own-model"})
    stage.client().call("/anthropic/v1/messages", {"model": "own-model"})
    assert stage.spent() == (2, 2000, 100, 0.0)
    assert stage.ledger.notes(stage.run) == [
        "the price of the model 'own-model' is not known: 2,100 tokens in 2 calls count as 0 USD"
    ]
    assert stage.running.log.read_text().count("own-model") == 1


def test_own_prices_win(open_stage: Open) -> None:
    stage = open_stage(prices={"claude-opus": Price(input=1000, output=2000)})
    stage.upstream.script = lambda asked: body(MESSAGE)
    stage.client().call("/anthropic/v1/messages", ASK)
    assert stage.spent()[3] == 1.1


def test_a_stream_that_is_cut_is_seen_as_cut_and_charged_as_far_as_it_went(stage: Stage) -> None:
    events = messages_events(words=["a" * 400, "b" * 400])
    stage.upstream.script = lambda asked: stream(*events[:3], is_cut=True)
    with stage.client().asked("/anthropic/v1/messages", ASK) as answer, pytest.raises(http.client.IncompleteRead):
        answer.read()
    wait_until(lambda: stage.spent()[:3] == (1, 1300, 200))
    assert "estimate" in stage.ledger.notes(stage.run)[0]


def test_a_caller_that_goes_away_is_charged_as_far_as_it_went_and_the_provider_is_let_go(stage: Stage) -> None:
    held = threading.Event()
    events = messages_events(words=["a" * 400, "b" * 400])
    stage.upstream.script = lambda asked: stream(*events[:4], held=held)  # held before the count
    with stage.client().asked("/anthropic/v1/messages", ASK) as answer:
        answer.read(len(b"".join(events[:3])))
    wait_until(lambda: len(stage.ledger.notes(stage.run)) == 1)
    held.set()
    assert stage.spent()[:3] == (1, 1300, 200)


def test_a_caller_that_goes_away_before_the_answer_is_charged_for_what_it_sent(stage: Stage) -> None:
    held = threading.Event()
    stage.upstream.script = lambda asked: Reply(held=held)
    with closing(stage.client().connection()) as connection:
        connection.request(
            "POST",
            "/anthropic/v1/messages",
            body=json.dumps(ASK | {"messages": ["x" * 4000]}),
            headers={"x-api-key": stage.client().key},
        )
        stage.upstream.wait()
    wait_until(lambda: len(stage.ledger.notes(stage.run)) == 1)
    held.set()
    calls, sent, output, _ = stage.spent()
    assert (calls, output) == (1, 0)
    assert 1000 < sent < 1100


def test_what_was_spent_stands_there_before_the_last_byte(stage: Stage) -> None:
    held = threading.Event()
    events = messages_events()
    stage.upstream.script = lambda asked: stream(*events, held=held)  # held before message_stop
    with stage.client().asked("/anthropic/v1/messages", ASK) as answer:
        answer.read(len(b"".join(events[:-1])))
        assert stage.spent()[:3] == (1, 1300, 20)
        held.set()
        answer.read()


def test_events_come_as_they_are_sent_and_are_not_kept_together(stage: Stage) -> None:
    held = threading.Event()
    events = messages_events()
    stage.upstream.script = lambda asked: stream(*events, held=held)
    with stage.client().asked("/anthropic/v1/messages", ASK) as answer:
        early = answer.read(len(b"".join(events[:-1])))
        assert not held.is_set()
        held.set()
        assert early + answer.read() == b"".join(events)


def test_one_connection_serves_call_after_call(stage: Stage) -> None:
    stage.upstream.script = lambda asked: body(MESSAGE)
    with closing(stage.client().connection()) as connection:
        for _ in range(3):
            headers = {"x-api-key": stage.client().key}
            connection.request("POST", "/anthropic/v1/messages", body=json.dumps(ASK), headers=headers)
            with connection.getresponse() as answer:
                assert answer.read()
    assert stage.spent()[0] == 3


def test_no_cookie_and_no_header_between_two_hops_comes_back(stage: Stage) -> None:
    stage.upstream.script = lambda asked: Reply(
        headers=(
            ("set-cookie", "a=b"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("request-id", "r1"),
            ("x-echo", f"k {REAL}"),
        )
    )
    answer = stage.client().call("/anthropic/v1/messages", ASK)
    assert answer.headers.keys() & {"set-cookie", "x-hop", "x-echo", "request-id"} == {"request-id"}
    stage.client().call("/anthropic/v1/messages", ASK)
    assert "cookie" not in stage.upstream.asked[1].headers


def test_a_hundred_calls_at_once_are_all_counted(stage: Stage) -> None:
    events = messages_events()
    stage.upstream.script = lambda asked: stream(*events)
    holders = [stage.holder(str(number)) for number in range(20)]
    clients = [stage.client(holder) for holder in holders]
    statuses: list[int] = []

    def work(number: int) -> None:
        statuses.append(clients[number % 20].call("/anthropic/v1/messages", ASK).status)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 100
    assert {(it.calls, it.input_tokens, it.output_tokens) for it in stage.ledger.spent(stage.run).values()} == {
        (5, 6500, 100)
    }
