"""What git shows to GitHub as password of x-access-token: our token, or a fresh one of the App's installation."""

import anyio

from luminaguard.forges.answers import number_at, seconds_at, text_at
from luminaguard.forges.github.auth import AppKey
from luminaguard.forges.github.wire import Wire

SPARE_S = 600.0
"""A token of an installation lives an hour; a push that begins with one may take its time."""


class GitAccess:
    """Gives tokens, and keeps that of an installation while it is good for a push."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._kept = ""
        self._good_until = 0.0
        self._one_asks = anyio.Lock()

    async def token(self) -> str:
        """Give a token that is good for minutes to come."""
        credentials = self._wire.line.credentials
        if not isinstance(credentials, AppKey):
            return credentials.text
        async with self._one_asks:
            if self._wire.clock() >= self._good_until:
                await self._renew()
            return self._kept

    async def _renew(self) -> None:
        """Ask for a token of this repository alone; one that is made twice does no harm."""
        installation = number_at((await self._wire.get("installation")).body, "id")
        path = f"/app/installations/{installation}/access_tokens"
        made = await self._wire.again("POST", path, {"repositories": [self._wire.repository.name]}, ok=(201,))
        self._kept = text_at(made.body, "token")
        self._good_until = seconds_at(made.body, "expires_at") - SPARE_S
