"""Model calls: from a dummy key to an answer.

The order is what makes it hold: who calls, may it be counted, is there money, is the provider limited; then the call is
written, then it goes up; what it cost is written before the last byte of the answer goes down.
"""

import logging
import math
import time
import zlib
from datetime import UTC, datetime

from luminaguard.gateway.accounts import Accounts, UnderWay
from luminaguard.gateway.base import Limited, Provider
from luminaguard.gateway.book import Book, Holder
from luminaguard.gateway.conversation import LARGEST_BODY, Conversation, GoneError, Request
from luminaguard.gateway.keys import spellings, without_keys
from luminaguard.gateway.ledger import KEY_PREFIX
from luminaguard.gateway.relay import Relay
from luminaguard.gateway.transcripts import Transcripts
from luminaguard.gateway.upstream import INFLATED, Answer, Upstream, UpstreamError
from luminaguard.gateway.wires import (
    Endpoint,
    Headers,
    NotForwardedError,
    Prepared,
    dummy_key,
    endpoint_of,
    error_body,
    headers_back,
    headers_up,
    prepare,
    query_up,
    without_ask,
)

LOG = logging.getLogger(__name__)
JSON = (b"content-type", b"application/json")
NO_RETRY = (b"x-should-retry", b"false")
"""The SDKs of Anthropic and OpenAI heed it: to ask again would only cost time."""


