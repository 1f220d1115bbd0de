"""What a token may be made of. It goes into a header: what else is in it would be shown by whoever refuses it there."""

import re

from luminaguard.model.faults import UserFault

_TOKEN = re.compile(r"[!-~]+")


def is_token(text: str) -> bool:
    """Tell whether a text can be a token: ASCII that is seen, and something of it."""
    return _TOKEN.fullmatch(text) is not None


def checked_token(text: str, *, source: str) -> str:
    """Give the token back if it is one.

    Raises:
        UserFault: it has a line break, a space or what is not ASCII; names `source`, never the token.
    """
    if not is_token(text):
        raise UserFault(
            f"what {source} gives is no token: there is a line break, a space or a strange letter in it",
            hint=f"let {source} give the token alone, on one line",
        )
    return text
