"""Connections to providers for httpcore, on the same links that callers come in on."""

import ssl
from collections.abc import Iterable
from typing import Any

import anyio
import httpcore

from luminaguard.gateway.link import Link, connected


class Road(httpcore.AsyncNetworkStream):
    """One connection."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 httpcore's shape
        """Read; b"" at the end."""
        try:
            return await self._link.receive(max_bytes, within_s=timeout)
        except anyio.EndOfStream:
            return b""
        except TimeoutError as exc:
            raise httpcore.ReadTimeout(f"no word for {timeout} s") from exc

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 httpcore's shape
        """Write all."""
        try:
            if self._link.is_full:
                with anyio.fail_after(timeout):
                    await self._link.send(buffer)
            else:
                await self._link.send(buffer)
        except anyio.BrokenResourceError as exc:
            raise httpcore.WriteError("the connection was closed") from exc
        except TimeoutError as exc:
            raise httpcore.WriteTimeout(f"nothing was taken for {timeout} s") from exc

    async def aclose(self) -> None:
        """Close."""
        self._link.abort()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 httpcore's shape
    ) -> httpcore.AsyncNetworkStream:
        """Go on encrypted."""
        try:
            with anyio.fail_after(timeout):
                await self._link.start_tls(ssl_context, server_hostname)
        except (OSError, TimeoutError) as exc:
            self._link.abort()
            raise httpcore.ConnectError(str(exc) or "no TLS in time") from exc
        return self

    def get_extra_info(self, info: str) -> Any:
        """Tell what httpcore asks of its streams."""
        if info == "is_readable":
            return self._link.is_readable
        return self._link.transport.get_extra_info(info)


class Roads(httpcore.AsyncNetworkBackend):
    """Makes connections."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 httpcore's shape
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002 asyncio sets TCP_NODELAY
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a host."""
        assert local_address is None
        try:
            with anyio.fail_after(timeout):
                link = await connected(host, port)
        except TimeoutError as exc:
            raise httpcore.ConnectTimeout(f"no connection to {host} in {timeout} s") from exc
        except OSError as exc:
            raise httpcore.ConnectError(str(exc)) from exc
        return Road(link)

    async def sleep(self, seconds: float) -> None:
        """Wait between two tries."""
        await anyio.sleep(seconds)
