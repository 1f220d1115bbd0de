"""The local forge's face before a project: which tracker, which repository, which tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from luminaguard.app.project import Project
from luminaguard.app.serving import Doors, Served
from luminaguard.forges.face.app import face
from luminaguard.forges.face.server import Address, serve, tcp_socket, unix_socket, write_gh_environment
from luminaguard.forges.face.site import Site, login_of, site_of
from luminaguard.forges.face.tokens import Holder, Rights, Tokens
from luminaguard.model.ids import IssueId


@dataclass(frozen=True, slots=True, kw_only=True)
class _Forge:
    site: Site
    tokens: Tokens
    folder: Path


def _forge_of(project: Project) -> _Forge:
    folder = project.places.state / "forge"
    root = project.places.main_tree or project.places.root
    identity = project.trunk.identity
    site = site_of(
        project.places,
        target=project.target,
        identity=identity,
        store=project.store,
        owner=login_of(identity[0]),
        name=root.name.removesuffix(".git"),
    )
    return _Forge(site=site, tokens=Tokens(folder), folder=folder)


async def serve_forge(project: Project, doors: Doors, started: Callable[[Served], None]) -> None:
    """Serve until a signal comes.

    Raises:
        UserFault: the addresses are taken or cannot be.
        HostFault: a folder cannot be written.
    """
    forge = _forge_of(project)
    await project.forge.backlog()  # a backlog in files is brought into the tracker
    path = doors.socket or forge.folder / "socket"
    app = face(forge.site, forge.tokens, folder=forge.folder)
    sockets = [unix_socket(path)]
    url = ""
    if doors.host:
        listener = tcp_socket(Address(host=doors.host, port=doors.port))
        sockets.append(listener)
        host = f"[{doors.host}]" if ":" in doors.host else doors.host
        url = f"http://{host}:{listener.getsockname()[1]}"
    env = write_gh_environment(forge.site, forge.tokens, socket_path=path, folder=forge.folder)
    name = f"{forge.site.owner}/{forge.site.name}"
    served = Served(repository=name, socket=path, url=url, env=env, token=forge.tokens.full_path)
    await serve(app, sockets, started=lambda: started(served))


def new_token(project: Project, issue: str | None) -> str:
    """Make a token that reads everything, and comments on an issue where one is named."""
    tokens = _forge_of(project).tokens
    if issue is None:
        return tokens.make(Holder(login="reader[bot]", rights=Rights.READ))
    found = project.store.show(issue).id
    return tokens.make(Holder(login=f"agent-{found}[bot]", rights=Rights.COMMENT, issue=IssueId(found)))
