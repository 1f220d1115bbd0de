"""Prices: which one counts for a model, and what a call costs by it."""

import json
from pathlib import Path

import pytest

from luminaguard.gateway import counting
from luminaguard.gateway.base import Price
from luminaguard.gateway.counting import Usage, prices_with

TODAY = "2026-11-22"
TABLE = json.loads(Path(counting.__file__).with_name("prices.json").read_bytes())


@pytest.mark.parametrize(
    ("model", "price"),
    [
        ("claude-opus-5-5", 4),
        ("claude-opus-5", 5),
        ("claude-opus-5-20260601", 5),
        ("claude-opus-5-5-20260922", 4),
        ("anthropic/claude-opus-5", 5),
        ("gpt-5-2025-08-07", 1.25),
        ("gpt-5-codex", 1.25),
        ("gpt-5-mini", 0.25),
        ("models/gemini-3.1-pro-preview", 2),
        ("gemini-3.5-flash-lite", 0.3),
    ],
)
def test_a_model_has_the_price_of_the_longest_name_that_it_begins_with(model: str, price: float) -> None:
    rate = prices_with({}).rate(model)
    assert rate is not None
    assert rate.input == price


@pytest.mark.parametrize("model", ["", "llama-4", "gpt-5.9", "gpt-51", "claude-opus-5-9", "claude-opus", "gemini-3"])
def test_a_newer_model_has_no_price_by_an_older_ones_name(model: str) -> None:
    assert prices_with({}).rate(model) is None


def test_own_prices_come_first_and_are_taken_by_any_beginning() -> None:
    prices = prices_with({"claude-opus": Price(input=1, output=2), "my/model": Price(input=3, output=4, cached=0.5)})
    assert [rate.input for name in ("claude-opus-5-5", "my/model-2") if (rate := prices.rate(name))] == [1, 3]


def test_each_part_of_the_input_costs_its_own() -> None:
    rate = prices_with({}).rate("claude-opus-5-5")
    assert rate is not None
    usage = Usage(input=1_000_000, cached=100_000, written=200_000, written_1h=300_000, output=1_000_000)
    assert rate.cost(usage, today=TODAY) == pytest.approx(0.4 * 4 + 0.1 * 0.2 + 0.2 * 5 + 0.3 * 8 + 20)


def test_a_long_prompt_costs_more_as_a_whole() -> None:
    rate = prices_with({}).rate("claude-haiku-5-5")
    assert rate is not None
    assert rate.cost(Usage(input=100_000), today=TODAY) == pytest.approx(0.01)
    assert rate.cost(Usage(input=100_001), today=TODAY) == pytest.approx(0.05, rel=1e-4)


def test_a_price_that_ends_is_followed_by_the_next() -> None:
    rate = prices_with({}).rate("gemini-3.8-flash")
    assert rate is not None
    assert [rate.cost(Usage(input=1_000_000), today=day) for day in ("2026-12-31", "2027-01-01")] == [0.75, 1.5]


def test_own_prices_without_a_cached_one_take_the_inputs() -> None:
    rate = prices_with({"m": Price(input=1, output=2)}).rate("m")
    assert rate is not None
    assert rate.cost(Usage(input=1_000_000, cached=500_000), today=TODAY) == 1


def test_the_table_says_where_it_is_from_and_holds_together() -> None:
    assert all(source["read"] and source["page"] and source["how"] for source in TABLE["sources"])
    for entry in TABLE["models"].values():
        assert 0 < entry.get("cached", entry["input"]) <= entry["input"] < entry["output"]
