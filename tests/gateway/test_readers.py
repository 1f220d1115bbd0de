"""What calls used, read from answers that come in any pieces."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.upstream import event, messages_events

from luminaguard.gateway.counting import Usage
from luminaguard.gateway.keys import KeyFilter, spellings
from luminaguard.gateway.readers import BodyReader, EventReader, Wire
from luminaguard.gateway.wires import UsageHider

KEY = "sk-ant-0123456789-sk-ant-sk"
RESPONSES = b"".join(
    [
        event({"type": "response.created", "response": {"model": "gpt-6", "usage": None}}),
        event({"type": "response.output_text.delta", "delta": "usage of data: äöü"}),
        event({"type": "response.output_text.done", "text": "usage of data: äöü"}),
        event(
            {
                "type": "response.completed",
                "response": {"model": "gpt-6", "usage": {"input_tokens": 7, "output_tokens": 3}},
            }
        ),
    ]
)
CHAT = b"".join(
    [
        event({"model": "m", "choices": [{"delta": {"content": '"usage": {'}}], "usage": None}),
        event({"model": "m", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}),
        b"data: [DONE]\r\n\r\n",
    ]
)
GEMINI = b"".join(
    [
        event({"candidates": [{"content": {"parts": [{"text": "a"}]}}], "usageMetadata": {"promptTokenCount": 7}}),
        event(
            {
                "candidates": [{"finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3},
            }
        ),
    ]
)
STREAMS: dict[Wire, bytes] = {
    "messages": b"".join(messages_events(words=["some", " usage", ' "of" words'])),
    "responses": RESPONSES,
    "chat": CHAT,
    "generate": GEMINI,
}
WIRES: tuple[Wire, ...] = tuple(STREAMS)


def pieces(text: bytes) -> st.SearchStrategy[list[bytes]]:
    """Cut a text anywhere."""
    cuts = st.lists(st.integers(0, len(text)), max_size=40).map(sorted)
    return cuts.map(lambda at: [text[a:b] for a, b in zip([0, *at], [*at, len(text)], strict=True)])


def read(wire: Wire, parts: list[bytes]) -> tuple[Usage, bool, str, int]:
    reader = EventReader(wire)
    for part in parts:
        reader.feed(part)
    reader.end()
    return reader.tally.usage(input_guess=99), reader.tally.complete, reader.tally.model, reader.tally.passed


@pytest.mark.parametrize("wire", WIRES)
@given(data=st.data())
def test_any_pieces_give_the_same_count(wire: Wire, data: st.DataObject) -> None:
    text = STREAMS[wire]
    assert read(wire, data.draw(pieces(text))) == read(wire, [text])


@pytest.mark.parametrize("wire", WIRES)
@given(data=st.data())
def test_a_stream_cut_anywhere_counts_no_more_than_the_whole(wire: Wire, data: st.DataObject) -> None:
    text = STREAMS[wire]
    usage, *_ = read(wire, [text[: data.draw(st.integers(0, len(text)))]])
    whole, *_ = read(wire, [text])
    assert usage.output <= max(whole.output, 10)
    assert usage.input in (99, whole.input)


@pytest.mark.parametrize(("wire", "count"), [("messages", 1300), ("responses", 7), ("chat", 7), ("generate", 7)])
def test_the_end_of_a_stream_is_known(wire: Wire, count: int) -> None:
    usage, complete, *_ = read(wire, [STREAMS[wire]])
    assert (usage.input, complete) == (count, True)


@given(st.binary(max_size=400))
def test_no_bytes_trouble_a_reader(text: bytes) -> None:
    for wire in WIRES:
        read(wire, [b"data: ", text, b'\ndata: {"usage": ', text])
        body = BodyReader(wire)
        body.feed(text)
        body.end()


NUMBERS = st.one_of(
    st.integers(), st.floats(allow_nan=False), st.text(), st.booleans(), st.none(), st.lists(st.integers())
)


@given(st.dictionaries(st.sampled_from(["input_tokens", "output_tokens", "cache_creation", "prompt_tokens"]), NUMBERS))
def test_numbers_that_are_none_are_left_out(said: dict[str, object]) -> None:
    for wire in WIRES:
        reader = BodyReader(wire)
        reader.feed(json.dumps({"usage": said, "usageMetadata": said}).encode())
        reader.end()
        usage = reader.tally.usage(input_guess=0)
        assert 0 <= usage.input <= 10**13
        assert 0 <= usage.output <= 10**13


@given(data=st.data())
def test_a_key_is_taken_out_however_it_is_cut(data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.sampled_from([KEY, KEY[:9], KEY[9:], "sk", "-", "text", "s"]), max_size=12))
    text = "".join(parts).encode()
    hider = KeyFilter(spellings([KEY]))
    out = b"".join([*map(hider.feed, data.draw(pieces(text))), hider.end()])
    assert KEY.encode() not in out
    assert out == text.replace(KEY.encode(), b"*" * len(KEY))


@given(data=st.data())
def test_without_a_key_every_byte_passes(data: st.DataObject) -> None:
    text = data.draw(st.binary(max_size=300))
    hider = KeyFilter(spellings([KEY]))
    assert b"".join([*map(hider.feed, data.draw(pieces(text))), hider.end()]) == text


@given(data=st.data())
def test_counts_that_were_not_asked_for_are_hidden_however_they_are_cut(data: st.DataObject) -> None:
    def lines(*said: object) -> bytes:
        return b"".join(b"data: " + json.dumps(one, separators=(",", ":")).encode() + b"\n\n" for one in said)

    text = {"choices": [{"delta": {"content": ',"usage":null'}}]}
    came = lines(text | {"usage": None}, {"choices": [], "usage": {"prompt_tokens": 1}}) + b"data: [DONE]\n\n"
    hider = UsageHider()
    out = b"".join([*map(hider.feed, data.draw(pieces(came))), hider.end()])
    assert out == lines(text) + b"data: [DONE]\n\n"
