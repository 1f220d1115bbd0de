"""What a call used, as providers say it, and what that costs. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from luminaguard.gateway.base import Price
from luminaguard.model.ids import Json

MILLION = 1_000_000
KEPT_5M, KEPT_1H = 1.25, 2.0
"""What Anthropic and OpenAI take for writing to their caches, as a multiple of the input's price."""
NEWER = re.compile(r"[-.]\d{1,2}(?!\d)")
"""After the name of a model: the number of another one. A date has more digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of a call. `input` is all that went in, and the next three are parts of it.

    They were found in the provider's cache, written to it for minutes, written to it for an hour.
    """

    input: int = 0
    cached: int = 0
    written: int = 0
    written_1h: int = 0
    output: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """US dollars for a million tokens; `over` counts for calls with more than `over_tokens` in."""

    input: float
    output: float
    cached: float
    over_tokens: int = 0
    over: "Rate | None" = None
    from_date: str = ""
    then: "Rate | None" = None

    def cost(self, usage: Usage, *, today: str) -> float:
        """Give US dollars. `today` is a date, "2026-11-22"."""
        if self.then is not None and today >= self.from_date:
            return self.then.cost(usage, today=today)
        if self.over is not None and usage.input > self.over_tokens:
            return self.over.cost(usage, today=today)
        plain = max(0, usage.input - usage.cached - usage.written - usage.written_1h)
        weighed = plain + KEPT_5M * usage.written + KEPT_1H * usage.written_1h
        return (weighed * self.input + usage.cached * self.cached + usage.output * self.output) / MILLION


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Rates by model name. Own ones win; the longest name that a model's begins with counts."""

    own: Mapping[str, Rate] = field(default_factory=dict)
    known: Mapping[str, Rate] = field(default_factory=dict)

    def rate(self, *names: str) -> Rate | None:
        """Find the rate of a model that goes by these names, None where nobody told us."""
        bare = [_bare(name) for name in names]
        own = (_longest(name, self.own, variants=False) for name in (*names, *bare))
        known = (_longest(name, self.known, variants=True) for name in bare)
        return next((rate for rate in (*own, *known) if rate is not None), None)


def prices_with(own: Mapping[str, Price]) -> Prices:
    """Read the table that comes with us, and put own prices before it."""
    table = json.loads(Path(__file__).with_name("prices.json").read_bytes())
    return Prices(
        own={model: _rate_of_price(price) for model, price in own.items()},
        known={model: _rate(entry) for model, entry in table["models"].items()},
    )


def _rate_of_price(price: Price) -> Rate:
    return Rate(input=price.input, output=price.output, cached=price.input if price.cached is None else price.cached)


def _rate(entry: Mapping[str, Json]) -> Rate:
    over, then = entry.get("over"), entry.get("from")
    return Rate(
        input=_number(entry, "input"),
        output=_number(entry, "output"),
        cached=_number(entry, "cached") if "cached" in entry else _number(entry, "input"),
        over_tokens=int(_number(over, "tokens")) if isinstance(over, dict) else 0,
        over=_rate(over) if isinstance(over, dict) else None,
        from_date=str(then["date"]) if isinstance(then, dict) else "",
        then=_rate(then) if isinstance(then, dict) else None,
    )


def _number(entry: Mapping[str, Json], name: str) -> float:
    value = entry[name]
    assert isinstance(value, int | float)
    return value


def _bare(model: str) -> str:
    """Leave out whose it is: "anthropic/claude-opus-5" as routers say, "models/gemini-3-pro" as Google does."""
    return model.rpartition("/")[2].lower()


def _longest(model: str, rates: Mapping[str, Rate], *, variants: bool) -> Rate | None:
    found = max((name for name in rates if _begins_with(model, name, variants=variants)), key=len, default=None)
    return None if found is None else rates[found]


def _begins_with(model: str, name: str, *, variants: bool) -> bool:
    """Tell whether a model's name begins with a whole `name`; with `variants` only where the rest is no newer number.

    "gpt-5-2025-08-07" is a variant of "gpt-5"; "gpt-5.9" is another model, and nobody told us its price.
    """
    rest = model[len(name) :]
    if not model.startswith(name):
        return False
    return not rest or (not rest[0].isalnum() and (not variants or NEWER.match(rest) is None))
