"""Packs on their way in, and bundles for what is refused: https://git-scm.com/docs/gitformat-bundle."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from luminaguard.model.ids import Oid


def objects_in(fd: int, at: int) -> int | None:
    """Tell how many objects the pack that begins at `at` says to hold, None where none begins there."""
    head = os.pread(fd, 12, at)
    return int.from_bytes(head[8:], "big") if len(head) == 12 and head[:4] == b"PACK" else None


def write_bundle(to: Path, refs: Mapping[str, Oid], needs: Iterable[Oid], *, pack: Path, at: int) -> None:
    """Write a bundle that a person can look into with git: the pack that begins at `at`, under names."""
    is_sha256 = len(next(iter(refs.values()))) == 64
    head = "# v3 git bundle\n@object-format=sha256\n" if is_sha256 else "# v2 git bundle\n"
    lines = [*(f"-{oid}\n" for oid in needs), *(f"{oid} {name}\n" for name, oid in refs.items())]
    with pack.open("rb") as source, to.open("wb") as file:
        file.write((head + "".join(lines) + "\n").encode())
        file.flush()
        while copied := os.sendfile(file.fileno(), source.fileno(), at, 1 << 30):
            at += copied
