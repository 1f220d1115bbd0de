"""Taking a bundle in: fsck while it is read, nothing run, no setting but ours, and pinned before it is judged."""

from pathlib import Path

from luminaguard.model.ids import Oid
from luminaguard.sandboxes.base import Mount
from luminaguard.workspaces.base import Delivered, Workspace
from luminaguard.workspaces.collect import Brought, bring_out
from luminaguard.workspaces.files import Ground
from luminaguard.workspaces.look import objection
from luminaguard.workspaces.plain_git import PlainGit, last_words, plain_git

OTHERS = 32


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
        if (why := await _fetch(git, brought.bundle)) is not None:
            kept = _keep(ground.state / "refused", workspace.name, brought.bundle)
            return Delivered(commit=None, refused=f"git refuses the commits: {why} (they are kept in {kept})")
        tip = await _pin(ground, git, ref)
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


async def _fetch(git: PlainGit, bundle: Path) -> str | None:
    """Read the bundle into our own git folder over the repository's objects; say why it cannot be read."""
    ran = await git.run(
        *("-c", "core.fsync=loose-object,pack,pack-metadata", "-c", "core.fsyncMethod=batch"),
        *("-c", "protocol.allow=never", "-c", "protocol.file.allow=always"),
        *("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--no-auto-maintenance"),
        *("--refmap=", "--no-prune", "--no-write-commit-graph", "--end-of-options", str(bundle)),
        "+refs/out/*:refs/out/*",
        ok=range(256),
    )
    return None if ran.exit_code == 0 else last_words(ran)


async def _pin(ground: Ground, git: PlainGit, ref: str) -> Oid | None:
    ran = await git.run("for-each-ref", f"--count={OTHERS + 1}", "--format=%(refname) %(objectname)", "refs/out")
    found = dict(line.split(" ") for line in ran.out.decode().splitlines())
    tip = found.pop("refs/out/tip", None)
    pins = {ref: tip} if tip else {}
    pins |= {f"{ref}-other-{number}": oid for number, oid in enumerate(found.values(), start=1)}
    text = "".join(f"update {name} {oid}\n" for name, oid in pins.items())
    if text:
        await ground.git.run("update-ref", "--stdin", stdin=text.encode())
    return Oid(tip) if tip else None
