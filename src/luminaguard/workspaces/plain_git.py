"""Git on this machine with no setting of anybody's: a git folder of ours over the repository's objects."""

import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from luminaguard.host.git import clean_env
from luminaguard.host.process import Ran, run
from luminaguard.model.faults import HostFault
from luminaguard.model.ids import Oid
from luminaguard.workspaces.gitfolder import write_git_folder
from luminaguard.workspaces.remove import remove_folder

NEUTRAL: Mapping[str, str] = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_ALLOW_PROTOCOL": "file",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    # A small pack can name a huge object; git then gives up instead of taking the machine's memory.
    "GIT_ALLOC_LIMIT": "2g",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainGit:
    """Runs git with the git folder `folder`; objects are read from and written to `objects`."""

    folder: Path
    objects: Path
    env: Mapping[str, str] = field(default_factory=dict)

    async def run(
        self,
        *args: str,
        stdin: bytes = b"",
        stdin_fd: int | None = None,
        ok: Sequence[int] = (0,),
        timeout_s: float = 600.0,
    ) -> Ran:
        """Run `git ARGS`; an exit code outside `ok` is a HostFault with git's own words."""
        env = clean_env({**NEUTRAL, "GIT_DIR": str(self.folder), "GIT_OBJECT_DIRECTORY": str(self.objects), **self.env})
        ran = await run(("git", *args), cwd=self.folder, env=env, stdin=stdin, timeout_s=timeout_s, stdin_fd=stdin_fd)
        if ran.exit_code not in ok:
            raise HostFault(f"git {args[0]} failed: {last_words(ran)}", hint="`git fsck` tells whether it is whole")
        return ran


def last_words(ran: Ran) -> str:
    """Give the last line that a program said to standard error, or its exit code."""
    lines = ran.err.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {ran.exit_code}"


@asynccontextmanager
async def plain_git(
    state: Path, common: Path, refs: Mapping[str, Oid], env: Mapping[str, str] | None = None
) -> AsyncIterator[PlainGit]:
    """Make a git folder in `state` over the objects of the repository at `common`, and remove it after use."""
    state.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=state, prefix="git-"))
    try:
        home = folder / "git"
        write_git_folder(home, head="refs/none", refs=refs, shallow=common / "shallow")
        yield PlainGit(folder=home, objects=common / "objects", env=env or {})
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(remove_folder, folder)
