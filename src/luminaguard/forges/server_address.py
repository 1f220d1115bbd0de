"""Addresses of servers that people and remotes name: whether one can be connected to, and how it is shown."""

import re
from urllib.parse import urljoin, urlsplit

_SECRET = re.compile(r"(?<=://).*@|[^\s/@\"':]+:(?!//).*@", re.DOTALL)


def why_no_server(address: str) -> str | None:
    """Say how an address must be written to be a server's, with or without a path; None where it is."""
    try:
        split = urlsplit(address)
        host = (split.hostname or "").encode("idna")  # refuses empty labels and long ones, as every resolver does
        port = split.port
    except ValueError:
        return 'write it as "https://git.example.org:8443"; a port is a number up to 65535'
    if split.scheme not in ("http", "https") or not host or port == 0 or " " in address or not address.isprintable():
        return 'write it as "https://git.example.org"'
    if "@" in split.netloc:
        return "leave name and password out: what lets us in is a token, in an environment variable"
    if "?" in address or "#" in address:
        return "leave out what begins with ? or #"
    return None


def without_password(text: str) -> str:
    """Show a text that may be an address, without what stands before its host."""
    return _SECRET.sub("***@", text)


def followed(base: str, place: str) -> str | None:
    """Give the address that a server's answer points to, relative to its own; None where it is none."""
    try:
        return urljoin(base, place)
    except ValueError:
        return None
