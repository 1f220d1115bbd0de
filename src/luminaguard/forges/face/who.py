"""Whose request it is, by its Authorization header."""

import base64
import binascii

from luminaguard.forges.face.answers import RefusalError
from luminaguard.forges.face.tokens import Holder, Tokens


def holder_of(header: str, tokens: Tokens) -> Holder:
    """Find whose token a request carries.

    Raises:
        RefusalError: it carries none, or one that is worth nothing.
    """
    if not header:
        raise RefusalError(401, "Requires authentication", www_authenticate='Basic realm="luminaguard"')
    holder = next((found for token in _tokens(header) if (found := tokens.holder(token)) is not None), None)
    if holder is None:
        raise RefusalError(401, "Bad credentials", www_authenticate='Basic realm="luminaguard"')
    return holder


def _tokens(header: str) -> tuple[str, ...]:
    """Give what may be the token: git sends it as the password, or as the user's name."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() in ("bearer", "token"):
        return (rest.strip(),)
    if scheme.lower() != "basic":
        return ()
    try:
        user, _, password = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return ()
    return (password, user)
