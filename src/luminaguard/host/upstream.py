"""The remote that holds the target for everybody: what it has is fetched, what landed is pushed by compare-and-swap.

A push is the landing: whoever was faster there makes it fail, and then nothing has happened here either.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from luminaguard.host.git import Git
from luminaguard.model.faults import HostFault, Unreachable
from luminaguard.model.ids import Oid

FETCH_EVERY_S = 5.0
NETWORK_S = 600.0
UNREACHABLE = (
    *("Could not resolve", "Connection refused", "Connection timed out", "Connection reset", "unable to access"),
    *("early EOF", "The requested URL returned error: 5", "Operation timed out", "Could not read from remote"),
)


LetIn = Callable[[], Awaitable[Mapping[str, str]]]
"""Gives what git needs in its environment to be let in. Asked before each call: a token may be worth an hour only."""


async def unasked() -> Mapping[str, str]:
    """Give nothing: git finds by itself who we are."""
    return {}


@dataclass(slots=True, kw_only=True)
class Upstream:
    """One branch of one remote. What `let_in` gives reaches no command line.

    Only the holder of the orchestrator's lock may push.
    """

    git: Git
    remote: str
    target: str
    let_in: LetIn = field(default=unasked, repr=False)
    _fetched: float = field(default=0.0, init=False)

    @property
    def ref(self) -> str:
        """Where what was last seen of the target stands."""
        return f"refs/remotes/{self.remote}/{self.target}"

    async def tip(self, *, is_fresh: bool = False) -> Oid:
        """Give the remote's tip, at most some seconds old unless a fresh one is asked for.

        Raises:
            Unreachable: the remote cannot be reached.
            HostFault: it refuses us, or has no such branch.
        """
        now = time.monotonic()
        if is_fresh or not self._fetched or now - self._fetched >= FETCH_EVERY_S:
            source = f"+refs/heads/{self.target}:{self.ref}"
            await self._ask("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", self.remote, source)
            self._fetched = time.monotonic()
        found = await self.git.commit_of(self.ref)
        if found is None:
            raise HostFault(f"the remote '{self.remote}' has no branch '{self.target}'", hint="push it once")
        return found

    async def push(self, commit: Oid, *, onto: Oid) -> bool:
        """Make a commit the remote's tip where that is still `onto`; False where it has moved.

        Raises:
            Unreachable: the remote cannot be reached; whether it took the commit shows when it can.
            HostFault: it refuses: a protected branch, a hook, missing permission.
        """
        ref = f"refs/heads/{self.target}"
        refused = await self._push(f"--force-with-lease={ref}:{onto}", f"{commit}:{ref}")
        if refused is None:
            await self.git.run("update-ref", self.ref, commit)
            self._fetched = time.monotonic()
            return True
        if await self.tip(is_fresh=True) != onto:
            return False
        raise HostFault(
            f"the remote '{self.remote}' takes no push to '{self.target}': {refused}",
            hint="allow it for this token or user, or let a forge merge: [landing] by = 'forge'",
        )

    async def branch(self, name: str) -> Oid | None:
        """Give the tip of a branch of the remote with its commits fetched; None where there is none."""
        ran = await self._ask("ls-remote", self.remote, f"refs/heads/{name}")
        line = ran.decode(errors="replace").split("\n", 1)[0]
        if not line:
            return None
        source = f"+refs/heads/{name}:refs/remotes/{self.remote}/{name}"
        await self._ask("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", self.remote, source)
        return Oid(line.split("\t")[0])

    async def publish(self, branch: str, commit: Oid) -> str:
        """Point a work branch of the remote at a commit; what others put there stays. Returns a note, or "".

        Raises:
            Unreachable: the remote cannot be reached.
            HostFault: it refuses.
        """
        ref = f"refs/heads/{branch}"
        there = await self.branch(branch)
        ours = f"refs/luminaguard/pushed/{branch}"
        if there == commit:
            await self.git.run("update-ref", ours, commit)  # a kill may have come before this
            return ""
        if there is not None and not await self.git.is_ancestor(there, commit):
            kept = f"refs/luminaguard/kept/{branch}/{there[:12]}"
            await self.git.run("update-ref", kept, there)
            if not await self._is_ours(branch, there):
                return (
                    f"'{branch}' has commits of others at '{self.remote}' and was left there; the work is {commit[:12]}"
                )
        refused = await self._push(f"--force-with-lease={ref}:{there or ''}", f"{commit}:{ref}")
        if refused is not None:
            raise HostFault(f"the remote '{self.remote}' takes no push to '{branch}': {refused}")
        await self.git.run("update-ref", ours, commit)
        return ""

    async def _is_ours(self, branch: str, commit: Oid) -> bool:
        pushed = await self.git.commit_of(f"refs/luminaguard/pushed/{branch}")
        return pushed is not None and await self.git.is_ancestor(commit, pushed)

    async def stage(self, commit: Oid, *, branch: str) -> None:
        """Point a branch of ours at a commit, whatever it pointed at.

        Raises:
            Unreachable: the remote cannot be reached.
            HostFault: it refuses.
        """
        refused = await self._push("--force", f"{commit}:refs/heads/{branch}")
        if refused is not None:
            raise HostFault(f"the remote '{self.remote}' takes no push to '{branch}': {refused}")

    async def remove(self, branch: str) -> None:
        """Remove a work branch of the remote where it still is what we pushed."""
        pushed = await self.git.commit_of(f"refs/luminaguard/pushed/{branch}")
        if pushed is not None:
            ref = f"refs/heads/{branch}"
            await self._push(f"--force-with-lease={ref}:{pushed}", f":{ref}")

    async def _push(self, *words: str) -> str | None:
        """Push; None where it was taken, else what the remote said."""
        ran = await self.git.run(
            "push",
            "--porcelain",
            "--no-verify",
            *_split(words, self.remote),
            env=await self.let_in(),
            ok=(0, 1, 128),
            timeout_s=NETWORK_S,
        )
        if ran.exit_code == 0:
            return None
        said = ran.err.decode(errors="replace")
        told = [line for line in ran.out.decode(errors="replace").splitlines() if line.startswith("!")]
        if not told:
            raise _unreached(self.remote, said)
        return told[0].rpartition("\t")[2]

    async def _ask(self, *words: str) -> bytes:
        ran = await self.git.run(*words, env=await self.let_in(), ok=(0, 1, 128), timeout_s=NETWORK_S)
        if ran.exit_code != 0:
            raise _unreached(self.remote, ran.err.decode(errors="replace"))
        return ran.out


def _split(words: Sequence[str], remote: str) -> tuple[str, ...]:
    *options, what = words
    return (*options, remote, what)


def _unreached(remote: str, said: str) -> HostFault | Unreachable:
    lines = [line for line in said.strip().splitlines() if line.strip()]
    why = lines[-1] if lines else "it said nothing"
    if any(word in said for word in UNREACHABLE):
        return Unreachable(f"the remote '{remote}' cannot be reached: {why}", hint="try again when it can")
    return HostFault(f"the remote '{remote}' refuses us: {why}", hint="see `luminaguard doctor`")
