"""The target branch: candidates by plumbing, landing by compare-and-swap, and the user's checkouts behind it."""

import contextlib
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Literal, Protocol

import anyio

from luminaguard.host.checkouts import Checkout, checkouts_of, finish, fits, follow, forget, intend, obstacle
from luminaguard.host.git import Git, Places
from luminaguard.host.upstream import Upstream
from luminaguard.model.faults import HostFault, UserFault
from luminaguard.model.ids import Oid
from luminaguard.model.work import Beside, Candidate, Conflict, FileChange

AHEAD = "refs/luminaguard/target"
HUNKS_BYTES = 64 * 1024
STALE_AFTER_S = 3.0
Style = Literal["squash", "merge"]


class Edit(Protocol):
    """A file that a landing writes besides the change."""

    @property
    def path(self) -> str:
        """Where, from the repository's root."""

    @property
    def content(self) -> bytes:
        """Its whole new content."""


Reader = Callable[[str], Awaitable[bytes | None]]
EditsOf = Callable[[Reader], Awaitable[Sequence[Edit]]]


class Trunk:
    """One target branch of one repository.

    The tip is `refs/heads/TARGET`, or `refs/luminaguard/target` while a checkout of the user's stands in the way of the
    branch. Only the holder of the orchestrator's lock may land. With an upstream, its branch is the target, and the
    one here follows.
    """

    def __init__(
        self,
        git: Git,
        places: Places,
        *,
        target: str,
        identity: tuple[str, str],
        upstream: Upstream | None = None,
    ) -> None:
        """Take a target by its branch name; `identity` is the committer's name and address."""
        self.git = git
        self.places = places
        self.target = target
        self.ref = f"refs/heads/{target}"
        self.identity = identity
        self.upstream = upstream

    async def tip(self, *, is_fresh: bool = False) -> Oid:
        """Give the commit that the next landing stands on; `is_fresh` asks the remote now.

        Raises:
            UserFault: there is no such branch, or it and what landed beside it or upstream have gone different ways.
            Transient: the remote cannot be reached.
        """
        here = await self._tip_here()
        if self.upstream is None or (there := await self.upstream.tip(is_fresh=is_fresh)) == here:
            return here
        return await self._follow(here, there)

    async def _follow(self, here: Oid, there: Oid) -> Oid:
        """Take over what others have put upstream."""
        assert self.upstream is not None
        if not await self.git.is_ancestor(here, there):
            raise UserFault(
                f"'{self.target}' here has commits that '{self.upstream.remote}' does not have",
                hint=f"push them, or put them on another branch: git push {self.upstream.remote} {self.target}",
            )
        await self.git.run("update-ref", AHEAD, there)
        await self.catch_up()
        return there

    async def _tip_here(self) -> Oid:
        branch = await self.git.commit_of(self.ref)
        if branch is None:
            raise UserFault(f"there is no branch '{self.target}'", hint="name yours with --target, or commit once")
        ahead = await self.git.commit_of(AHEAD)
        if ahead is None or ahead == branch or await self.git.is_ancestor(ahead, branch):
            return branch
        if await self.git.is_ancestor(branch, ahead):
            return ahead
        raise UserFault(
            f"'{self.target}' and what landed beside it ({ahead[:12]}) have gone different ways",
            hint=f"merge it: git checkout {self.target} && git merge {AHEAD}",
        )

    async def compose(
        self, change: Oid, *, onto: Oid, style: Style, message: str, when: float, edits: EditsOf | None = None
    ) -> Candidate | Conflict:
        """Make what would land: the same inputs give the same commit, whenever and wherever.

        Args:
            change: the tip of the work.
            onto: the commit that it would land on.
            style: "squash" gives one parent, "merge" keeps the work's history as the second.
            message: of the commit.
            when: its date, seconds since the epoch.
            edits: says which files to write besides, given a reader of the merged tree.
        """
        merged = await self._merge(change, onto)
        if isinstance(merged, Conflict):
            return merged
        tree = await self._edited(merged, edits) if edits else merged
        name, address = self.identity
        date = f"@{int(when)} +0000"  # without the @, git takes small numbers for something else
        env = {
            "GIT_AUTHOR_NAME": name,
            "GIT_AUTHOR_EMAIL": address,
            "GIT_AUTHOR_DATE": date,
            "GIT_COMMITTER_NAME": name,
            "GIT_COMMITTER_EMAIL": address,
            "GIT_COMMITTER_DATE": date,
        }
        parents = ("-p", onto, "-p", change) if style == "merge" else ("-p", onto)
        made = await self.git.run("commit-tree", tree, *parents, "-F", "-", stdin=message.encode(), env=env)
        return Candidate(commit=Oid(made.out.decode().strip()), tree=tree, base=onto)

    async def _merge(self, change: Oid, onto: Oid) -> Oid | Conflict:
        ran = await self.git.run(
            "-c",
            "merge.conflictStyle=diff3",
            "merge-tree",
            "--write-tree",
            "--name-only",
            "--no-messages",
            "-z",
            onto,
            change,
            ok=(0, 1),
        )
        tree, *paths = ran.out.decode(errors="surrogateescape").rstrip("\0").split("\0")
        if ran.exit_code == 0:
            return Oid(tree)
        found = tuple(path for path in paths if path)
        return Conflict(base=onto, paths=found, hunks=await self._hunks(Oid(tree), found))

    async def _hunks(self, tree: Oid, paths: Sequence[str]) -> str:
        parts: list[str] = []
        for path in paths:
            ran = await self.git.run("cat-file", "blob", f"{tree}:{path}", ok=(0, 128))
            hunks = _marked(ran.out.decode(errors="replace")) or "(one side removed or replaced it)"
            parts.append(f"--- {path}\n{hunks}")
            if sum(map(len, parts)) > HUNKS_BYTES:
                break
        return "\n".join(parts)[:HUNKS_BYTES]

    async def _edited(self, tree: Oid, edits_of: EditsOf) -> Oid:
        edits = await edits_of(lambda path: self._read(tree, path))
        with _scratch_index(self.places) as env:
            await self.git.run("read-tree", tree, env=env)
            for edit in edits:
                blob = (await self.git.run("hash-object", "-w", "--stdin", stdin=edit.content)).out.decode().strip()
                mode = await self._mode(tree, edit.path)
                await self.git.run("update-index", "--add", "--cacheinfo", f"{mode},{blob},{edit.path}", env=env)
            return Oid((await self.git.run("write-tree", env=env)).out.decode().strip())

    async def _mode(self, tree: Oid, path: str) -> str:
        found = await self.git.text("ls-tree", tree, "--", path, env={"GIT_LITERAL_PATHSPECS": "1"})
        return "100755" if found.startswith("100755") else "100644"

    async def _read(self, tree: Oid, path: str) -> bytes | None:
        ran = await self.git.run("cat-file", "blob", f"{tree}:{path}", ok=(0, 128))
        return ran.out if ran.exit_code == 0 else None

    async def tree(self, commit: Oid) -> Oid:
        """Give the tree of a commit."""
        return await self.git.tree_of(commit)

    async def parent(self, commit: Oid) -> Oid:
        """Give the first parent of a commit."""
        return Oid(await self.git.text("rev-parse", "--verify", f"{commit}^1"))

    async def is_in(self, older: Oid, newer: Oid) -> bool:
        """Tell whether `older` is in the history of `newer`."""
        return older == newer or await self.git.is_ancestor(older, newer)

    async def is_related(self, one: Oid, other: Oid) -> bool:
        """Tell whether two commits have a commit of their histories in common."""
        return (await self.git.run("merge-base", one, other, ok=(0, 1))).exit_code == 0

    async def branch(self, name: str) -> Oid | None:
        """Give the tip of a work branch, None where there is none; one that is only upstream is fetched."""
        here = await self.git.commit_of(f"refs/heads/{name}")
        if here is not None or self.upstream is None:
            return here
        return await self.upstream.branch(name)

    async def paths(self, commit: Oid) -> frozenset[str]:
        """Name all files of a commit."""
        ran = await self.git.run("ls-tree", "-r", "-z", "--name-only", commit)
        return frozenset(filter(None, ran.out.decode(errors="surrogateescape").split("\0")))

    async def files(self, older: Oid, newer: Oid) -> tuple[FileChange, ...]:
        """Count the lines that differ between two commits, file by file, by path."""
        ran = await self.git.run("diff-tree", "-r", "--numstat", "--no-renames", "-z", older, newer)
        return tuple(map(_numstat, filter(None, ran.out.decode(errors="surrogateescape").split("\0"))))

    async def land(self, candidate: Candidate) -> tuple[str, ...] | None:
        """Make the candidate the target's tip; None where the target has moved and nothing was done.

        The branch goes along where every checkout of it can follow; where one cannot, the branch stays and
        `refs/luminaguard/target` holds the tip. Returns what to tell the user about the checkouts.

        Raises:
            HostFault: the candidate does not stand on its base, or git refuses.
        """
        if await self.tip() != candidate.base:
            return None
        if self.upstream is None:
            return await self._land_here(candidate)
        # With the push it has landed; what follows is done again by `tip` if it is cut short.
        if not await self.upstream.push(candidate.commit, onto=candidate.base):
            return None
        landed = await self._land_here(candidate) if await self._tip_here() == candidate.base else None
        return landed if landed is not None else (f"'{self.target}' here was moved meanwhile and does not follow",)

    async def _land_here(self, candidate: Candidate) -> tuple[str, ...] | None:
        held = checkouts_of(self.places, self.ref)
        branch = await self.git.commit_of(self.ref)
        assert branch is not None
        blocked = await self._blocked(held, branch, candidate.commit)
        swapped = await self._swap(candidate, branch=None if blocked else branch)
        if not swapped or blocked:
            for checkout in held:
                forget(checkout)
            return _pending(blocked) if swapped else None
        return tuple([await follow(self.git, checkout, branch, candidate.commit) for checkout in held])

    async def _blocked(self, held: Sequence[Checkout], old: Oid, new: Oid) -> list[Checkout]:
        for checkout in held:
            intend(checkout, old, new)
        return [checkout for checkout in held if not await fits(self.git, checkout, old, new)]

    async def _swap(self, candidate: Candidate, *, branch: Oid | None) -> bool:
        pin = f"refs/luminaguard/candidates/{candidate.commit}"
        lines = [f"update {pin} {candidate.commit}"]
        ahead = await self.git.commit_of(AHEAD)
        if branch is not None:
            lines.append(f"update {self.ref} {candidate.commit} {branch}")
            if ahead is not None:
                lines.append(f"delete {AHEAD} {ahead}")
        else:
            lines.append(f"update {AHEAD} {candidate.commit} {ahead or '0' * len(candidate.commit)}")
        ran = await self.git.run("update-ref", "--stdin", stdin="\n".join([*lines, ""]).encode(), ok=(0, 1, 128))
        if ran.exit_code == 0:
            return True
        if await self._tip_here() != candidate.base:
            return False
        raise HostFault(f"cannot move '{self.target}': {ran.err.decode(errors='replace').strip()}")

    async def catch_up(self) -> tuple[str, ...]:
        """Bring branch and checkouts up to what landed beside them, and finish what a kill cut short."""
        held = checkouts_of(self.places, self.ref)
        branch, ahead = await self.git.commit_of(self.ref), await self.git.commit_of(AHEAD)
        if branch is None:
            return ()
        for checkout in held:
            await finish(self.git, checkout, branch)
        if ahead is None or ahead == branch or not await self.git.is_ancestor(branch, ahead):
            return ()
        if blocked := await self._blocked(held, branch, ahead):
            for checkout in held:
                forget(checkout)
            return _pending(blocked)
        moves = f"update {self.ref} {ahead} {branch}\ndelete {AHEAD} {ahead}\n"
        ran = await self.git.run("update-ref", "--stdin", stdin=moves.encode(), ok=(0, 1, 128))
        if ran.exit_code != 0:  # the user moved it at this very moment: the next look finds what to do
            for checkout in held:
                forget(checkout)
            return ()
        return tuple([await follow(self.git, checkout, branch, ahead) for checkout in held])

    async def beside(self) -> Beside | None:
        """Tell what landed and the branch does not have; None where it has all. With an upstream, its branch counts."""
        branch, ahead = await self.git.commit_of(self.ref), await self.git.commit_of(AHEAD)
        if self.upstream is not None or branch is None or ahead is None or await self.git.is_ancestor(ahead, branch):
            return None
        commits = (await self.git.text("rev-list", f"{branch}..{ahead}")).split()
        asked = [await obstacle(self.git, it, branch, ahead) for it in checkouts_of(self.places, self.ref)]
        found = [it for it in asked if it is not None]
        why = "; ".join((f"'{self.target}' does not have it yet", *(it.why for it in found)))
        how = "; then: ".join((*(it.how for it in found), "luminaguard run"))
        return Beside(commits=frozenset(map(Oid, commits)), why=why, how=how)

    async def holds(self, commit: Oid) -> bool:
        """Tell whether a commit is in the target's history."""
        return await self.git.commit_of(commit) is not None and await self.git.is_ancestor(commit, await self.tip())

    async def first_parents(self, older: Oid) -> tuple[tuple[Oid, Oid], ...]:
        """List (commit, tree) of the target's first-parent history since `older`, oldest first."""
        wanted = ("--first-parent", "--reverse", "--format=%H %T", f"{older}..{await self.tip()}")
        lines = (await self.git.text("log", *wanted)).splitlines()
        return tuple((Oid(line.split()[0]), Oid(line.split()[1])) for line in lines)

    async def of_others(self, branch: str, commit: Oid, *, ours: AbstractSet[Oid] = frozenset()) -> Oid | None:
        """Give the tip of a work branch, here or at the remote, where others have put commits that are not in `commit`.

        What we had put there before is among `ours`.
        """
        tip = await self.git.commit_of(f"refs/heads/{branch}")
        known = {commit, *ours, await self.git.commit_of(f"refs/luminaguard/pushed/{branch}"), None}
        if tip is not None and tip not in known and not await self.git.is_ancestor(tip, commit):
            return tip
        return await self.upstream.of_others(branch, commit) if self.upstream else None

    async def publish(self, branch: str, commit: Oid) -> str:
        """Point a work branch at a commit; what it pointed at stays reachable. Returns a note, or "".

        A branch that is checked out somewhere is left alone: moving it would turn the next commit there into a revert.
        """
        there = await self.upstream.publish(branch, commit) if self.upstream else ""
        return "; ".join(filter(None, (await self._publish_here(branch, commit), there)))

    async def _publish_here(self, branch: str, commit: Oid) -> str:
        ref = f"refs/heads/{branch}"
        old = await self.git.commit_of(ref)
        if old == commit:
            return ""
        if checkouts_of(self.places, ref):
            return f"'{branch}' is checked out and was left where it is; the work is {commit[:12]}"
        lines = [f"update {ref} {commit} {old or '0' * len(commit)}"]
        if old is not None and not await self.git.is_ancestor(old, commit):
            lines.append(f"update refs/luminaguard/kept/{branch}/{old[:12]} {old}")
        ran = await self.git.run("update-ref", "--stdin", stdin="\n".join([*lines, ""]).encode(), ok=(0, 1, 128))
        return (
            "" if ran.exit_code == 0 else f"'{branch}' could not be moved: {ran.err.decode(errors='replace').strip()}"
        )

    async def stage(self, commit: Oid, *, branch: str) -> None:
        """Show a candidate at the remote, whatever the branch showed before; without a remote nobody looks."""
        if self.upstream is not None:
            await self.upstream.stage(commit, branch=branch)

    async def remove_branch(self, branch: str, *, commit: Oid) -> str:
        """Remove a work branch here and at the remote, where it is at `commit` or at what was pushed last.

        Its commits stay under `refs/luminaguard/kept/`. Returns a note, or "".
        """
        ref = f"refs/heads/{branch}"
        tip = await self.git.commit_of(ref)
        ours = (commit, await self.git.commit_of(f"refs/luminaguard/pushed/{branch}"))
        if checkouts_of(self.places, ref) or (tip is not None and tip not in ours):
            return f"'{branch}' is checked out or has other commits, and was left"
        if tip is not None:
            kept = f"refs/luminaguard/kept/{branch}/{tip[:12]}"
            await self.git.run("update-ref", "--stdin", stdin=f"update {kept} {tip}\ndelete {ref} {tip}\n".encode())
        if self.upstream is not None:
            await self.upstream.remove(branch)
        return ""

    def lock_files(self) -> tuple[Path, ...]:
        """Name git's lock files on what we move: of somebody at work, or left by a kill."""
        names = ("HEAD.lock", "packed-refs.lock", f"{self.ref}.lock", f"{AHEAD}.lock")
        found = [path for name in names if (path := self.places.common / name).exists()]
        found += (self.places.common / "refs" / "luminaguard").rglob("*.lock")
        found += (self.places.common / "refs" / "heads" / "feature").rglob("*.lock")
        return tuple(found)

    async def clear_stale_locks(self) -> tuple[str, ...]:
        """Remove lock files that a killed run of ours left. Call with the orchestrator's lock held.

        Our git children inherit that lock, so none of them is alive now; the wait is for a git of the user's own.
        """
        found = self.lock_files()
        if found:
            await anyio.sleep(STALE_AFTER_S)
        cleared = [path for path in found if path.exists()]
        for path in cleared:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        return tuple(str(path) for path in cleared)


def _pending(blocked: Sequence[Checkout]) -> tuple[str, ...]:
    return tuple(f"pending fast-forward: {it.folder} has changes in the way" for it in blocked)


@contextlib.contextmanager
def _scratch_index(places: Places) -> Iterator[dict[str, str]]:
    # One for each: a change that waits for a person is composed while another one lands.
    places.state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=places.state, prefix="git-") as folder:
        yield {"GIT_INDEX_FILE": str(Path(folder) / "index")}


def _numstat(line: str) -> FileChange:
    added, removed, path = line.split("\t", 2)
    return FileChange(path=path, added=_count(added), removed=_count(removed))


def _count(field: str) -> int:
    return 0 if field == "-" else int(field)


def _marked(text: str) -> str:
    """Keep the conflict hunks with three lines around each."""
    lines = text.splitlines()
    keep: set[int] = set()
    begin = 0
    for number, line in enumerate(lines):
        if line.startswith("<<<<<<<"):
            begin = number
        if line.startswith(">>>>>>>"):
            keep.update(range(max(0, begin - 3), min(len(lines), number + 4)))
    return "\n".join(lines[number] for number in sorted(keep))
