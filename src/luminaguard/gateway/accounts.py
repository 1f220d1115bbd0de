"""Calls under way and what they cost: written when they begin, while they last, and before they are over."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import anyio

from luminaguard.gateway.base import Limited, Provider
from luminaguard.gateway.book import Book, Cost, Holder
from luminaguard.gateway.counting import Prices, Rate, Usage
from luminaguard.gateway.readers import Reader
from luminaguard.gateway.wires import Prepared

LOG = logging.getLogger(__name__)
PROGRESS_S = 1.0
BYTES_PER_TOKEN = 4
RATES_KEPT = 1000
MOST_GUESSED = 200_000
"""Pictures take many bytes and few tokens: nothing goes in that is larger than a usual context."""


@dataclass(slots=True, kw_only=True, eq=False)
class UnderWay:
    """A call. `number` 0: it is not counted, or not yet written. `costs_nothing`: the provider did not work on it."""

    holder: Holder
    provider: Provider
    path: str
    prepared: Prepared
    began: float
    reader: Reader | None = None
    number: int = 0
    status: int = 0
    costs_nothing: bool = False
    limited: Limited | None = None
    written: Cost | None = None
    has_ended: bool = False

    @property
    def input_guess(self) -> int:
        """Tokens in, as long as the provider has not said."""
        return min(len(self.prepared.body) // BYTES_PER_TOKEN + 1, MOST_GUESSED)


class Accounts:
    """What is written of calls, and when."""

    def __init__(self, book: Book, prices: Prices) -> None:
        self._book = book
        self._prices = prices
        self._unpriced: set[str] = set()
        self._rates: dict[tuple[str, ...], Rate | None] = {}
        self._limits = book.limits_in_force(time.time())
        self.under_way: set[UnderWay] = set()

    @asynccontextmanager
    async def counted(self, call: UnderWay) -> AsyncIterator[None]:
        """Write a call before the block and its cost after it, however the block ends."""
        call.written = self.cost(call)
        call.number = await self._book.begin(call.holder, provider=call.provider.name, cost=call.written)
        self.under_way.add(call)
        try:
            yield
        finally:
            await self.settle(call)
            self.under_way.discard(call)

    async def settle(self, call: UnderWay) -> None:
        """Write durably what a call has cost, unless just that stands there already."""
        cost = self.cost(call)
        if not call.number or (call.has_ended and cost == call.written):
            return
        if not cost.priced and cost.model not in self._unpriced:
            self._unpriced.add(cost.model)
            LOG.warning("The price of the model %r is not known: its tokens are counted, its cost is not.", cost.model)
        call.written, call.has_ended = cost, True
        limited = None if call.limited is None else (call.holder.who.run, call.limited)
        call.limited = None
        with anyio.CancelScope(shield=True):
            await self._book.end(call.number, cost, status=call.status, limited=limited)

    async def write_progress(self) -> None:
        """Write every second what calls under way have come to: after a kill it is known that far."""
        while True:
            await anyio.sleep(PROGRESS_S)
            known = [(call.number, cost) for call in self.under_way if (cost := self._news(call)) is not None]
            if known:
                await self._book.progress(known)

    def _news(self, call: UnderWay) -> Cost | None:
        cost = self.cost(call)
        if call.has_ended or cost == call.written:
            return None
        call.written = cost
        return cost

    def cost(self, call: UnderWay) -> Cost:
        """Tell what a call has cost as far as is known."""
        if call.costs_nothing:
            return Cost(model=call.prepared.model, usage=Usage(), usd=0.0, priced=True, estimated=False)
        tally = None if call.reader is None else call.reader.tally
        usage = Usage(input=call.input_guess) if tally is None else tally.usage(input_guess=call.input_guess)
        # The provider's word first: what a request names is the agent's.
        names = tuple(name for name in (tally.model if tally else "", call.prepared.model) if name)
        rate = self._rate(names)
        return Cost(
            model=names[0] if names else "",
            usage=usage,
            usd=0.0 if rate is None else rate.cost(usage, today=datetime.now(UTC).date().isoformat()),
            priced=rate is not None,
            estimated=tally is None or not tally.complete,
        )

    def _rate(self, names: tuple[str, ...]) -> Rate | None:
        if names not in self._rates:
            if len(self._rates) >= RATES_KEPT:
                self._rates.clear()  # names are the agents' to choose
            self._rates[names] = self._prices.rate(*names)
        return self._rates[names]

    def limit_of(self, provider: Provider) -> Limited | None:
        """Tell until when a provider takes no calls; None where it takes some."""
        limited = self._limits.get(provider.name)
        return limited if limited is not None and limited.until > time.time() else None

    def note_limit(self, limited: Limited, call: UnderWay) -> Limited:
        """Keep a limit that a call met; what several calls are told at once is one limit."""
        known = self._limits.get(limited.provider)
        if known is not None and known.until >= limited.until - 1.0:
            return known
        LOG.warning("The provider %s takes no calls for %.0f s.", limited.provider, limited.until - limited.since)
        self._limits[limited.provider] = call.limited = limited
        return limited
