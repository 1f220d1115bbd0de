"""How things are called towards programs that speak GitHub's language: database ids, node ids, addresses, times."""

import base64
import binascii
import time
from dataclasses import dataclass
from urllib.parse import quote

from luminaguard.model.faults import UserFault

ISSUES_FROM = 1_500_000_000
PULLS_FROM = 1_700_000_000
"""Database ids are far from numbers, so that a client which takes one for the other finds nothing; below 2**31."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What a node id names: a kind ("I", "PR", "R", "U", "LA", "IC") and a key."""

    kind: str
    key: str


def node_id(kind: str, key: object) -> str:
    """Make the node id of something."""
    return f"{kind}_{base64.urlsafe_b64encode(str(key).encode()).decode().rstrip('=')}"


def node_of(text: str) -> Node:
    """Read a node id.

    Raises:
        UserFault: it is none of ours.
    """
    kind, _, key = text.partition("_")
    try:
        return Node(kind=kind, key=base64.b64decode(key + "=" * (-len(key) % 4), "-_", validate=True).decode())
    except (binascii.Error, ValueError):
        hint = "take one that an answer holds"
        raise UserFault(f"Could not resolve to a node with the global id of '{text[:80]}'", hint=hint) from None


def iso(seconds: float) -> str:
    """Write a time as GitHub does."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Urls:
    """Addresses as the caller sees us: `web` for people, `api` for programs; both without a slash at the end."""

    web: str
    api: str
    owner: str
    name: str

    @property
    def repo(self) -> str:
        """The repository, for programs."""
        return f"{self.api}/repos/{self.owner}/{self.name}"

    @property
    def page(self) -> str:
        """The repository, for people."""
        return f"{self.web}/{self.owner}/{self.name}"

    def user(self, login: str) -> str:
        """A user, for programs."""
        return f"{self.api}/users/{quote(login, safe='')}"
