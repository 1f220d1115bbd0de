"""Has the toolchain of this machine changed since its image was made? A look that takes a quarter of the builder's.

The builder looks at every file's owner, rights and content; this one at names, sizes and times alone, in one pass.
"""

import contextlib
import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from luminaguard.vm.images import ETC, IN_ETC
from luminaguard.vm.images_tree import COMPILED
from luminaguard.vm.kernel import write_whole

UNNEEDED = ("doc", "gtk-doc", "help", "icons", "info", "locale", "man", "sounds", "themes", "wallpapers")
"""Folders below a `share` that no program needs to do its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What was known of the toolchain as it is now: the path of its image, None where none is known."""

    path: Path | None
    record: Path

    def remember(self, path: Path) -> None:
        """Write down which image shows it."""
        self.record.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.record, str(path).encode(), mode=0o600)


def quick_look(folders: Sequence[Path], system: Sequence[Path], *, cache: Path) -> Known:
    """Look whether the image of these folders is known."""
    said = hashlib.sha256(repr((UNNEEDED, sorted(IN_ETC.items()), sorted(map(str, folders)))).encode())
    for line in _listing([*system, *folders, *_etc()], {f"/{path}" for path in unneeded(folders)}):
        said.update(line.encode(errors="surrogateescape"))
    record = cache / "quick" / said.hexdigest()[:32]
    with contextlib.suppress(OSError):
        path = Path(record.read_text(encoding="utf-8"))
        if path.exists():
            return Known(path=path, record=record)
    return Known(path=None, record=record)


def unneeded(folders: Sequence[Path]) -> frozenset[str]:
    """Give the paths in the image that stay out."""
    return frozenset(_unneeded(folders))


def _unneeded(folders: Sequence[Path]) -> Iterator[str]:
    for top in (Path("/usr"), *folders):
        for depth in ("", "*/", "*/*/"):
            for name in UNNEEDED:
                yield from (str(found).lstrip("/") for found in top.glob(f"{depth}share/{name}"))


def _etc() -> Iterator[Path]:
    for pattern in ETC:
        yield from sorted(Path("/etc").glob(pattern))


def _listing(tops: Sequence[Path], without: Collection[str]) -> Iterator[str]:
    waiting = []
    for top in tops:
        yield f"{top}\0{os.readlink(top) if top.is_symlink() else ''}\n"  # noqa: PTH115 as it is spelled
        if top.is_dir() and not top.is_symlink():
            waiting.append(str(top))
        elif top.exists():
            yield f"{top.stat().st_size} {top.stat().st_mtime_ns}\n"
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            yield from _lines(sorted(entries, key=lambda it: it.name), waiting, without)


def _lines(entries: Sequence[os.DirEntry[str]], waiting: list[str], without: Collection[str]) -> Iterator[str]:
    for entry in entries:
        if entry.name == COMPILED or entry.path in without:
            continue
        seen = entry.stat(follow_symlinks=False)
        if entry.is_dir(follow_symlinks=False):
            yield f"{entry.path}\n"
            waiting.append(entry.path)
        else:
            yield f"{entry.path}\0{seen.st_mode} {seen.st_size} {seen.st_mtime_ns} {seen.st_ino}\n"
