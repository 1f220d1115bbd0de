"""A GitHub of this process, and the driver on it; and the face's ground.

In one place: mypy knows a conftest by its bare name where its folder is searched for modules.
"""

import pytest
from face_fixtures import clone, ground, project, running
from github_driver import Opened, opened_on
from github_server import Server

from luminaguard.forges.github.forge import GitHub

__all__ = ["clone", "forge", "ground", "opened", "project", "running", "server"]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def opened(server: Server) -> Opened:
    return opened_on(server)


@pytest.fixture
def forge(opened: Opened) -> GitHub:
    return opened()
