"""Git folders written as plain files: no git process runs, and no template, hook or setting of the user's gets in."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from luminaguard.model.faults import UserFault
from luminaguard.model.ids import Oid

AGENT_NAME = "LuminaGuard agent"
AGENT_EMAIL = "agent@luminaguard.invalid"
IDENTITY: Mapping[str, str] = {
    "GIT_AUTHOR_NAME": AGENT_NAME,
    "GIT_AUTHOR_EMAIL": AGENT_EMAIL,
    "GIT_COMMITTER_NAME": AGENT_NAME,
    "GIT_COMMITTER_EMAIL": AGENT_EMAIL,
}
# checkStat: inode and device numbers differ inside an overlay. protectHFS, protectNTFS: names that would be `.git` on
# another file system are refused on every one.
CONFIG = """\
[core]
\trepositoryformatversion = {version}
\tfilemode = true
\tbare = false
\tcheckStat = minimal
\ttrustctime = false
\tprotectHFS = true
\tprotectNTFS = true
\tbigFileThreshold = 64m
[gc]
\tauto = 0
[maintenance]
\tauto = false
[fetch]
\tfsckObjects = true
[transfer]
\tfsckObjects = true
[user]
\tname = {name}
\temail = {email}
[advice]
\tdetachedHead = false
"""
FOLDERS = ("objects/info", "objects/pack", "refs/heads", "info")
LEAST = ("objects/info", "refs")
"""What git itself cannot do without; each folder costs when it is made and when it is removed."""
SHA256 = "[extensions]\n\tobjectformat = sha256\n"


def config_for(oid: Oid) -> str:
    """Give the configuration for a git folder whose objects have ids like `oid`."""
    is_sha256 = len(oid) == 64
    config = CONFIG.format(version=int(is_sha256), name=AGENT_NAME, email=AGENT_EMAIL)
    return config + (SHA256 if is_sha256 else "")


def write_git_folder(
    folder: Path,
    *,
    head: str,
    refs: Mapping[str, Oid],
    alternates: Sequence[Path] = (),
    shallow: Path | None = None,
    more: str = "",
    folders: Sequence[str] = FOLDERS,
) -> None:
    """Write a whole git folder.

    Args:
        folder: must not exist.
        head: the ref that HEAD stands on, or an object id.
        refs: at least one; the length of its id tells SHA-1 from SHA-256.
        alternates: folders that objects are borrowed from, as the reader will see them.
        shallow: the `shallow` file of the repository that objects are borrowed from.
        more: further lines of configuration.
        folders: which folders there are from the start.
    """
    for name in folders:
        (folder / name).mkdir(parents=True)
    (folder / "config").write_text(config_for(next(iter(refs.values()))) + more, encoding="utf-8")
    (folder / "HEAD").write_text(f"ref: {head}\n" if head.startswith("refs/") else f"{head}\n", encoding="utf-8")
    lines = "".join(f"{oid} {name}\n" for name, oid in sorted(refs.items()))
    (folder / "packed-refs").write_text(f"# pack-refs with: sorted \n{lines}", encoding="utf-8")
    if alternates:
        (folder / "objects/info/alternates").write_text("".join(f"{path}\n" for path in alternates), encoding="utf-8")
    if shallow is not None and shallow.is_file():
        (folder / "shallow").write_bytes(shallow.read_bytes())


def object_stores(objects: Path) -> tuple[Path, ...]:
    """List a repository's folder of objects and all that it borrows from, itself first.

    Raises:
        UserFault: the folder is not there.
    """
    if not objects.is_dir():
        raise UserFault(f"{objects} is not a folder of git objects", hint="is the repository complete?")
    found: dict[Path, None] = {}
    todo = [Path(os.path.realpath(objects))]
    while todo:
        store = todo.pop(0)
        if store not in found and store.is_dir():
            found[store] = None
            todo.extend(_borrowed(store))
    return tuple(found)


def _borrowed(store: Path) -> list[Path]:
    try:
        text = (store / "info/alternates").read_bytes().decode(errors="surrogateescape")
    except OSError:
        return []
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [Path(os.path.realpath(store / line)) for line in lines]
