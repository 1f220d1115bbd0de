"""Taking a bundle in: fsck while it is read, nothing run, no setting but ours, and pinned before it is judged."""

import os
from collections.abc import Mapping
from pathlib import Path

from luminaguard.model.ids import Oid
from luminaguard.sandboxes.base import Mount
from luminaguard.workspaces.base import Delivered, Workspace
from luminaguard.workspaces.bundle import read_header
from luminaguard.workspaces.collect import Brought, bring_out
from luminaguard.workspaces.files import Ground
from luminaguard.workspaces.look import objection
from luminaguard.workspaces.plain_git import PlainGit, last_words, plain_git

OTHERS = 32
TIP = "refs/out/tip"
UNPACKED = 100
"""A bundle with fewer objects is unpacked; git's own threshold, so that small packs do not pile up."""
DURABLE = ("-c", "core.fsync=loose-object,pack,pack-metadata", "-c", "core.fsyncMethod=batch")


async def collect_from(ground: Ground, workspace: Workspace, *, index: Path, ref: str, message: str) -> Delivered:
    """Do what `Workspaces.collect` says, for a workspace whose checkout began with `index`."""
    tree = workspace.walls.tree
    at = ground.sandbox.seen_at(tree) if isinstance(tree, Mount) else tree.at
    brought = await bring_out(
        workspace,
        ground.sandbox,
        index=index,
        alternates=(*ground.stores_inside(), at / ".git/objects"),
        shallow=ground.common / "shallow",
        message=message,
    )
    if isinstance(brought, str):
        return Delivered(commit=None, refused=brought)
    return await deliver(ground, workspace, brought, ref=ref)


async def deliver(ground: Ground, workspace: Workspace, brought: Brought, *, ref: str) -> Delivered:
    """Import what was brought out and pin it under `ref`, other branches of the agent under `ref`-other-N."""
    start = workspace.start
    refs = {"refs/heads/start": start.commit, **({"refs/heads/merge": start.merge} if start.merge else {})}
    refused = _skipped(brought)
    if brought.bundle is None:
        return Delivered(commit=None, refused=refused)
    async with plain_git(ground.state, ground.common, refs) as git:
        found = await _import(git, brought.bundle)
        if isinstance(found, str):
            kept = _keep(ground.state / "refused", workspace.name, brought.bundle)
            return Delivered(commit=None, refused=f"git refuses the commits: {found} (they are kept in {kept})")
        tip = await _pin(ground, found, ref)
        if tip is None:
            return Delivered(commit=None, refused=refused)
        refused = refused or await objection(git, start, tip)
    brought.bundle.unlink()
    return Delivered(commit=tip, committed=brought.committed, refused=refused)


def _keep(folder: Path, name: str, bundle: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return bundle.replace(folder / f"{name}.bundle")


def _skipped(brought: Brought) -> str | None:
    if not brought.skipped:
        return None
    name = "".join(char if char.isprintable() else "?" for char in brought.skipped[0][:300])
    return f"'{name}' is a repository of its own inside the tree; its files would be lost"


async def _import(git: PlainGit, bundle: Path) -> Mapping[str, Oid] | str:
    """Read the bundle's objects into the repository and give its refs; a sentence says why that cannot be.

    Not by `git fetch`: before 2.46 it looks at nothing that comes in a bundle, whatever fetch.fsckObjects says.
    """
    with bundle.open("rb") as file:
        header = read_header(file)
        if header is None:
            return "this is not a bundle of git's"
        os.lseek(file.fileno(), header.pack_at, os.SEEK_SET)
        reader = ("unpack-objects", "-q") if header.objects < UNPACKED else ("index-pack", "--stdin", "--fix-thin")
        ran = await git.run(*DURABLE, *reader, "--strict", stdin_fd=file.fileno(), ok=range(256))
    if ran.exit_code != 0:
        return last_words(ran)
    return await _gap(git, header.refs) or header.refs


async def _gap(git: PlainGit, refs: Mapping[str, Oid]) -> str | None:
    """Say what is missing of the commits, as a bundle may name what it does not hold."""
    named = "".join(f"{oid}\n" for oid in refs.values()).encode()
    kinds = (await git.run("cat-file", "--batch-check=%(objecttype)", stdin=named)).out.split(b"\n")
    if any(kind != b"commit" for kind in kinds[:-1]):
        return "a ref of the bundle names something that is no commit"
    ran = await git.run("rev-list", "--objects", "--quiet", "--stdin", "--not", "--all", stdin=named, ok=range(256))
    return None if ran.exit_code == 0 else last_words(ran)


async def _pin(ground: Ground, found: Mapping[str, Oid], ref: str) -> Oid | None:
    tip = found.get(TIP)
    others = [oid for name, oid in sorted(found.items()) if name != TIP][:OTHERS]
    pins = {ref: tip} if tip else {}
    pins |= {f"{ref}-other-{number}": oid for number, oid in enumerate(others, start=1)}
    text = "".join(f"update {name} {oid}\n" for name, oid in pins.items())
    if text:
        await ground.git.run("update-ref", "--stdin", stdin=text.encode())
    return tip
