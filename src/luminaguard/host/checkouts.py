"""The user's checkouts of a branch: followed safely, or left alone and said so.

A branch that moves under a checkout turns the user's next commit into a revert of what landed. So a checkout either
gets the files together with the branch, or the branch stays.
"""

import os
import shlex
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from luminaguard.host.git import Git, Places
from luminaguard.model.ids import Oid

SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A working tree that has a branch checked out. `git_folder` holds its HEAD and index."""

    folder: Path
    git_folder: Path


def checkouts_of(places: Places, ref: str) -> tuple[Checkout, ...]:
    """Find the working trees whose HEAD is the ref, by reading their HEAD files: no process, thousands are cheap."""
    found: list[Checkout] = []
    if places.main_tree is not None and _head(places.common) == ref:
        found.append(Checkout(folder=places.main_tree, git_folder=places.common))
    linked = places.common / "worktrees"
    folders = sorted(linked.iterdir()) if linked.is_dir() else ()
    trees = ((folder, _tree_of(folder)) for folder in folders if _head(folder) == ref)
    found.extend(Checkout(folder=tree, git_folder=folder) for folder, tree in trees if tree is not None)
    return tuple(found)


def _head(git_folder: Path) -> str:
    return _line(git_folder / "HEAD").removeprefix("ref: ")


def _tree_of(git_folder: Path) -> Path | None:
    named = _line(git_folder / "gitdir")
    tree = (git_folder / named).parent  # git 2.48 can write it relative to the folder that it stands in
    return tree if named and tree.is_dir() else None


def _line(path: Path) -> str:
    try:
        return os.fsdecode(path.read_bytes()).rstrip("\n")
    except OSError:
        return ""


def _env(checkout: Checkout) -> dict[str, str]:
    return {"GIT_DIR": str(checkout.git_folder), "GIT_WORK_TREE": str(checkout.folder)}


def _is_busy(checkout: Checkout) -> bool:
    under_way = ("index.lock", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply")
    return any((checkout.git_folder / name).exists() for name in under_way)


async def fits(git: Git, checkout: Checkout, old: Oid, new: Oid) -> bool:
    """Tell whether the files can go from `old` to `new` with nothing of the user's lost or overwritten."""
    if _is_busy(checkout) or await _covers_unknown(git, checkout, old, new):
        return False
    if await _would_fit(git, checkout, old, new):
        return True
    # A file that was only touched looks changed until the index is refreshed.
    # 128: somebody else is at the index just now.
    await git.run("update-index", "-q", "--refresh", env=_env(checkout), ok=(0, 1, 128))
    return await _would_fit(git, checkout, old, new)


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why a checkout cannot follow, and what to type so that it can."""

    why: str
    how: str


async def obstacle(git: Git, checkout: Checkout, old: Oid, new: Oid) -> Obstacle | None:
    """Say what keeps a checkout from going from `old` to `new`; None where nothing does."""
    if await fits(git, checkout, old, new):
        return None
    folder = shlex.quote(str(checkout.folder))
    paths = () if _is_busy(checkout) else await _in_the_way(git, checkout, old, new)
    if not paths:
        why = f"{checkout.folder} is in the middle of a merge, a rebase or the like"
        return Obstacle(why=why, how=f"git -C {folder} status")
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    # Not a commit: the branch would go another way. --all, as a file that git ignores is in the way too.
    how = f"git -C {folder} stash push --all -- {shlex.join(paths)}"
    return Obstacle(why=f"it would overwrite {', '.join(paths[:SHOWN])}{more} in {checkout.folder}", how=how)


async def _in_the_way(git: Git, checkout: Checkout, old: Oid, new: Oid) -> tuple[str, ...]:
    ran = await git.run("diff-index", "--name-only", "-z", "--no-renames", old, env=_env(checkout))
    changed = set(ran.out.decode(errors="surrogateescape").split("\0"))
    found = await _differences(git, checkout, old, new)
    removed = {it.path for it in found if not it.after}
    unknown = (_obstructing(checkout.folder, it.path, removed) for it in found if not it.before)
    mine = (it.path for it in found if it.path in changed)
    return tuple(dict.fromkeys((*mine, *filter(None, unknown))))


async def _would_fit(git: Git, checkout: Checkout, old: Oid, new: Oid) -> bool:
    tried = await git.run("read-tree", "-m", "-u", "--dry-run", old, new, env=_env(checkout), ok=(0, 1, 128))
    return tried.exit_code == 0


async def _covers_unknown(git: Git, checkout: Checkout, old: Oid, new: Oid) -> bool:
    """Tell whether a file that git does not know lies where one would be added: git spares no ignored one."""
    found = await _differences(git, checkout, old, new)
    removed = {it.path for it in found if not it.after}
    return any(_obstructing(checkout.folder, it.path, removed) for it in found if not it.before)


def _obstructing(folder: Path, path: str, removed: AbstractSet[str]) -> str | None:
    """Name what lies where a file would be added: at its own place, or at that of a folder above it."""
    place = folder / path
    for above in list(place.relative_to(folder).parents)[-2::-1]:
        if os.path.lexists(folder / above) and ((folder / above).is_symlink() or not (folder / above).is_dir()):
            return None if str(above) in removed else str(above)
    if place.is_dir() and not place.is_symlink():
        files = (it for it in place.rglob("*") if it.is_symlink() or not it.is_dir())
        return path if any(str(it.relative_to(folder)) not in removed for it in files) else None
    return path if os.path.lexists(place) else None


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
        found = await _differences(git, checkout, old, new)
        # Removed first: what comes may be a file where a folder was. Apart, as `restore` stops at a path it never knew.
        await _settle(git, checkout, ("rm", "-q", "-f", "--ignore-unmatch"), [it for it in found if not it.after])
        staged = ("restore", f"--source={new}", "--staged", "--worktree")
        await _settle(git, checkout, staged, [it for it in found if it.after])
    forget(checkout)


async def _settle(git: Git, checkout: Checkout, command: tuple[str, ...], differences: Sequence["_Difference"]) -> None:
    paths = [it.path for it in differences if await _is_ours(git, checkout.folder, it)]
    if not paths:
        return
    # In the checkout: our own folder may lie inside it, and paths are read from where git stands.
    await git.run(
        *("-C", str(checkout.folder), *command, "--pathspec-from-file=-", "--pathspec-file-nul"),
        stdin="\0".join(paths).encode(errors="surrogateescape"),
        env={**_env(checkout), "GIT_LITERAL_PATHSPECS": "1"},
        ok=(0, 1, 128),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Difference:
    """A file that two commits have differently: its blobs, "" where there is none."""

    path: str
    before: str
    after: str


async def _differences(git: Git, checkout: Checkout, old: Oid, new: Oid) -> list[_Difference]:
    ran = await git.run("diff-tree", "-r", "-z", "--no-renames", old, new, env=_env(checkout))
    fields = ran.out.decode(errors="surrogateescape").split("\0")
    found = []
    for meta, path in zip(fields[0::2], fields[1::2], strict=False):
        before, after = (oid if oid.strip("0") else "" for oid in meta.split()[2:4])
        found.append(_Difference(path=path, before=before, after=after))
    return found


async def _is_ours(git: Git, folder: Path, it: _Difference) -> bool:
    """Tell whether the file holds the old or the new content, and so nothing of the user's."""
    path = folder / it.path
    if path.is_symlink():
        ran = await git.run("hash-object", "--stdin", stdin=os.fsencode(path.readlink()))
    elif path.is_file():
        # With --path, line endings and other filters apply as they did when git wrote the file.
        ran = await git.run("-C", str(folder), "hash-object", f"--path={it.path}", "--", it.path, ok=(0, 128))
    else:
        # Git removes a file before it writes the new one; a folder stands only where the file is gone.
        return not path.exists() or (path.is_dir() and not it.after)
    return ran.out.decode().strip() in {it.before, it.after} - {""}
