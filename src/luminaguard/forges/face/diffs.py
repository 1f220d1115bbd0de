"""What git says of pull requests: where their branches stand, whether they fit, what they change. Blocking."""

from collections.abc import Mapping, Sequence

from luminaguard.forges.face.pull_shapes import Work
from luminaguard.forges.face.pull_shapes import file as file_shape
from luminaguard.forges.face.shapes import Shape
from luminaguard.forges.face.site import Site, View
from luminaguard.forges.records import PullRecord
from luminaguard.model.ids import Oid
from luminaguard.model.work import FileChange

COMMIT_FORMAT = "%H%x1f%T%x1f%P%x1f%an%x1f%ae%x1f%aI%x1f%cn%x1f%ce%x1f%cI%x1f%B%x1e"
PATCH_BYTES = 200 * 1024
_HOW = {"A": "added", "D": "removed", "M": "modified", "T": "changed"}


def caught_up(view: View) -> View:
    """Bring what the tracker knows of open pull requests up to where their branches stand now."""
    heads, moved = view.site.heads(), False
    for it in view.snapshot.pulls.values():
        head = heads.get(it.branch)
        if it.is_open and head is not None and head != it.head:
            view.site.talk.edit_pull(it.number, who=it.author or view.site.store.who, head=head)
            moved = True
    return View(site=view.site, urls=view.urls, snapshot=view.site.now()) if moved else view


def work_of(site: Site, it: PullRecord) -> Work:
    """Ask git what a pull request would do to its target."""
    base = site.commit(it.target)
    start = None if base is None else start_of(site, it, base)
    if base is None or start is None or site.commit(it.head) is None:
        return Work(base=base or it.head, fits=None, commits=0, files=())
    counted = site.git.run_blocking("rev-list", "--count", f"{start}..{it.head}").out
    return Work(base=base, fits=_fits(site, it, base), commits=int(counted), files=files_of(site, start, it.head))


def start_of(site: Site, it: PullRecord, base: Oid) -> Oid | None:
    """Find where a pull request's work began: for a merged one, before its landing."""
    onto = base
    if it.merged is not None:
        ran = site.git.run_blocking("rev-parse", "--verify", "--quiet", f"{it.merged}^1", ok=(0, 1, 128))
        onto = Oid(ran.out.decode().strip()) if ran.exit_code == 0 else base
    ran = site.git.run_blocking("merge-base", onto, it.head, ok=(0, 1, 128))
    return Oid(ran.out.decode().strip()) if ran.exit_code == 0 else None


def _fits(site: Site, it: PullRecord, base: Oid) -> bool | None:
    if not it.is_open:
        return None
    return site.git.run_blocking("merge-tree", "--write-tree", base, it.head, ok=(0, 1)).exit_code == 0


def files_of(site: Site, older: Oid, newer: Oid) -> tuple[FileChange, ...]:
    """Count the lines that differ between two commits."""
    ran = site.git.run_blocking("diff-tree", "-r", "--numstat", "--no-renames", "-z", older, newer)
    lines = (line.split("\t", 2) for line in ran.out.decode(errors="replace").split("\0") if line)
    return tuple(FileChange(path=path, added=_count(added), removed=_count(gone)) for added, gone, path in lines)


def _count(text: str) -> int:
    return int(text) if text.isdigit() else 0


def kinds_of(site: Site, it: PullRecord, base: Oid) -> Mapping[str, str]:
    """Tell of each path that a pull request changes how: "added", "removed", "modified", "changed"."""
    start = start_of(site, it, base)
    if start is None:
        return {}
    ran = site.git.run_blocking("diff-tree", "-r", "--no-renames", "--name-status", "-z", start, it.head)
    parts = ran.out.decode(errors="replace").split("\0")
    return {path: _HOW.get(letter, "changed") for letter, path in zip(parts[::2], parts[1::2], strict=False)}


def file_shapes(view: View, it: PullRecord, files: Sequence[FileChange], start: Oid) -> list[Shape]:
    """Show files with their patches."""
    ran = view.site.git.run_blocking("diff-tree", "-r", "--no-renames", "-z", start, it.head)
    parts = ran.out.decode(errors="replace").split("\0")
    raw = {path: meta.split() for meta, path in zip(parts[::2], parts[1::2], strict=False) if path}
    shapes = []
    for file in files:
        meta = raw.get(file.path, [])
        how = _HOW.get(meta[4], "changed") if len(meta) == 5 else "changed"
        blob = None if len(meta) < 5 else meta[2] if how == "removed" else meta[3]
        patch = _patch(view.site, start, it.head, file.path)
        shapes.append(file_shape(view, file, head=it.head, blob=blob, how=how, patch=patch))
    return shapes


def _patch(site: Site, older: Oid, newer: Oid, path: str) -> str:
    wanted = (
        "diff-tree",
        "-p",
        "--no-renames",
        "--no-color",
        "--no-ext-diff",
        "--no-textconv",
        older,
        newer,
        "--",
        path,
    )
    ran = site.git.run_blocking(*wanted, env={"GIT_LITERAL_PATHSPECS": "1"})
    text = ran.out[:PATCH_BYTES].decode(errors="replace")
    found = text.find("\n@@")
    return text[found + 1 :] if found >= 0 else ""


def diff_of(site: Site, it: PullRecord, *, as_patches: bool) -> bytes:
    """Give the whole diff of a pull request, or its commits as mails."""
    base = site.commit(it.target)
    start = None if base is None else start_of(site, it, base)
    if start is None:
        return b""
    if as_patches:
        return site.git.run_blocking("format-patch", "--stdout", f"{start}..{it.head}").out
    plain = ("--no-color", "--no-ext-diff", "--no-textconv")
    return site.git.run_blocking("diff", *plain, start, it.head).out


def commits_of(site: Site, *wanted: str) -> list[list[str]]:
    """Read commits as fields, oldest first."""
    ran = site.git.run_blocking("log", "--reverse", f"--format={COMMIT_FORMAT}", *wanted)
    texts = ran.out.decode(errors="replace").split("\x1e")
    return [text.lstrip("\n").split("\x1f", 9) for text in texts if text.strip()]
