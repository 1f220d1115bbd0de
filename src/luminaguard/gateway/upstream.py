"""The way to providers: connections that are kept, TLS by the system's certificates, and short waits waited out."""

import ssl
import time
import urllib.request
import zlib
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import urlsplit

import anyio
import httpcore

from luminaguard.gateway.base import Limited, Provider
from luminaguard.gateway.roads import Roads
from luminaguard.gateway.waits import UNTOLD_S, told_wait_s, why_limited
from luminaguard.gateway.wires import Headers

WAITED_OUT_S = 5.0
TIMEOUTS_S = {"connect": 15.0, "read": 900.0, "write": 60.0, "pool": 15.0}
KEPT, KEPT_S = 200, 90.0
ERROR_BYTES = 1024 * 1024
BROKEN = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError)
INFLATED = ("gzip", "x-gzip", "deflate")


class UpstreamError(Exception):
    """The provider cannot be reached, or broke off. `was_sent`: it may have begun to work on the call."""

    def __init__(self, message: str, *, was_sent: bool) -> None:
        super().__init__(message)
        self.message = message
        self.was_sent = was_sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a provider answers: a stream, to be closed. `limited` is set where it said "not before"."""

    status: int
    headers: Headers
    response: httpcore.Response
    error: bytes = b""
    limited: Limited | None = None

    def header(self, name: bytes) -> str:
        """Give the value of a header, "" where there is none."""
        return next((value.decode("latin-1") for found, value in self.headers if found == name), "")

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Give the body as it comes, unpacked.

        Raises:
            UpstreamError: it broke off.
        """
        coding = self.header(b"content-encoding").strip().lower()
        unpack = zlib.decompressobj(47) if coding in INFLATED else None
        try:
            async for chunk in self.response.aiter_stream():
                if data := unpack.decompress(chunk) if unpack else chunk:
                    yield data
        except (*BROKEN, zlib.error) as exc:
            raise UpstreamError(_said(exc), was_sent=True) from exc

    async def close(self) -> None:
        """Let go of the connection."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(5.0):
            await self.response.aclose()


class Upstream:
    """One provider."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        address = urlsplit(provider.base_url)
        self._host = address.netloc.rpartition("@")[2].encode()
        proxy = _proxy_for(address.scheme, address.hostname or "")
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_trust() if address.scheme == "https" else None,
            proxy=None if proxy is None else httpcore.Proxy(proxy),
            max_connections=None,
            max_keepalive_connections=KEPT,
            keepalive_expiry=KEPT_S,
            network_backend=Roads(),
        )

    async def close(self) -> None:
        """Close what is kept."""
        await self._pool.aclose()

    async def call(self, method: str, path: str, headers: Headers, body: bytes) -> Answer:
        """Send a call; a wait of up to `WAITED_OUT_S` that the provider asks for is waited out here.

        Raises:
            UpstreamError: it cannot be reached, or broke off.
        """
        waited_s = 0.0
        while True:
            answer = await self._once(method, path, headers, body)
            if answer.status not in (429, 529):
                return answer
            now = time.time()
            told_s = told_wait_s(_by_name(answer.headers), answer.error, now=now)
            if told_s is None and answer.status == 529:
                return answer
            wait_s = UNTOLD_S if told_s is None else told_s
            if waited_s + wait_s > WAITED_OUT_S:
                return _with_limit(answer, self.provider.name, now=now, wait_s=wait_s)
            # At least a little: "0" again and again must not become a storm.
            waited_s += max(wait_s, 0.1)
            await anyio.sleep(max(wait_s, 0.1))

    async def _once(self, method: str, path: str, headers: Headers, body: bytes) -> Answer:
        try:
            request = httpcore.Request(
                method,
                self.provider.base_url.rstrip("/") + path,
                headers=[(b"host", self._host), *headers, *_length(method, body)],
                content=body if method == "POST" else None,
                extensions={"timeout": TIMEOUTS_S},
            )
            response = await self._pool.handle_async_request(request)
        except (
            httpcore.ConnectError,
            httpcore.ConnectTimeout,
            httpcore.ProxyError,
            httpcore.UnsupportedProtocol,
        ) as exc:
            raise UpstreamError(_said(exc), was_sent=False) from exc
        except BROKEN as exc:
            raise UpstreamError(_said(exc), was_sent=True) from exc
        answer = Answer(
            status=response.status,
            headers=[(name.lower(), value) for name, value in response.headers],
            response=response,
        )
        return answer if response.status < 400 else await _with_error(answer)


async def _with_error(answer: Answer) -> Answer:
    """Read the body of an error, which is small."""
    parts: list[bytes] = []
    room = ERROR_BYTES
    try:
        async with aclosing(answer.chunks()) as chunks:
            async for chunk in chunks:
                parts.append(chunk[:room])
                room -= len(parts[-1])
                if not room:
                    break
    except UpstreamError:
        pass  # what came of it is enough
    finally:
        await answer.close()
    return Answer(status=answer.status, headers=answer.headers, response=answer.response, error=b"".join(parts))


def _with_limit(answer: Answer, name: str, *, now: float, wait_s: float) -> Answer:
    limited = Limited(provider=name, since=now, until=now + wait_s, why=why_limited(answer.error))
    return Answer(
        status=answer.status,
        headers=answer.headers,
        response=answer.response,
        error=answer.error,
        limited=limited,
    )


def _length(method: str, body: bytes) -> Headers:
    return [(b"content-length", b"%d" % len(body))] if method == "POST" else []


def _by_name(headers: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}


def _said(exc: Exception) -> str:
    return str(exc) or type(exc).__name__


def _trust() -> ssl.SSLContext:
    # The system's certificates, and those that SSL_CERT_FILE names: what a company puts there is to be trusted.
    return ssl.create_default_context()


def _proxy_for(scheme: str, host: str) -> str | None:
    """Find the proxy that this machine uses; never for this machine itself."""
    if host in ("localhost", "127.0.0.1", "::1") or urllib.request.proxy_bypass(host):
        return None
    found = urllib.request.getproxies().get(scheme)
    return found if found and found.startswith("http") else None
