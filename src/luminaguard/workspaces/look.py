"""Looking at imported work before anybody checks it out: links, submodules, and conflicts that were left standing."""

from dataclasses import dataclass

from luminaguard.host.process import Ran
from luminaguard.model.ids import Oid
from luminaguard.workspaces.base import Start
from luminaguard.workspaces.plain_git import PlainGit

LINK, SUBMODULE, GONE = "120000", "160000", "000000"
LINK_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A path that differs: its mode and its object in the work."""

    path: str
    mode: str
    oid: Oid


async def objection(git: PlainGit, start: Start, tip: Oid) -> str | None:
    """Say in a sentence why the work of `tip` cannot be taken as it is, naming the path; None where it can."""
    entries = await _changed(git, start.commit, tip)
    if start.merge is not None:
        # What came from the target is not the agent's doing.
        entries &= await _changed(git, start.merge, tip)
    ordered = sorted(entries, key=lambda entry: entry.path)
    for entry in ordered:
        if (why := _objection_to_kind(entry)) is not None:
            return why
    links = [entry for entry in ordered if entry.mode == LINK]
    for entry, target in zip(links, await _contents(git, [entry.oid for entry in links], LINK_BYTES), strict=True):
        if target is None or leaves(entry.path, target.decode(errors="surrogateescape")):
            return f"the link {_shown(entry.path)} leads out of the tree"
    if start.merge is not None:
        return await _left_conflict(git, start.commit, start.merge, tip)
    return None


def _objection_to_kind(entry: Entry) -> str | None:
    if entry.mode == SUBMODULE:
        return f"{_shown(entry.path)} is a repository of its own inside the tree; its files would be lost"
    if entry.mode != GONE and entry.path.rpartition("/")[2].lower() == ".gitmodules":
        return f"{_shown(entry.path)} was added or changed; submodules are for a person to set up"
    return None


def leaves(path: str, target: str) -> bool:
    """Tell whether a link may lead out of the tree or into `.git`.

    A `..` after a name counts as leading out, as that name may be a link itself; folders above a path are real ones.
    """
    if target.startswith("/") or "\0" in target:
        return True
    parts = [part for part in target.split("/") if part not in ("", ".")]
    ups = next((index for index, part in enumerate(parts) if part != ".."), len(parts))
    return ups > path.count("/") or ".." in parts[ups:] or ".git" in (part.lower() for part in parts)


def _shown(path: str) -> str:
    return "'" + "".join(char if char.isprintable() else "?" for char in path[:300]) + "'"


async def _changed(git: PlainGit, old: Oid, new: Oid) -> set[Entry]:
    ran = await git.run("diff-tree", "-r", "-z", "--no-renames", "--raw", "--no-abbrev", old, new)
    fields = ran.out.decode(errors="surrogateescape").split("\0")
    pairs = zip(fields[0::2], fields[1::2], strict=False)
    return {
        Entry(path=path, mode=words[1], oid=Oid(words[3]))
        for meta, path in pairs
        if len(words := meta.removeprefix(":").split(" ")) == 5
    }


async def _contents(git: PlainGit, oids: list[Oid], most_bytes: int) -> list[bytes | None]:
    """Read blobs; None for one that is too large."""
    if not oids:
        return []
    asked = "".join(f"{oid}\n" for oid in oids).encode()
    sizes = [
        int(line.split()[2]) for line in (await git.run("cat-file", "--batch-check", stdin=asked)).out.splitlines()
    ]
    small = [oid for oid, size in zip(oids, sizes, strict=True) if size <= most_bytes]
    asked = "".join(f"{oid}\n" for oid in small).encode()
    read = dict(zip(small, _split(await git.run("cat-file", "--batch", stdin=asked)), strict=True)) if small else {}
    return [read.get(oid) for oid in oids]


def _split(ran: Ran) -> list[bytes]:
    found, rest = [], ran.out
    while rest:
        head, _, rest = rest.partition(b"\n")
        size = int(head.split()[2])
        found.append(rest[:size])
        rest = rest[size + 1 :]
    return found


CONFLICTED_BYTES = 8 * 1024 * 1024


async def _left_conflict(git: PlainGit, start: Oid, merge: Oid, tip: Oid) -> str | None:
    ran = await git.run(
        "merge-tree", "--write-tree", "--name-only", "-z", "--no-messages", start, merge, ok=(0, 1, 128)
    )
    if ran.exit_code != 1:
        return None
    paths = [path for path in ran.out.decode(errors="surrogateescape").split("\0")[1:] if path]
    for path in dict.fromkeys(paths):
        now, *before = [await _blob(git, commit, path) for commit in (tip, start, merge)]
        if _has_markers(now) and not any(map(_has_markers, before)):
            return f"{_shown(path)} still holds conflict markers"
    return None


async def _blob(git: PlainGit, commit: Oid, path: str) -> bytes:
    ran = await git.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}:{path}", ok=(0, 1, 128))
    oid = Oid(ran.out.decode().split("\n")[-2]) if ran.exit_code == 0 else None
    return ((await _contents(git, [oid], CONFLICTED_BYTES))[0] or b"") if oid else b""


def _has_markers(text: bytes) -> bool:
    lines = text.split(b"\n")
    return any(line.startswith(b"<<<<<<< ") for line in lines) and any(line.startswith(b">>>>>>> ") for line in lines)
