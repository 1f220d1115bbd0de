"""Taking work in: fsck while it is read, nothing run, no setting but ours, and pinned before it is judged."""

import os
import re
from pathlib import Path

from luminaguard.model.ids import Oid
from luminaguard.sandboxes.base import Mount
from luminaguard.workspaces.base import Delivered, Start, Workspace
from luminaguard.workspaces.bundle import objects_in, write_bundle
from luminaguard.workspaces.collect import Begun, Brought, Pack, bring_out
from luminaguard.workspaces.files import Ground
from luminaguard.workspaces.look import objection
from luminaguard.workspaces.plain_git import PlainGit, last_words, plain_git

UNPACKED = 100
"""A pack with fewer objects is unpacked; git's own threshold, so that small packs do not pile up."""
DURABLE = ("-c", "core.fsync=loose-object,pack,pack-metadata", "-c", "core.fsyncMethod=batch")
COMMIT = re.compile(rb"^\d{1,20} ([0-9a-f]{40}|[0-9a-f]{64})$", re.MULTILINE)


async def collect_from(
    ground: Ground, workspace: Workspace, *, index: Path, indexed: Oid, ref: str, message: str
) -> Delivered:
    """Do what `Workspaces.collect` says, for a workspace whose checkout began with `index`, which fits `indexed`."""
    tree = workspace.walls.tree
    at = ground.sandbox.seen_at(tree) if isinstance(tree, Mount) else tree.at
    brought = await bring_out(
        workspace,
        ground.sandbox,
        begun=Begun(tree=await ground.git.tree_of(workspace.start.commit), index=index, indexed=indexed),
        alternates=(*ground.stores_inside(), at / ".git/objects"),
        shallow=ground.common / "shallow",
        message=message,
    )
    if isinstance(brought, str):
        return Delivered(commit=None, refused=brought)
    return await deliver(ground, workspace, brought, ref=ref)


async def deliver(ground: Ground, workspace: Workspace, brought: Brought, *, ref: str) -> Delivered:
    """Import what was brought out and pin it under `ref`, other branches of the agent under `ref`-other-N."""
    start, refused = workspace.start, _skipped(brought)
    if brought.pack is None:
        return Delivered(commit=None, refused=refused)
    git = plain_git(ground.state, ground.common, start.commit)
    new = await _import(git, brought, brought.pack, start)
    if isinstance(new, str):
        kept = _keep(ground.state / "refused", workspace, brought, brought.pack)
        return Delivered(commit=None, refused=f"git refuses the commits: {new} (they are kept in {kept})")
    tip = brought.tip if brought.tip in new else None
    await _pin(ground, tip, [oid for oid in brought.others if oid in new], ref)
    if tip is None:
        return Delivered(commit=None, refused=refused)
    refused = refused or await objection(git, start, tip)
    return Delivered(commit=tip, committed=brought.committed, refused=refused)


def _keep(folder: Path, workspace: Workspace, brought: Brought, pack: Pack) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{workspace.name}.bundle"
    others = {f"refs/out/other/{number}": oid for number, oid in enumerate(brought.others, start=1)}
    refs = {"refs/out/tip": brought.tip, **others}
    write_bundle(kept, refs, _known(workspace.start), pack=pack.file, at=pack.at)
    return kept


def _known(start: Start) -> list[Oid]:
    return [oid for oid in (start.commit, start.merge) if oid]


def _skipped(brought: Brought) -> str | None:
    if not brought.skipped:
        return None
    name = "".join(char if char.isprintable() else "?" for char in brought.skipped[0][:300])
    return f"'{name}' is a repository of its own inside the tree; its files would be lost"


async def _import(git: PlainGit, brought: Brought, pack: Pack, start: Start) -> frozenset[Oid] | str:
    """Read the objects into the repository and give the commits that are new; a sentence says why that cannot be."""
    with pack.file.open("rb") as file:
        count = objects_in(file.fileno(), pack.at)
        if count is None:
            return "this is no pack of git's"
        os.lseek(file.fileno(), pack.at, os.SEEK_SET)
        reader = ("unpack-objects", "-q") if count < UNPACKED else ("index-pack", "--stdin", "--fix-thin")
        ran = await git.run(*DURABLE, *reader, "--strict", stdin_fd=file.fileno(), ok=range(256))
    return last_words(ran) if ran.exit_code != 0 else await _new_commits(git, brought, start)


async def _new_commits(git: PlainGit, brought: Brought, start: Start) -> frozenset[Oid] | str:
    """List what is new, down to the last object: a pack may lack what its commits name."""
    asked = [brought.tip, *brought.others, *(f"^{oid}" for oid in _known(start))]
    text = "".join(f"{line}\n" for line in asked).encode()
    ran = await git.run("rev-list", "--objects", "--timestamp", "--stdin", stdin=text, ok=range(256))
    if ran.exit_code != 0:
        return last_words(ran)
    # Only a commit stands behind a time: what is named and is something else is not among them.
    return frozenset(Oid(found.decode()) for found in COMMIT.findall(ran.out))


async def _pin(ground: Ground, tip: Oid | None, others: list[Oid], ref: str) -> None:
    pins = {ref: tip} if tip else {}
    pins |= {f"{ref}-other-{number}": oid for number, oid in enumerate(others, start=1)}
    text = "".join(f"update {name} {oid}\n" for name, oid in pins.items())
    if text:
        await ground.git.run("update-ref", "--stdin", stdin=text.encode())
