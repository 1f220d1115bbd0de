"""The head of a git bundle, read with suspicion: https://git-scm.com/docs/gitformat-bundle."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from luminaguard.model.ids import Oid

SIGNATURES = (b"# v2 git bundle", b"# v3 git bundle")
CAPABILITIES = (b"@object-format=sha1", b"@object-format=sha256")
MOST_LINES = 20_000
LINE_BYTES = 4096
NAMED = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}) (refs/out/[a-z0-9/]{1,40})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a bundle says it holds: refs of ours, where its pack begins, and how many objects that has."""

    refs: Mapping[str, Oid]
    pack_at: int
    objects: int


def read_header(file: BinaryIO) -> Header | None:
    """Read the head of a bundle from its beginning; None where it is not one that our script makes."""
    if file.readline(LINE_BYTES).rstrip(b"\n") not in SIGNATURES:
        return None
    refs: dict[str, Oid] = {}
    for _ in range(MOST_LINES):
        line = file.readline(LINE_BYTES)
        if line == b"\n":
            return _with_pack(file, refs)
        line = line.rstrip(b"\n")
        named = NAMED.fullmatch(line)
        if named is not None:
            refs[named[2].decode()] = Oid(named[1].decode())
        elif not line.startswith(b"-") and line not in CAPABILITIES:
            return None
    return None


def _with_pack(file: BinaryIO, refs: Mapping[str, Oid]) -> Header | None:
    pack_at = file.tell()
    head = file.read(12)
    if len(head) < 12 or head[:4] != b"PACK" or not refs:
        return None
    return Header(refs=refs, pack_at=pack_at, objects=int.from_bytes(head[8:], "big"))
