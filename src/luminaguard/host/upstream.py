"""The remote that holds the target for everybody: what it has is fetched, what landed is pushed by compare-and-swap.

A push is the landing: whoever was faster there makes it fail, and then nothing has happened here either.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import anyio

from luminaguard.host.git import Git
from luminaguard.host.process import Ran
from luminaguard.model.faults import Fault, HostFault, Unreachable, UserFault
from luminaguard.model.ids import Oid

FETCH_EVERY_S = 5.0
NETWORK_S = 600.0
REFUSED = (
    *("error: 401", "error: 403", "error: 404", "Authentication failed", "Permission denied", "ost key verification"),
    *("could not read Username", "could not read Password", "certificate", "not found"),
)
UNREACHABLE = (
    *("Could not resolve", "Connection refused", "onnection timed out", "Connection reset", "Connection closed"),
    *("early EOF", "Operation timed out", "No route to host", "unreachable", "hung up", "unable to access"),
    "Could not read from remote",
)
"""Words of git, curl and ssh. What refuses us is looked for first: behind it stands that nothing could be read.

"does not appear to be a git repository" is in neither: a folder on a disk that is not mounted may come back.
"""

LOCKED = "cannot lock ref"
LOCKED_TRIES, LOCKED_S = 8, 0.1


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
    _fetching: anyio.Lock = field(default_factory=anyio.Lock, init=False)

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
            await self._fetch(self.target)
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
        tip = await self._shown(name)
        if tip is not None:
            await self._fetch(name)
        return tip

    async def _shown(self, branch: str) -> Oid | None:
        """Give the tip of a branch of the remote, whose commits may not be here."""
        ran = await self._ask("ls-remote", self.remote, f"refs/heads/{branch}")
        line = ran.decode(errors="replace").split("\n", 1)[0]
        return Oid(line.split("\t")[0]) if line else None

    async def of_others(self, branch: str, commit: Oid) -> Oid | None:
        """Give the tip of a work branch where others have put commits that are not in `commit`.

        Raises:
            Unreachable: the remote cannot be reached.
        """
        tip = await self._shown(branch)
        if tip is None or tip in (commit, await self.git.commit_of(f"refs/luminaguard/pushed/{branch}")):
            return None
        await self._fetch(branch)
        if await self.git.is_ancestor(tip, commit) or await self._is_ours(branch, tip):
            return None
        await self.git.run("update-ref", f"refs/luminaguard/kept/{branch}/{tip[:12]}", tip)
        return tip

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
            raise await self._unreached(said)
        return told[0].rpartition("\t")[2]

    async def _fetch(self, branch: str) -> None:
        """Fetch a branch; one at a time, since two that move the same ref are an error to git."""
        source = f"+refs/heads/{branch}:refs/remotes/{self.remote}/{branch}"
        words = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", self.remote, source)
        async with self._fetching:
            for tries_left in reversed(range(LOCKED_TRIES)):
                ran = await self._run(*words)
                said = ran.err.decode(errors="replace")
                if ran.exit_code == 0:
                    return
                if LOCKED not in said or not tries_left:
                    raise await self._unreached(said)
                await anyio.sleep(LOCKED_S)  # somebody else fetches here

    async def _ask(self, *words: str) -> bytes:
        ran = await self._run(*words)
        if ran.exit_code != 0:
            raise await self._unreached(ran.err.decode(errors="replace"))
        return ran.out

    async def _run(self, *words: str) -> Ran:
        return await self.git.run(*words, env=await self.let_in(), ok=(0, 1, 128), timeout_s=NETWORK_S)

    async def _unreached(self, said: str) -> Fault:
        """Sort by who must act: git takes the name of a remote that is not there for a folder, which may come back."""
        named = await self.git.run("config", "--get-all", f"remote.{self.remote}.url", ok=(0, 1))
        if named.exit_code != 0:
            hint = f"git remote add {self.remote} URL, or name another: [landing] remote, or --remote"
            return UserFault(f"there is no remote '{self.remote}'", hint=hint)
        return fault_of(self.remote, said)


def fault_of(remote: str, said: str) -> HostFault | Unreachable:
    """Tell a remote that is away from one that refuses us, by what git said."""
    why, is_refused = _first_word(said), any(word in said for word in REFUSED)
    if not is_refused and any(word in said for word in UNREACHABLE):
        return Unreachable(f"the remote '{remote}' cannot be reached: {why}", hint="try again when it can")
    return HostFault(f"the remote '{remote}' refuses us: {why}", hint="see `luminaguard doctor`")


def _split(words: Sequence[str], remote: str) -> tuple[str, ...]:
    *options, what = words
    return (*options, remote, what)


def _first_word(said: str) -> str:
    """Give what git died of: who refuses us says it first, and behind git's own words stands advice."""
    lines = [line.strip() for line in said.strip().splitlines() if line.strip()]
    refused = (line for line in lines if any(word in line for word in REFUSED))
    died = (line for line in lines if line.startswith("fatal: "))
    return next(refused, next(died, lines[-1] if lines else "it said nothing")).removeprefix("fatal: ")
