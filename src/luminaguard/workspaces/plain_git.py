"""Git on this machine with no setting of anybody's: a git folder of ours over the repository's objects."""

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from luminaguard.host.git import clean_env
from luminaguard.host.process import Ran, run
from luminaguard.model.faults import HostFault
from luminaguard.model.ids import Oid
from luminaguard.workspaces.gitfolder import config_for, write_git_folder
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

HEAD = b"ref: refs/none\n"


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


def plain_git(state: Path, common: Path, start: Oid, env: Mapping[str, str] | None = None) -> PlainGit:
    """Give git over the objects of the repository at `common`; its folder lies in `state`, made once and kept.

    Args:
        state: a folder of ours.
        common: the repository's git folder.
        start: any commit of it; tells SHA-1 from SHA-256.
        env: further variables for git.

    Raises:
        HostFault: the folder cannot be written.
    """
    shallow, config = common / "shallow", config_for(start)
    try:
        cut = shallow.read_bytes() if shallow.is_file() else b""
        folder = state / f"plain-{hashlib.sha256(config.encode() + cut).hexdigest()[:16]}"
        if not _is_whole(folder, config, cut):
            _make(folder, start, shallow)
    except OSError as exc:
        raise HostFault(f"cannot make a git folder in {state}: {exc}", hint="is the disk full?") from exc
    return PlainGit(folder=folder, objects=common / "objects", env=env or {})


def _is_whole(folder: Path, config: str, cut: bytes) -> bool:
    # Nothing here is synced: after a power cut a file may be empty, and without its settings git would check less.
    try:
        if (folder / "config").read_text(encoding="utf-8") != config or (folder / "HEAD").read_bytes() != HEAD:
            return False
        return not cut or (folder / "shallow").read_bytes() == cut
    except FileNotFoundError:
        return False


def _make(folder: Path, start: Oid, shallow: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix="git-"))
    try:
        write_git_folder(temporary / "git", head="refs/none", refs={"refs/heads/start": start}, shallow=shallow)
        remove_folder(folder)
        (temporary / "git").rename(folder)
    except OSError:  # another process made the same
        if not (folder / "HEAD").exists():
            raise
    finally:
        remove_folder(temporary)
