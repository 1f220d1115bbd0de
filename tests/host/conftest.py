"""Real repositories, one to a test."""

import os
import stat
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from luminaguard.host.git import Git, Places, find_repository
from luminaguard.host.trunk import Style, Trunk
from luminaguard.model.ids import Oid
from luminaguard.model.work import Candidate, Conflict

ME = ("A Tester", "tester@example.org")
Content = str | bytes | None
"""What a file is to hold; None: nothing, it goes."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository on disk, and the trunk on its `main`."""

    root: Path

    @property
    def places(self) -> Places:
        return find_repository(self.root)

    @property
    def trunk(self) -> Trunk:
        return Trunk(Git(self.root), self.places, target="main", identity=ME)

    def git(self, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> str:
        ran = subprocess.run(
            ("git", "-C", str(self.root), *args),
            input=stdin,
            capture_output=True,
            check=False,
            env={**os.environ, **(env or {})},
        )
        assert ran.returncode == 0, (args, ran.stderr)
        return os.fsdecode(ran.stdout).removesuffix("\n")

    def rev(self, name: str) -> Oid:
        return Oid(self.git("rev-parse", "--verify", name))

    def commit(self, files: Mapping[str, Content], *, parent: str | None = "main", message: str = "a change") -> Oid:
        """Make a commit beside every branch and working tree."""
        env = {"GIT_INDEX_FILE": str(self.root / "test.index")}
        (self.root / "test.index").unlink(missing_ok=True)
        if parent is not None:
            self.git("read-tree", parent, env=env)
        for path, content in files.items():
            if content is None:
                self.git("update-index", "--force-remove", "--", path, env=env)
                continue
            raw = content if isinstance(content, bytes) else content.encode()
            self.stage(path, self.git("hash-object", "-w", "--stdin", stdin=raw), env=env)
        tree = self.git("write-tree", env=env)
        (self.root / "test.index").unlink(missing_ok=True)
        parents = ("-p", parent) if parent is not None else ()
        return Oid(self.git("commit-tree", tree, *parents, "-m", message))

    def stage(self, path: str, blob: str, *, env: Mapping[str, str], mode: str = "100644") -> None:
        line = b"%b %b\t%b\0" % (mode.encode(), blob.encode(), os.fsencode(path))
        self.git("update-index", "--add", "-z", "--index-info", stdin=line, env=env)

    def compose(
        self, change: Oid, *, onto: str = "main", style: Style = "squash", message: str = "feat: it", when: float = 1e9
    ) -> Candidate | Conflict:
        async def make() -> Candidate | Conflict:
            return await self.trunk.compose(change, onto=self.rev(onto), style=style, message=message, when=when)

        return anyio.run(make)

    def candidate(self, files: Mapping[str, Content], *, onto: str = "main") -> Candidate:
        made = self.compose(self.commit(files, parent=onto), onto=onto)
        assert isinstance(made, Candidate)
        return made

    def land(self, candidate: Candidate) -> tuple[str, ...] | None:
        return anyio.run(self.trunk.land, candidate)

    def tip(self) -> Oid:
        return anyio.run(self.trunk.tip)

    def catch_up(self) -> tuple[str, ...]:
        return anyio.run(self.trunk.catch_up)

    def show(self, commit: str, path: str) -> str:
        return self.git("show", f"{commit}:{path}")

    def status(self, folder: Path | None = None) -> str:
        return self.git("-C", str(folder or self.root), "status", "--porcelain")

    def write(self, path: str, content: Content) -> Path:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            place.unlink()
        else:
            place.write_bytes(content if isinstance(content, bytes) else content.encode())
        return place


Make = Callable[..., Repository]


@pytest.fixture
def make_repository(tmp_path: Path) -> Make:
    def make(name: str = "repo", *, options: tuple[str, ...] = ()) -> Repository:
        root = tmp_path / name
        subprocess.run(("git", "init", "-q", "-b", "main", *options, str(root)), check=True, capture_output=True)
        made = Repository(root)
        made.git("config", "user.name", "The User")
        made.git("config", "user.email", "user@example.org")
        first = made.commit({"a.txt": "one\ntwo\nthree\n", "b.txt": "b\n", "d/old.txt": "old\n"}, parent=None)
        made.git("update-ref", "refs/heads/main", first)
        return made

    return make


@pytest.fixture
def bare_repository(make_repository: Make) -> Repository:
    return make_repository("bare.git", options=("--bare",))


@pytest.fixture
def repository(make_repository: Make) -> Repository:
    """A repository whose main working tree is not on main."""
    made = make_repository()
    made.git("checkout", "-q", "--detach", "main")
    return made


@pytest.fixture
def checked_out(make_repository: Make) -> Repository:
    """A repository whose main working tree is on main, clean."""
    made = make_repository()
    made.git("checkout", "-q", "-f", "main")
    assert made.status() == ""
    return made


def landed(repository: Repository, files: dict[str, Content]) -> tuple[str, ...]:
    told = repository.land(repository.candidate(files))
    assert told is not None
    return told


def linked(repository: Repository, folder: str, *args: str) -> Repository:
    repository.git("worktree", "add", "-q", str(repository.root / folder), *args)
    return Repository((repository.root / folder).resolve())


def picture(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every file of a working tree: its mode, and what it holds or points at."""
    found = {}
    for path in sorted(root.rglob("*")):
        if ".git" in path.relative_to(root).parts or (path.is_dir() and not path.is_symlink()):
            continue
        content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        found[str(path.relative_to(root))] = (stat.S_IFMT(path.lstat().st_mode), content)
    return found
