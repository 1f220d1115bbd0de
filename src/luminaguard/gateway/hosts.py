"""Which hosts sandboxes may reach besides the models', and which addresses never. Pure.

An entry is a name ("pypi.org", ports 80 and 443), a name and a port ("example.org:8443"), all below a name
("*.example.org"), an address, or a preset. A name that leads to an address of this machine or of a private network is
refused: names are the network's word. Who means such an address lists the address itself.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PRESETS: Mapping[str, tuple[str, ...]] = {
    "pypi": ("pypi.org", "files.pythonhosted.org"),
    "npm": ("registry.npmjs.org", "registry.yarnpkg.com"),
    "crates": ("crates.io", "index.crates.io", "static.crates.io"),
    "go": ("proxy.golang.org", "sum.golang.org"),
}
WEB = (80, 443)
NAT64 = ipaddress.ip_network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One host of the list. `port` None: those of the web. `below`: every name below it, not itself."""

    name: str
    port: int | None = None
    below: bool = False

    def allows(self, name: str, port: int) -> bool:
        """Tell whether a host and port are this entry's."""
        if port != self.port if self.port is not None else port not in WEB:
            return False
        return name.endswith("." + self.name) if self.below else name == self.name


def entries_of(hosts: Iterable[str]) -> tuple[Entry, ...]:
    """Read the list; a preset stands for its hosts."""
    return tuple(_entry(host) for said in hosts for host in PRESETS.get(said, (said,)))


def _entry(host: str) -> Entry:
    name, port = split_host(host)
    below = name.startswith("*.")
    return Entry(name=name.removeprefix("*."), port=port, below=below)


def split_host(text: str) -> tuple[str, int | None]:
    """Split "name:port", "[::1]:port" or a name alone; the name in lower case, without the root's dot."""
    name, colon, port = text.strip().rpartition(":")
    if not colon or (":" in name and not name.startswith("[")) or not port.isascii() or not port.isdigit():
        name, port = text.strip(), ""
    number = int(port) if port and len(port) <= 5 else None
    return name.strip("[]").rstrip(".").lower(), number


def allows(entries: Iterable[Entry], name: str, port: int) -> bool:
    """Tell whether a host and port are on the list."""
    return any(entry.allows(name, port) for entry in entries)


def may_reach(entries: Iterable[Entry], address: str, port: int) -> bool:
    """Tell whether an address may be connected to: one of the public network, or one that is listed as it is."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return _is_public(found) or allows(entries, str(found), port)


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved and not address.is_unspecified
