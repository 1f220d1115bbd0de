"""A repository as the user means it: where it lies, what is set for it, where its issues are."""

import functools
import os
import pkgutil
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from luminaguard.app.detect import DetectedChecks, detect_checks
from luminaguard.app.settings import load, with_flags
from luminaguard.app.settings_tables import BacklogSource, ReportSettings, Settings
from luminaguard.forges.all import format_of
from luminaguard.forges.base import Checking, Commenting, Discussing, Forge, Merging, Permitting, ReportPlace, Reviewing
from luminaguard.forges.file_backlog import FileBacklog
from luminaguard.forges.local import LocalTracker
from luminaguard.forges.store import TrackerStore
from luminaguard.host.git import Git, Places, find_repository
from luminaguard.host.lookup import Lookup
from luminaguard.host.trunk import Trunk
from luminaguard.host.upstream import LetIn, Upstream, unasked
from luminaguard.model.faults import UserFault

OURS = ("LuminaGuard", "luminaguard@localhost")


class Talk(Reviewing, Checking, Commenting, Discussing, Protocol):
    """Where a forge shows reviews and verdicts, and people answer."""


class RemoteForge(Forge, Talk, Merging, Permitting, Protocol):
    """A forge over a network."""

    def open(self) -> AbstractAsyncContextManager[None]:
        """Keep connections for the block."""

    async def git_token(self) -> str:
        """Give what git shows as a password there; it may be worth something for an hour only."""


@dataclass(frozen=True, kw_only=True)
class Project:
    """What every command begins with. `target` is the branch that changes land on, at `remote` where there is one.

    `let_in` gives what git needs to be let in there; `reached` is the forge where it lies behind a network, `talk` what
    can be told and heard there. `repository` is how the forge calls it: "owner/name".
    """

    places: Places
    settings: Settings
    git: Git
    target: str
    store: TrackerStore
    forge: Forge
    backlog: str
    remote: str | None = None
    let_in: LetIn = field(default=unasked, repr=False)
    reached: RemoteForge | None = None
    talk: Talk | None = None
    repository: str | None = None

    @functools.cached_property
    def trunk(self) -> Trunk:
        """The target branch."""
        upstream = None
        if self.remote is not None:
            upstream = Upstream(git=self.git, remote=self.remote, target=self.target, let_in=self.let_in)
        return Trunk(self.git, self.places, target=self.target, identity=_identity(self.git), upstream=upstream)

    def at_work(self, lock: int, lookup: Lookup) -> "Project":
        """Give the same project for a session: every git child keeps the lock open, names are looked up cheaply."""
        return replace(self, git=Git(self.git.root, inherit=(lock,), lookup=lookup))


def open_project(repo: Path, *, backlog: Path | None = None, flags: Mapping[str, str] | None = None) -> Project:
    """Open the repository that holds a folder.

    Raises:
        UserFault: there is no repository, its settings are broken, or the backlog is not there.
        HostFault: git is missing or too old.
    """
    places = find_repository(repo)
    settings = with_flags(load(places.root), flags or {})
    if backlog is not None:
        # A path on the command line is meant from where the user stands.
        path = os.path.abspath(backlog)  # noqa: PTH100 keeps links
        # Files name no assignees, and reports have their place at the configured source.
        there = replace(settings.backlog, source=BacklogSource.FILE, path=path, assignee=None)
        settings = replace(settings, backlog=there, report=ReportSettings())
    git = Git(places.root)
    store = TrackerStore(places.state / "tracker.db", who=_identity(git)[0])
    target = settings.landing.target or main_branch(git)
    source, remote = settings.backlog.source, settings.landing.remote
    if source in (BacklogSource.LOCAL, BacklogSource.FILE):
        forge, name = _forge(settings, places, store)
        return Project(
            places=places,
            settings=settings,
            git=git,
            target=target,
            store=store,
            forge=forge,
            backlog=name,
            remote=remote,
            talk=forge.talk,
        )
    remote = remote or "origin"
    reached = pkgutil.resolve_name(REACH)(settings, places.root, remote=remote)
    return Project(
        places=places,
        settings=settings,
        git=git,
        target=target,
        store=store,
        forge=reached.forge,
        backlog=reached.name,
        remote=remote,
        let_in=reached.let_in,
        reached=reached.forge,
        talk=reached.forge,
        repository=reached.repository,
    )


REACH = "luminaguard.app.remote_forges:reached"
"""By name: it brings an HTTP client along, which most commands need not wait for."""


def _forge(settings: Settings, places: Places, store: TrackerStore) -> tuple[LocalTracker | FileBacklog, str]:
    tracker = LocalTracker(store, report=report_place(settings))
    if settings.backlog.source is BacklogSource.LOCAL:
        return tracker, "local"
    path = places.root / settings.backlog.path
    return FileBacklog(path, source=format_of(path), root=places.root, tracker=tracker), f"file {settings.backlog.path}"


def report_place(settings: Settings) -> ReportPlace:
    """Give the place of reports that [report] names; an id may be written with a "#"."""
    said = settings.report
    return ReportPlace(issue=said.issue.removeprefix("#") if said.issue else None, category=said.category)


def main_branch(git: Git) -> str:
    """Find a repository's main branch: the remote's, else main or master, else what is checked out.

    Raises:
        UserFault: there is no commit yet.
    """
    known = git.run_blocking("for-each-ref", "--format=%(refname:short)", "refs/heads").out.decode().split()
    remote = git.run_blocking("symbolic-ref", "-q", "--short", "refs/remotes/origin/HEAD", ok=(0, 1, 128))
    head = git.run_blocking("symbolic-ref", "-q", "--short", "HEAD", ok=(0, 1, 128))
    wanted = (remote.out.decode().strip().partition("/")[2], "main", "master", head.out.decode().strip())
    found = next((name for name in wanted if name in known), None)
    if found is None:
        raise UserFault("the repository has no branch with a commit yet", hint="commit once, then try again")
    return found


def _identity(git: Git) -> tuple[str, str]:
    name = git.run_blocking("config", "user.name", ok=(0, 1)).out.decode(errors="replace").strip()
    address = git.run_blocking("config", "user.email", ok=(0, 1)).out.decode(errors="replace").strip()
    return (name, address) if name and address else OURS


async def checks_of(project: Project) -> DetectedChecks:
    """Give the commands that judge a change: the configured ones, else what the target's own files tell."""
    if project.settings.checks.run is not None:
        return DetectedChecks(run=project.settings.checks.run, why=f"configured in {project.settings.path}")
    tip = await project.trunk.tip()
    paths = await project.trunk.paths(tip)
    read = project.git.run_blocking

    def content(path: str) -> bytes | None:
        ran = read("cat-file", "blob", f"{tip}:{path}", ok=(0, 128))
        return ran.out if ran.exit_code == 0 else None

    return detect_checks(paths, content)


def is_trusted(settings: Settings, author: str | None, association: str | None) -> bool:
    """Tell whether an author's issues are worked on without a person saying so.

    Where a source does not say who somebody is, the file was put there by the user, and [trust] authors decides.
    """
    trust = settings.trust
    if trust.authors:
        return author in trust.authors
    return association is None or association.lower() in trust.associations
