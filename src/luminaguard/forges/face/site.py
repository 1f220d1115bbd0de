"""What the face stands before: one repository, its target and its tracker."""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from anyio import from_thread

from luminaguard.forges.face.names import Urls
from luminaguard.forges.records import Snapshot, Snapshots
from luminaguard.forges.store import TrackerStore
from luminaguard.forges.talk import Talk
from luminaguard.forges.verdicts import Verdicts
from luminaguard.host.git import Git, Places
from luminaguard.host.locks import only_one
from luminaguard.host.trunk import Trunk
from luminaguard.model.ids import Oid

_OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One repository with its tracker, under the name that programs know it by. Its methods block."""

    places: Places
    git: Git
    target: str
    identity: tuple[str, str]
    store: TrackerStore
    owner: str
    name: str
    snapshots: Snapshots
    talk: Talk
    verdicts: Verdicts

    def heads(self) -> Mapping[str, Oid]:
        """Read the tips of all branches."""
        ran = self.git.run_blocking("for-each-ref", "--format=%(objectname) %(refname:strip=2)", "refs/heads")
        lines = (line.split(" ", 1) for line in ran.out.decode(errors="replace").splitlines())
        return {name: Oid(oid) for oid, name in lines} | {self.target: self.tip()}

    def tip(self) -> Oid:
        """Read the target's tip: the branch, or what landed beside it."""
        return from_thread.run(self._trunk(self.git).tip)

    def commit(self, name: str) -> Oid | None:
        """Resolve what a caller typed, a branch or a full object id, to a commit; None where there is none.

        Nothing else is resolved: what git takes besides (a path behind a colon, a date) is not for callers.
        """
        if _OID.fullmatch(name):
            found = self._resolved(name)
            return found if found == name else None
        return self.tip() if name == self.target else self._resolved(f"refs/heads/{name.removeprefix('refs/heads/')}")

    def _resolved(self, name: str) -> Oid | None:
        if any(char in "^~:?*[\\ " or not char.isprintable() for char in name) or ".." in name or "@{" in name:
            return None
        wanted = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        ran = self.git.run_blocking(*wanted, ok=(0, 1, 128))
        return Oid(ran.out.decode().strip()) if ran.exit_code == 0 else None

    @contextlib.contextmanager
    def landing(self) -> Iterator[Trunk]:
        """Hold the orchestrator's lock: only its holder may move the target.

        Raises:
            UserFault: a run is at work.
        """
        with only_one(self.places.state / "lock") as fd:
            yield self._trunk(Git(self.git.root, inherit=(fd,)))

    def _trunk(self, git: Git) -> Trunk:
        return Trunk(git, self.places, target=self.target, identity=self.identity)


def site_of(
    places: Places, *, target: str, identity: tuple[str, str], store: TrackerStore, owner: str, name: str
) -> Site:
    """Put a repository and its tracker together."""
    return Site(
        places=places,
        git=Git(places.root),
        target=target,
        identity=identity,
        store=store,
        owner=_slug(owner) or "local",
        name=_slug(name) or "repository",
        snapshots=Snapshots(store),
        talk=Talk(store),
        verdicts=Verdicts(store),
    )


def login_of(name: str) -> str:
    """Spell a person's name as a login."""
    return _slug(name).lower() or "owner"


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", os.fsencode(text).decode("ascii", "replace")).strip("-.")[:60]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A site at one moment, as one caller sees it."""

    site: Site
    urls: Urls
    snapshot: Snapshot
