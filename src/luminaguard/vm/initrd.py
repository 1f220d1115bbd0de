"""The initial RAM disk: a cpio archive with the agent as /init. Device nodes in it need no root to make."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file, folder or device of the archive; `mode` has the type bits."""

    name: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


FOLDERS = ("dev", "proc", "sys", "tmp", "root", "etc")


def initrd(agent: bytes) -> bytes:
    """Give the archive with an agent, and nothing else but the folders that every program expects."""
    folders = [Entry(name=name, mode=0o40755) for name in FOLDERS]
    console = Entry(name="dev/console", mode=0o20600, device=(5, 1))
    return cpio([*folders, console, Entry(name="init", mode=0o100755, content=agent)])


def cpio(entries: Sequence[Entry]) -> bytes:
    """Give the "newc" archive of some entries."""
    archive = bytearray()
    for number, entry in enumerate([*entries, Entry(name="TRAILER!!!", mode=0)], start=1):
        name = entry.name.encode() + b"\0"
        size = len(entry.content)
        fields = (number, entry.mode, 0, 0, 1, 0, size, 0, 0, *entry.device, len(name), 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        archive += bytes(-len(archive) % 4) + entry.content
        archive += bytes(-len(archive) % 4)
    return bytes(archive)