class RefusalError(Exception):
    """A call that the gateway answers itself."""

    def __init__(self, status: int, message: str, *, code: str = "", more: Headers | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.more = more or []


class Forwarder:
    """Carries model calls to the providers and their answers back."""

    def __init__(
        self, providers: tuple[Provider, ...], *, book: Book, accounts: Accounts, transcripts: Transcripts | None
    ) -> None:
        self._upstreams = {provider.name: Upstream(provider) for provider in providers}
        self._keys = spellings(provider.key for provider in providers)
        self._book = book
        self._accounts = accounts
        self._transcripts = transcripts

    async def close(self) -> None:
        """Close the connections to the providers."""
        for upstream in self._upstreams.values():
            await upstream.close()

    def holder_of(self, request: Request) -> Holder:
        """Find who calls.

        Raises:
            RefusalError: nobody that we know.
        """
        key = dummy_key(request.headers, request.query, prefix=KEY_PREFIX)
        holder = self._book.holder_of(key) if key else None
        if holder is None:
            raise RefusalError(401, "this key is not known to the gateway: use the one that you were given")
        return holder

    async def serve(self, talk: Conversation, request: Request) -> None:
        """Serve a request whose path begins with a provider's name."""
        name, _, rest = request.path.removeprefix("/").partition("/")
        upstream = self._upstreams.get(name)
        body = await talk.body()
        if upstream is None:
            known = ", ".join(self._upstreams) or "none"
            nobody = RefusalError(404, f"no provider is called '{name}'; there are: {known}")
            return await self._refuse(talk, None, nobody)
        try:
            await self._serve(talk, request, upstream, "/" + rest, body)
        except RefusalError as refusal:
            await self._refuse(talk, upstream.provider, refusal)

    async def _serve(self, talk: Conversation, request: Request, upstream: Upstream, path: str, body: bytes) -> None:
        holder = self.holder_of(request)
        if path == "/" and request.method in ("GET", "HEAD"):  # some clients look whether anybody is there
            return await talk.answer(200, [JSON], b"")
        endpoint = endpoint_of(upstream.provider.api, request.method, path)
        if endpoint is None:
            raise RefusalError(
                404, f"the gateway does not forward {request.method} {path}: only calls that can be counted"
            )
        call = self._admitted(request, upstream.provider, holder, endpoint=endpoint, path=path, body=body)
        with talk.watched():
            if endpoint.wire is None:
                await self._carry(talk, request, upstream, endpoint, call)
            else:
                async with self._accounts.counted(call):
                    await self._carry(talk, request, upstream, endpoint, call)
        if talk.is_gone:
            raise GoneError
        return None

    def _admitted(
        self, request: Request, provider: Provider, holder: Holder, *, endpoint: Endpoint, path: str, body: bytes
    ) -> UnderWay:
        if endpoint.wire is not None and (why := self._book.refusal(holder.who)) is not None:
            raise RefusalError(403, f"the budget is spent: {why}", code="budget_spent")
        if (limited := self._accounts.limit_of(provider)) is not None:
            raise _limit_refusal(provider, limited)
        try:
            prepared = prepare(endpoint, _unpacked(request, body))
        except NotForwardedError as exc:
            raise RefusalError(400, str(exc)) from None
        query = query_up(request.query)
        return UnderWay(
            holder=holder,
            provider=provider,
            path=f"{path}?{query}" if query else path,
            prepared=prepared,
            began=time.time(),
        )

    async def _carry(
        self, talk: Conversation, request: Request, upstream: Upstream, endpoint: Endpoint, call: UnderWay
    ) -> None:
        headers = headers_up(request.headers, call.provider)
        try:
            answer = await _asked(upstream, request.method, headers, call)
        except UpstreamError as exc:
            call.costs_nothing = not exc.was_sent
            raise self._broken(call, exc.message) from None
        try:
            await self._give_back(talk, answer, endpoint, call)
        finally:
            await answer.close()

    def _broken(self, call: UnderWay, message: str) -> RefusalError:
        words = without_keys(message.encode(), self._keys).decode(errors="replace")
        LOG.warning("The provider %s does not answer: %s", call.provider.name, words)
        return RefusalError(502, f"the provider '{call.provider.name}' does not answer: {words}")

    async def _give_back(self, talk: Conversation, answer: Answer, endpoint: Endpoint, call: UnderWay) -> None:
        call.status = answer.status
        if answer.status >= 400:
            call.costs_nothing = True
            if answer.limited is not None:
                raise _limit_refusal(call.provider, self._accounts.note_limit(answer.limited, call))
            headers = [pair for pair in headers_back(answer.headers, self._keys) if pair[0] != b"content-length"]
            await self._accounts.settle(call)
            return await talk.answer(answer.status, headers, without_keys(answer.error, self._keys))
        coding = answer.header(b"content-encoding").strip().lower()
        if coding not in ("", "identity", *INFLATED):
            raise self._broken(call, f"it answers in the coding '{coding}', which was not asked for")
        relay = Relay(talk, answer, call, wire=endpoint.wire, keys=self._keys)
        return await relay.run(self._accounts, self._transcripts if endpoint.wire is not None else None)

    async def _refuse(self, talk: Conversation, provider: Provider | None, refusal: RefusalError) -> None:
        body = error_body(provider.api if provider else None, refusal.status, refusal.message, code=refusal.code)
        retry = [NO_RETRY] if refusal.status < 500 else []
        await talk.answer(refusal.status, [JSON, *retry, *refusal.more], without_keys(body, self._keys))


async def _asked(upstream: Upstream, method: str, headers: Headers, call: UnderWay) -> Answer:
    """Send a call; once more as it came, where the provider does not know how to be asked for counts."""
    prepared = call.prepared
    answer = await upstream.call(method, call.path, headers, prepared.body)
    if prepared.asks_usage and answer.status in (400, 422) and b"stream_options" in answer.error:
        LOG.warning("The provider %s gives no counts in streams: they are estimated.", call.provider.name)
        call.prepared = Prepared(body=without_ask(prepared.body), model=prepared.model)
        return await upstream.call(method, call.path, headers, call.prepared.body)
    return answer


def _limit_refusal(provider: Provider, limited: Limited) -> RefusalError:
    left_s = max(1, math.ceil(limited.until - time.time()))
    until = datetime.fromtimestamp(limited.until, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    message = f"the provider '{provider.name}' takes no calls until {until}: {limited.why}"
    return RefusalError(429, message, code="rate_limited", more=[(b"retry-after", b"%d" % left_s)])


def _unpacked(request: Request, body: bytes) -> bytes:
    coding = (request.header(b"content-encoding") or "identity").strip().lower()
    if coding == "identity":
        return body
    if coding not in INFLATED:
        raise NotForwardedError(f"bodies in the coding '{coding}' cannot be read: send it plain or as gzip")
    try:
        unpack = zlib.decompressobj(47)
        plain = unpack.decompress(body, LARGEST_BODY)
    except zlib.error:
        raise NotForwardedError(f"the body is not {coding}") from None
    if unpack.unconsumed_tail:
        raise NotForwardedError(f"the body unpacks to more than {LARGEST_BODY} bytes")
    return plain
