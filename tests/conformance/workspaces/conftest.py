"""A bench for workspaces: a real repository, an agent that is a shell script, real walls."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from guest_image import guests_of

from luminaguard.host.detached import Ended, run_attached
from luminaguard.host.git import Git, Places, find_repository
from luminaguard.host.limits import Limits
from luminaguard.model.ids import Oid
from luminaguard.sandboxes.base import Sandbox
from luminaguard.sandboxes.namespace import Namespace
from luminaguard.sandboxes.none import NoWalls
from luminaguard.sandboxes.vm import MicroVm
from luminaguard.workspaces.base import Delivered, Start, Workspace, Workspaces, with_preparation
from luminaguard.workspaces.checkout import CheckoutWorkspaces
from luminaguard.workspaces.overlay import OverlayWorkspaces

MIB = 1024 * 1024
REF = "refs/luminaguard/attempts/1"
BRANCH = "feature/issue-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What an agent's run led to."""

    ended: Ended
    log: str
    delivered: Delivered
    workspace: Workspace

    @property
    def commit(self) -> Oid:
        assert self.delivered.commit is not None, self.delivered
        return self.delivered.commit


@dataclass(slots=True)
class Bench:
    """One repository, one kind of workspaces, one sandbox."""

    root: Path
    make: Callable[[Git, Places], Workspaces]
    sandbox: Sandbox
    limits: Limits = field(default_factory=lambda: Limits(tmp_bytes=64 * MIB))
    count: int = 0

    @property
    def places(self) -> Places:
        return find_repository(self.root)

    @property
    def workspaces(self) -> Workspaces:
        return self.make(Git(self.root), self.places)

    def git(self, *args: str, stdin: bytes = b"") -> str:
        ran = subprocess.run(("git", "-C", str(self.root), *args), input=stdin, capture_output=True, check=True)
        return ran.stdout.decode(errors="surrogateescape").removesuffix("\n")

    def commit(self, message: str, **files: str | bytes | None) -> Oid:
        """Commit files on the current branch; None removes one. A `__` in a name stands for a slash."""
        for name, content in files.items():
            path = self.root / name.replace("__", "/")
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.head()

    def head(self) -> Oid:
        return Oid(self.git("rev-parse", "HEAD"))

    def show(self, commit: Oid, path: str) -> str:
        return self.git("show", f"{commit}:{path}")

    def paths(self, commit: Oid) -> list[str]:
        return self.git("ls-tree", "-r", "-z", "--name-only", commit).rstrip("\0").split("\0")

    def start(self, *, merge: Oid | None = None, commit: Oid | None = None) -> Start:
        return Start(branch=BRANCH, commit=commit or self.head(), merge=merge)

    def create(self, start: Start | None = None, name: str = "1") -> Workspace:
        async def make() -> Workspace:
            return await self.workspaces.create(name, start or self.start(), limits=self.limits)

        return anyio.run(make)

    def enter(self, workspace: Workspace, script: str, *, timeout_s: float = 60.0) -> tuple[Ended, str]:
        """Run a script as the agent, after the preparation."""
        self.count += 1
        place = self.root.parent / f"agent-{self.count}"
        argv = with_preparation(workspace, ("sh", "-c", script))

        async def run() -> Ended:
            return await run_attached(place, self.sandbox.enclose(argv, workspace.walls), timeout_s=timeout_s)

        ended = anyio.run(run)
        return ended, (place / "log").read_text(encoding="utf-8", errors="replace")

    def collect(self, workspace: Workspace) -> Delivered:
        async def bring() -> Delivered:
            return await self.workspaces.collect(workspace, ref=REF, message="feat: it (#1)")

        return anyio.run(bring)

    def discard(self, workspace: Workspace) -> None:
        anyio.run(self.workspaces.discard, workspace)

    def work(self, script: str, start: Start | None = None, *, timeout_s: float = 60.0) -> Done:
        """Create, run the agent, collect, discard."""
        workspace = self.create(start)
        ended, log = self.enter(workspace, script, timeout_s=timeout_s)
        delivered = self.collect(workspace)
        self.discard(workspace)
        assert not workspace.folder.exists()
        return Done(ended=ended, log=log, delivered=delivered, workspace=workspace)


@pytest.fixture(scope="session")
def walls(tmp_path_factory: pytest.TempPathFactory) -> Namespace:
    return Namespace(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session")
def guests(guest_image: Path, tmp_path_factory: pytest.TempPathFactory) -> MicroVm:
    return guests_of(tmp_path_factory.mktemp("state"), guest_image)


GUESTS = pytest.param("guests", marks=[pytest.mark.vm, pytest.mark.slow])


def new_repository(root: Path, *options: str) -> None:
    root.mkdir(parents=True)
    git = ("git", "-C", str(root))
    subprocess.run((*git, "init", "-q", "-b", "main", *options), check=True)
    for name, value in (("user.name", "Ada"), ("user.email", "ada@example.org"), ("commit.gpgSign", "false")):
        subprocess.run((*git, "config", name, value), check=True)


def bench_of(kind: str, root: Path, request: pytest.FixtureRequest) -> Bench:
    walls: Namespace | MicroVm = request.getfixturevalue("guests" if kind == "guests" else "walls")
    if kind == "checkout without walls":
        return Bench(root, lambda git, places: CheckoutWorkspaces(git, places, NoWalls()), NoWalls())
    if (why := walls.missing() if kind == "checkout" else walls.overlay_missing()) is not None:
        pytest.skip(f"no {kind}: {why}")
    if kind != "checkout":
        return Bench(root, lambda git, places: OverlayWorkspaces(git, places, walls), walls)
    return Bench(root, lambda git, places: CheckoutWorkspaces(git, places, walls), walls)


@pytest.fixture(params=["overlay", "checkout", "checkout without walls", GUESTS])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """Every kind of workspaces, on a repository whose path has a space and an umlaut."""
    root = tmp_path / "a repository für uns"
    new_repository(root)
    made = bench_of(request.param, root, request)
    made.commit("first", a="one\ntwo\nthree\n", src__b="b\n", gone="old\n", run_sh="#!/bin/sh\n")
    return made


@pytest.fixture(params=["overlay", GUESTS])
def overlay_bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """Overlays behind real walls: what hostile agents are let loose on."""
    return bench_in(tmp_path, request.param, request)


def bench_in(folder: Path, kind: str, request: pytest.FixtureRequest) -> Bench:
    new_repository(folder / "repository")
    made = bench_of(kind, folder / "repository", request)
    made.commit("first", a="one\ntwo\nthree\n", src__b="b\n")
    return made


@pytest.fixture
def shared_bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """Overlays behind walls that share the kernel with this machine: what there is to hide of it."""
    return bench_in(tmp_path, "overlay", request)


@pytest.fixture
def guests_bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """Guests alone: what only they have, a disk and a hypervisor."""
    return bench_in(tmp_path, "guests", request)


@pytest.fixture(params=["overlay", GUESTS])
def make_bench(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Bench]:
    """Repositories of other shapes: `make_bench("--object-format=sha256")`."""

    def make(*options: str) -> Bench:
        root = tmp_path / "other"
        new_repository(root, *options)
        return bench_of(request.param, root, request)

    return make
