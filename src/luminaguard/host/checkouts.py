"""The user's checkouts of a branch: followed safely, or left alone and said so.

A branch that moves under a checkout turns the user's next commit into a revert of what landed. So a checkout either
gets the files together with the branch, or the branch stays.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from luminaguard.host.git import Git, Places
from luminaguard.model.ids import Oid


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A working tree that has a branch checked out. `git_folder` holds its HEAD and index."""

    folder: Path
    git_folder: Path


def checkouts_of(places: Places, ref: str) -> tuple[Checkout, ...]:
    """Find the working trees whose HEAD is the ref, by reading their HEAD files: no process, thousands are cheap."""
    found: list[Checkout] = []
    if places.root != places.common and _head(places.common) == ref:
        found.append(Checkout(folder=_main_tree(places), git_folder=places.common))
    linked = places.common / "worktrees"
    folders = sorted(linked.iterdir()) if linked.is_dir() else ()
    trees = ((folder, _tree_of(folder)) for folder in folders if _head(folder) == ref)
    found.extend(Checkout(folder=tree, git_folder=folder) for folder, tree in trees if tree is not None)
    return tuple(found)


def _main_tree(places: Places) -> Path:
    # With --repo in a linked worktree `root` is that one; the main tree then holds the common folder.
    return places.common.parent if places.common.name == ".git" else places.root


def _head(git_folder: Path) -> str:
    try:
        return (git_folder / "HEAD").read_text(encoding="utf-8").strip().removeprefix("ref: ")
    except OSError:
        return ""


def _tree_of(git_folder: Path) -> Path | None:
    try:
        tree = Path((git_folder / "gitdir").read_text(encoding="utf-8").strip()).parent
    except OSError:
        return None
    return tree if tree.is_dir() else None


def _env(checkout: Checkout) -> dict[str, str]:
    return {"GIT_DIR": str(checkout.git_folder), "GIT_WORK_TREE": str(checkout.folder)}


def _is_busy(checkout: Checkout) -> bool:
    under_way = ("index.lock", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply")
    return any((checkout.git_folder / name).exists() for name in under_way)


async def fits(git: Git, checkout: Checkout, old: Oid, new: Oid) -> bool:
    """Tell whether the files can go from `old` to `new` with nothing of the user's lost or overwritten."""
    if _is_busy(checkout):
        return False
    if await _would_fit(git, checkout, old, new):
        return True
    # A file that was only touched looks changed until the index is refreshed.
    await git.run("update-index", "-q", "--refresh", env=_env(checkout), ok=(0, 1))
    return await _would_fit(git, checkout, old, new)


async def _would_fit(git: Git, checkout: Checkout, old: Oid, new: Oid) -> bool:
    tried = await git.run("read-tree", "-m", "-u", "--dry-run", old, new, env=_env(checkout), ok=(0, 1, 128))
    return tried.exit_code == 0


def intend(checkout: Checkout, old: Oid, new: Oid) -> None:
    """Write down, before anything moves, that the checkout is about to go from `old` to `new`."""
    _write(_mark(checkout), f"{old} {new}\n")


def forget(checkout: Checkout) -> None:
    """Take back the intent: nothing moved, or everything did."""
    _mark(checkout).unlink(missing_ok=True)


def _mark(checkout: Checkout) -> Path:
    return checkout.git_folder / "luminaguard-following"


async def follow(git: Git, checkout: Checkout, old: Oid, new: Oid) -> str:
    """Bring the files from `old` to `new`; call it right after the branch has moved. Returns what to tell the user."""
    done = await git.run("read-tree", "-m", "-u", old, new, env=_env(checkout), ok=(0, 1, 128))
    forget(checkout)
    if done.exit_code == 0:
        return f"{checkout.folder} is at {new[:12]}"
    words = done.err.decode(errors="replace").strip()
    return f"{checkout.folder} could not follow to {new[:12]}: {words}; `git status` there shows what differs"


def _write(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(fd, text.encode())
        os.fsync(fd)
    finally:
        os.close(fd)


async def finish(git: Git, checkout: Checkout, branch: Oid) -> None:
    """Finish a `follow` that was cut short by a kill: only files that hold the old or the new content are written."""
    try:
        old, new = map(Oid, _mark(checkout).read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return
    # The intent stands and no git of ours is alive, so an index lock here is the killed one's.
    (checkout.git_folder / "index.lock").unlink(missing_ok=True)
    if new == branch:
        paths = await _safe_paths(git, checkout, old, new)
        await git.run(
            *("restore", f"--source={new}", "--staged", "--worktree", "--pathspec-from-file=-", "--pathspec-file-nul"),
            stdin="\0".join(paths).encode(errors="surrogateescape") or b"\0",
            env={**_env(checkout), "GIT_LITERAL_PATHSPECS": "1"},
            ok=(0, 1, 128),
        )
    forget(checkout)


async def _safe_paths(git: Git, checkout: Checkout, old: Oid, new: Oid) -> list[str]:
    raw = (await git.run("diff-tree", "-r", "-z", "--no-renames", old, new)).out.decode(errors="surrogateescape")
    fields = raw.split("\0")
    safe = []
    for meta, path in zip(fields[0::2], fields[1::2], strict=False):
        before, after = meta.split()[2:4]
        if await _content(git, checkout.folder / path) in {before, after}:
            safe.append(path)
    return safe


async def _content(git: Git, path: Path) -> str:
    if path.is_symlink() or not path.exists():
        absent = "0" * 40
        if not path.is_symlink():
            return absent
        ran = await git.run("hash-object", "--stdin", stdin=os.fsencode(path.readlink()))
        return ran.out.decode().strip()
    ran = await git.run("hash-object", "--no-filters", "--", str(path), ok=(0, 128))
    return ran.out.decode().strip()
