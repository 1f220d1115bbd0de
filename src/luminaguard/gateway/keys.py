"""Takes real keys out of what passes, in place and at the same length, also where pieces cut them apart. Pure."""

from collections.abc import Iterable
from urllib.parse import quote

SHORTEST = 8
"""A shorter "key" is a word that stands for none ("x", "ollama"): taking it out would spoil answers."""
FILLER = b"*"


def spellings(keys: Iterable[str]) -> tuple[bytes, ...]:
    """List the ways in which keys are looked for, longest first."""
    worth = [key for key in keys if len(key) >= SHORTEST]
    found = {spelled.encode() for key in worth for spelled in (key, quote(key, safe=""))}
    return tuple(sorted(found, key=len, reverse=True))


def without_keys(text: bytes, keys: Iterable[bytes]) -> bytes:
    """Put filler in the place of each key."""
    for key in keys:
        if key in text:
            text = text.replace(key, FILLER * len(key))
    return text


class KeyFilter:
    """The same for a stream: at most the beginning of what may become a key is held back."""

    __slots__ = ("_held", "_keys")

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """Give what may go on."""
        if not self._keys:
            return chunk
        text = without_keys(self._held + chunk if self._held else chunk, self._keys)
        keep = max(_begun(text, key) for key in self._keys)
        self._held = text[len(text) - keep :] if keep else b""
        return text[: len(text) - keep] if keep else text

    def end(self) -> bytes:
        """Give what was held back for a key that did not come."""
        held, self._held = self._held, b""
        return held


def _begun(text: bytes, key: bytes) -> int:
    """Count the bytes at the end that a key begins with."""
    at = text.find(key[:1], max(0, len(text) - len(key) + 1))
    while at >= 0:
        if key.startswith(text[at:]):
            return len(text) - at
        at = text.find(key[:1], at + 1)
    return 0
