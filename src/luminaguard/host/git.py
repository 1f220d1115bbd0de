"""Git plumbing on the user's repository, with the user's hooks and file-system monitors out of the way."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio

from luminaguard.host.lookup import Lookup
from luminaguard.host.process import Ran, run_blocking
from luminaguard.model.faults import HostFault, UserFault
from luminaguard.model.ids import Oid

QUIET = (
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
    "-c",
    "core.fsync=loose-object,reference",
)
OLDEST = (2, 38)


class Git:
    """One repository. Calls run in a thread; each raises `HostFault` when git itself fails.

    `inherit` are descriptors that every git child keeps open: with the lander's lock among them, a lock file of git's
    that is found while we hold that lock belongs to nobody.
    """

    def __init__(self, root: Path, *, inherit: Sequence[int] = (), lookup: Lookup | None = None) -> None:
        """Take a repository by a folder in it; `lookup` makes resolving names cheap, for work that asks often."""
        self.root = root
        self.inherit = tuple(inherit)
        self._lookup = lookup

    async def run(
        self,
        *args: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        ok: Sequence[int] = (0,),
        timeout_s: float = 300.0,
    ) -> Ran:
        """Run `git ARGS` and return how it ended; an exit code outside `ok` is a HostFault with git's own words."""
        return await anyio.to_thread.run_sync(
            lambda: self.run_blocking(*args, stdin=stdin, env=env, ok=ok, timeout_s=timeout_s)
        )

    def run_blocking(
        self,
        *args: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        ok: Sequence[int] = (0,),
        timeout_s: float = 300.0,
    ) -> Ran:
        """Do as `run` does, in the calling thread."""
        ran = run_blocking(
            ("git", "-C", str(self.root), *QUIET, *args), None, clean_env(env or {}), stdin, timeout_s, self.inherit
        )
        if ran.exit_code not in ok:
            words = ran.err.decode(errors="replace").strip() or f"exit code {ran.exit_code}"
            raise HostFault(f"git {args[0]} failed in {self.root}: {words}")
        return ran

    async def text(self, *args: str, env: Mapping[str, str] | None = None) -> str:
        """Run `git ARGS` and return its output without the last newline."""
        return (await self.run(*args, env=env)).out.decode(errors="surrogateescape").rstrip("\n")

    async def commit_of(self, name: str) -> Oid | None:
        """Resolve a name to a commit, None where there is no such commit."""
        if self._lookup is not None:
            return self._lookup.resolve(f"{name}^{{commit}}")
        ran = await self.run(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", ok=(0, 1, 128)
        )
        return Oid(ran.out.decode().strip()) if ran.exit_code == 0 else None

    async def tree_of(self, commit: Oid) -> Oid:
        """Give the tree of a commit."""
        if self._lookup is not None and (tree := self._lookup.resolve(f"{commit}^{{tree}}")) is not None:
            return tree
        return Oid(await self.text("rev-parse", "--verify", f"{commit}^{{tree}}"))

    async def is_ancestor(self, older: Oid, newer: Oid) -> bool:
        """Tell whether `older` is in the history of `newer`."""
        return (await self.run("merge-base", "--is-ancestor", older, newer, ok=(0, 1))).exit_code == 0


def lookup_in(root: Path) -> Lookup:
    """Make a lookup for a repository; enter it, and give it to `Git`."""
    return Lookup(("git", "-C", str(root), *QUIET), env=clean_env({}))


def clean_env(more: Mapping[str, str]) -> dict[str, str]:
    """Give the environment for git: ours without what would point it elsewhere or make it ask a question."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name == "GIT_SSH_COMMAND"
    }
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", **more}


def find_repository(start: Path) -> "Places":
    """Find the repository that holds a folder.

    Raises:
        UserFault: the folder is not in a git repository, or the repository is bare of commits.
        HostFault: git is missing or older than 2.38, the first that merges without a working tree.
    """
    if not start.is_dir():
        raise UserFault(f"{start} is not a folder", hint="name a folder with --repo")
    version = run_blocking(("git", "version")).out.decode().split()[2]
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise HostFault(f"git {version} is too old", hint="install git 2.38 or newer")
    asked = ("rev-parse", "--path-format=absolute", "--git-common-dir", "--git-dir", "--show-toplevel")
    ran = run_blocking(("git", "-C", str(start), *asked), env=clean_env({}))
    # Not splitlines: a folder's name may hold any other character that Unicode calls a line's end.
    common, own, top = (*(Path(line) for line in os.fsdecode(ran.out).split("\n")), None, None, None)[:3]
    if b"dubious ownership" in ran.err:
        trust = f"git config --global --add safe.directory {start.resolve()}"
        raise UserFault(f"{start} belongs to another user, and git does not trust it", hint=f"if you do: {trust}")
    if common is None or own is None or (ran.exit_code != 0 and b"work tree" not in ran.err):
        raise UserFault(f"{start} is not in a git repository", hint="run `git init` and commit once, or use --repo DIR")
    if (common / "reftable").is_dir():
        raise UserFault(
            f"{start} keeps its refs as a reftable, which is not supported yet",
            hint="git refs migrate --ref-format=files",
        )
    if ran.exit_code != 0:
        main = _main_tree(common)
        return Places(common=common, root=main or common, main_tree=main)
    return Places(common=common, root=top or common, main_tree=top if own == common else _main_tree(common))


def _main_tree(common: Path) -> Path | None:
    """Find the main working tree from elsewhere: from a linked one, or from inside the git folder."""
    ran = run_blocking(("git", "--git-dir", str(common), "worktree", "list", "--porcelain", "-z"), env=clean_env({}))
    first, *more = os.fsdecode(ran.out).partition("\0\0")[0].split("\0")
    folder = Path(first.removeprefix("worktree "))
    return None if ran.exit_code != 0 or "bare" in more or folder == common else folder


class Places:
    """Where a repository lies: `common` is its git folder, `root` the top of its working tree (or `common` if bare).

    `main_tree` is the working tree that HEAD and index of `common` belong to, None if bare; `root` may be a linked one.
    """

    def __init__(self, *, common: Path, root: Path, main_tree: Path | None) -> None:
        self.common = common
        self.root = root
        self.main_tree = main_tree

    @property
    def state(self) -> Path:
        """Our own folder in it: journal, tracker, workspaces, logs."""
        return self.common / "luminaguard"
