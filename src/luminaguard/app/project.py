"""A repository as the user means it: where it lies, what is set for it, where its issues are."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from luminaguard.app.detect import DetectedChecks, detect_checks
from luminaguard.app.settings import load, with_flags
from luminaguard.app.settings_tables import BacklogSource, Settings
from luminaguard.forges.all import format_of
from luminaguard.forges.base import Forge
from luminaguard.forges.file_backlog import FileBacklog
from luminaguard.forges.local import LocalTracker
from luminaguard.forges.store import TrackerStore
from luminaguard.host.git import Git, Places, find_repository
from luminaguard.host.lookup import Lookup
from luminaguard.host.trunk import Trunk
from luminaguard.model.faults import UserFault

OURS = ("LuminaGuard", "luminaguard@localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What every command begins with. `target` is the branch that changes land on."""

    places: Places
    settings: Settings
    git: Git
    target: str
    store: TrackerStore
    forge: Forge
    backlog: str

    @property
    def trunk(self) -> Trunk:
        """The target branch."""
        return Trunk(self.git, self.places, target=self.target, identity=_identity(self.git))

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
        there = replace(settings.backlog, source=BacklogSource.FILE, path=os.path.abspath(backlog))  # noqa: PTH100 keeps links
        settings = replace(settings, backlog=there)
    git = Git(places.root)
    store = TrackerStore(places.state / "tracker.db", who=_identity(git)[0])
    forge, name = _forge(settings, places, store)
    target = settings.landing.target or main_branch(git)
    return Project(places=places, settings=settings, git=git, target=target, store=store, forge=forge, backlog=name)


def _forge(settings: Settings, places: Places, store: TrackerStore) -> tuple[Forge, str]:
    source = settings.backlog.source
    tracker = LocalTracker(store)
    if source is BacklogSource.LOCAL:
        return tracker, "local"
    if source is not BacklogSource.FILE:
        raise UserFault(
            f"{settings.path}: [backlog] source = '{source}' is not supported by this version",
            hint="export the issues (gh issue list --json ... > issues.json) and use source = 'file'",
        )
    path = places.root / settings.backlog.path
    return FileBacklog(path, source=format_of(path), root=places.root, tracker=tracker), f"file {settings.backlog.path}"


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
