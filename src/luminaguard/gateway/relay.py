"""The way of an answer back to the caller: as it comes, counted as it passes, without keys."""

import time
from contextlib import aclosing

import anyio

from luminaguard.gateway.accounts import Accounts, UnderWay
from luminaguard.gateway.conversation import Conversation, GoneError
from luminaguard.gateway.keys import KeyFilter
from luminaguard.gateway.readers import BodyReader, EventReader, Wire
from luminaguard.gateway.transcripts import MOST_BYTES, Call, Transcripts
from luminaguard.gateway.upstream import INFLATED, Answer, UpstreamError
from luminaguard.gateway.wires import UsageHider, headers_back


class Relay:
    """One answer on its way. `wire` None: it is not counted."""

    def __init__(
        self, talk: Conversation, answer: Answer, call: UnderWay, *, wire: Wire | None, keys: tuple[bytes, ...]
    ) -> None:
        self._talk = talk
        self._answer = answer
        self._call = call
        self._keys = keys
        self._filter = KeyFilter(keys)
        self._is_stream = b"text/event-stream" in answer.header(b"content-type").encode()
        if wire is not None:
            call.reader = EventReader(wire) if self._is_stream else BodyReader(wire)
        self._hider = UsageHider() if call.prepared.asks_usage and self._is_stream else None
        self._left = self._length()
        self._kept: list[bytes] | None = None

    def _length(self) -> int | None:
        """Tell how many bytes will go down, where the provider said and nothing is changed on the way."""
        told = self._answer.header(b"content-length")
        is_packed = self._answer.header(b"content-encoding").strip().lower() in INFLATED
        return int(told) if told.isdigit() and not is_packed and self._hider is None else None

    async def run(self, accounts: Accounts, transcripts: Transcripts | None) -> None:
        """Carry the answer down; its cost is written before its last byte goes.

        Raises:
            GoneError: the caller is gone, or the provider broke off and the caller is to see that.
        """
        self._kept = [] if transcripts is not None else None
        try:
            await self._talk.begin(self._answer.status, self._headers())
            last = await self._pass_on(accounts)
            await accounts.settle(self._call)
            await self._talk.send(last)
            await self._talk.end()
        except UpstreamError:
            raise GoneError from None
        finally:
            if transcripts is not None:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(self._record, accounts, transcripts)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        headers = headers_back(self._answer.headers, self._keys)
        plain = [pair for pair in headers if pair[0] != b"content-length"]
        return plain if self._left is None else [*plain, (b"content-length", b"%d" % self._left)]

    async def _pass_on(self, accounts: Accounts) -> bytes:
        """Pass on all but the last piece, and give that."""
        reader, told = self._call.reader, False
        async with aclosing(self._answer.chunks()) as chunks:
            async for chunk in chunks:
                if reader is not None:
                    reader.feed(chunk)
                    if reader.tally.complete and not told and self._is_stream:
                        # Callers take the last event for the end, and look no further.
                        told = True
                        await accounts.settle(self._call)
                self._keep(chunk)
                out = self._shown(chunk)
                if self._left is not None:
                    self._left -= len(out)
                    if self._left <= 0:
                        return self._ended(out)
                await self._talk.send(out)
        return self._ended(b"")

    def _shown(self, chunk: bytes) -> bytes:
        out = self._filter.feed(chunk)
        return out if self._hider is None else self._hider.feed(out)

    def _ended(self, last: bytes) -> bytes:
        if self._call.reader is not None:
            self._call.reader.end()
        held = self._filter.end()
        if self._hider is not None:
            held = self._hider.feed(held) + self._hider.end()
        return last + held

    def _keep(self, chunk: bytes) -> None:
        if self._kept is not None and sum(map(len, self._kept)) < MOST_BYTES:
            self._kept.append(chunk)

    def _record(self, accounts: Accounts, transcripts: Transcripts) -> None:
        call = self._call
        transcripts.add(
            Call(
                who=call.holder.who,
                provider=call.provider.name,
                path=call.path,
                began=call.began,
                ended=time.time(),
                status=call.status,
                request=call.prepared.body,
                answer=b"".join(self._kept or ()),
                cost=accounts.cost(call),
            ),
            dummy=call.holder.key,
        )
