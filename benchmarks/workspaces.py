"""A workspace and the first `git status` in it, against `git worktree add` on the same repository.

    python benchmarks/workspaces.py [--files 5000,50000] [--times 5]

Prints medians and minima in seconds, of runs that alternate. The snapshot is made before, and its time printed apart:
it is paid once for many workspaces.
"""

import argparse
import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import anyio

from luminaguard.host.detached import run_attached
from luminaguard.host.git import Git, find_repository
from luminaguard.host.limits import Limits
from luminaguard.model.ids import Oid
from luminaguard.sandboxes.namespace import Namespace
from luminaguard.workspaces.base import Start, Workspace
from luminaguard.workspaces.overlay import OverlayWorkspaces


def git(root: Path, *args: str) -> str:
    return subprocess.run(("git", "-C", str(root), *args), capture_output=True, check=True).stdout.decode().strip()


def make_repository(root: Path, files: int) -> Oid:
    """Make a repository of small files, 100 in a folder, with `git fast-import`."""
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    lines = ["commit refs/heads/main", "committer Ada <ada@example.org> 1700000000 +0000", "data 5", "first"]
    for number in range(files):
        text = f"line {number}\n" * 20
        lines += [f"M 100644 inline d{number // 1000}/e{number // 100}/f{number}.txt", f"data {len(text)}", text]
    stream = "\n".join(lines).encode()
    subprocess.run(("git", "-C", str(root), "fast-import", "--quiet"), input=stream, check=True)
    return Oid(git(root, "rev-parse", "main"))


@contextlib.contextmanager
def timed(into: list[float]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    into.append(time.perf_counter() - began)


class Measured:
    def __init__(self) -> None:
        self.create: list[float] = []
        self.status: list[float] = []
        self.walls: list[float] = []
        self.discard: list[float] = []
        self.worktree: list[float] = []
        self.snapshot: list[float] = []


async def measure(folder: Path, files: int, times: int) -> Measured:
    root = folder / "repository"
    tip = make_repository(root, files)
    places = find_repository(root)
    sandbox = Namespace(places.state)
    if (why := sandbox.overlay_missing()) is not None:
        sys.exit(f"no overlays here: {why}")
    workspaces = OverlayWorkspaces(Git(root), places, sandbox)
    start = Start(branch="work", commit=tip)
    got = Measured()

    async def enter(workspace: Workspace, *argv: str) -> None:
        place = folder / "place"
        await run_attached(place, sandbox.enclose(argv, workspace.walls), timeout_s=600)
        assert (place / "log").read_bytes() == b"", (place / "log").read_text()
        shutil.rmtree(place)

    with timed(got.snapshot):
        await workspaces.discard(await workspaces.create("warm", start, limits=Limits()))
    for number in range(times):
        with timed(got.create):
            workspace = await workspaces.create(f"w{number}", start, limits=Limits())
        with timed(got.status):
            await enter(workspace, "git", "status", "--porcelain")
        with timed(got.walls):
            await enter(workspace, "true")
        with timed(got.discard):
            await workspaces.discard(workspace)
        tree = folder / f"worktree-{number}"
        with timed(got.worktree):
            git(root, "worktree", "add", "-q", "--detach", str(tree), "main")
            git(tree, "status", "--porcelain")
        git(root, "worktree", "remove", "--force", str(tree))
    return got


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", default="5000,50000")
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    print(f"{'files':>7}  {'what':<42} {'median s':>9} {'min s':>9}")
    for files in map(int, asked.files.split(",")):
        with tempfile.TemporaryDirectory(prefix="luminaguard-bench-") as folder:
            got = anyio.run(measure, Path(folder), files, asked.times)
        both = [create + status for create, status in zip(got.create, got.status, strict=True)]
        rows = (
            ("create a workspace", got.create),
            ("first `git status` in it, walls and all", got.status),
            ("both together", both),
            ("walls and shim alone (`true`)", got.walls),
            ("discard it", got.discard),
            ("`git worktree add` and `git status`", got.worktree),
            ("snapshot, once for all", got.snapshot),
        )
        for what, seconds in rows:
            print(f"{files:>7}  {what:<42} {statistics.median(seconds):>9.4f} {min(seconds):>9.4f}")


if __name__ == "__main__":
    main()
