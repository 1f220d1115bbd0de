"""Lists that come in pages: where a broken server would have us read for ever."""

from luminaguard.model.faults import HostFault

MOST_PAGES = 10_000


def endless(what: str, *, after: str) -> HostFault:
    """Say that a list names one more page when there can be none."""
    return HostFault(
        f"the list of {what} has no end: {after} is said to have a next page that was read already, or one too many",
        hint="the server, or a proxy before it, is broken: check the base URL",
    )
