"""The face before a project's forge: which tracker, which repository, which tokens."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from luminaguard.app.folders import slug
from luminaguard.app.forge_door import ForgeDoor
from luminaguard.app.forge_words import agent_words
from luminaguard.app.project import Project
from luminaguard.app.serving import Doors, Served
from luminaguard.forges.face.app import face, face_without_git
from luminaguard.forges.face.server import (
    Address,
    opened,
    serve,
    served_beside,
    tcp_socket,
    unix_socket,
    write_gh_environment,
)
from luminaguard.forges.face.site import Site, login_of, site_of
from luminaguard.forges.face.tokens import Holder, Rights, Tokens
from luminaguard.forges.file_backlog import FileBacklog
from luminaguard.forges.mirror import Mirror
from luminaguard.forges.store import TrackerStore
from luminaguard.gateway.process import socket_path_for
from luminaguard.model.ids import IssueId


@dataclass(frozen=True, slots=True, kw_only=True)
class _Forge:
    """`mirror` is set where the forge lies elsewhere."""

    site: Site
    tokens: Tokens
    folder: Path
    mirror: Mirror | None

    @property
    def repository(self) -> str:
        return f"{self.site.owner}/{self.site.name}"


def _forge_of(project: Project) -> _Forge:
    folder = project.places.state / "forge"
    mirror = _mirror_of(project, folder)
    identity = project.trunk.identity
    owner, name = _name_of(project)
    site = site_of(
        project.places,
        target=project.target,
        identity=identity,
        store=mirror.store if mirror else project.store,
        owner=owner,
        name=name,
        beyond=mirror,
    )
    return _Forge(site=site, tokens=Tokens(folder), folder=folder, mirror=mirror)


def _name_of(project: Project) -> tuple[str, str]:
    if project.reached is not None and project.repository:
        owner, _, name = project.repository.rpartition("/")
        return owner, name
    root = project.places.main_tree or project.places.root
    return login_of(project.trunk.identity[0]), root.name.removesuffix(".git")


def _mirror_of(project: Project, folder: Path) -> Mirror | None:
    reached = project.reached
    if reached is None:
        return None
    # By its name: a project that changes its forge must not show one's issues as the other's.
    store = TrackerStore(folder / f"mirror-{slug(project.backlog)}.db", who="luminaguard")
    return Mirror(store, forge=reached, talk=reached, source=project.backlog, dressed=agent_words)


async def serve_forge(project: Project, doors: Doors, started: Callable[[Served], None]) -> None:
    """Serve until a signal comes.

    Raises:
        UserFault: the addresses are taken or cannot be.
        HostFault: a folder cannot be written.
    """
    forge = _forge_of(project)
    path = doors.socket or forge.folder / "socket"
    app = face(forge.site, forge.tokens, folder=forge.folder)
    async with AsyncExitStack() as stack:
        if project.reached is not None:
            await stack.enter_async_context(project.reached.open())
        else:
            await project.forge.backlog()  # a backlog in files is brought into the tracker
            if isinstance(project.forge, FileBacklog):
                project.forge.check_kept()
        sockets = [stack.enter_context(opened(unix_socket(path)))]
        url = ""
        if doors.host:
            listener = tcp_socket(Address(host=doors.host, port=doors.port))
            sockets.append(stack.enter_context(opened(listener)))
            host = f"[{doors.host}]" if ":" in doors.host else doors.host
            url = f"http://{host}:{listener.getsockname()[1]}"
        env = write_gh_environment(forge.site, forge.tokens, socket_path=path, folder=forge.folder)
        served = Served(repository=forge.repository, socket=path, url=url, env=env, token=forge.tokens.full_path)
        await serve(app, sockets, started=lambda: started(served))


@asynccontextmanager
async def forge_beside(project: Project) -> AsyncIterator[ForgeDoor]:
    """Serve for agents while the block lasts, on a socket that only the gateway is told of.

    Raises:
        UserFault: somebody listens there already.
        HostFault: a folder cannot be written.
    """
    forge = _forge_of(project)
    path = socket_path_for(project.places.state, name="forge")
    door = ForgeDoor(
        socket=path,
        repository=forge.repository,
        tokens=forge.tokens,
        said=forge.site.said,
        named=forge.mirror.name if forge.mirror else _nothing,
    )
    try:
        async with served_beside(face_without_git(forge.site, forge.tokens), unix_socket(path)):
            yield door
    finally:
        with contextlib.suppress(OSError):  # one that is left is found again
            path.parent.rmdir()


def _nothing(_issue: IssueId) -> None:
    """Do nothing: the tracker has every issue."""


def new_token(project: Project, issue: str | None) -> str:
    """Make a token that reads everything, and comments on an issue where one is named."""
    tokens = _forge_of(project).tokens
    if issue is None:
        return tokens.make(Holder(login="reader[bot]", rights=Rights.READ))
    found = IssueId(issue.removeprefix("#")) if project.reached else project.store.show(issue).id
    return tokens.make(Holder(login=f"agent-{found}[bot]", rights=Rights.COMMENT, issue=found))
