"""The driver on a GitHub of this process."""

from collections.abc import Callable
from functools import partial

from github_server import FULL, Server

from luminaguard.forges.base import Filters, ReportPlace
from luminaguard.forges.github.auth import Token
from luminaguard.forges.github.forge import GitHub
from luminaguard.forges.github.repository import repository_named

Opened = Callable[..., GitHub]


def driver_on(server: Server, *, filters: Filters | None = None, report: ReportPlace | None = None) -> GitHub:
    """Give a driver with no memory of what another one did."""
    return GitHub(
        repository_named(FULL),
        Token(text="t", source="test"),
        filters=filters,
        report=report,
        transport=server,
        sleep=server.sleep,
        clock=server.clock,
    )


def opened_on(server: Server) -> Opened:
    """Give what makes drivers on one server."""
    return partial(driver_on, server)
