"""A guest's configuration as it is typed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from luminaguard.app.vm_images import image_path
from luminaguard.model.faults import UserFault
from luminaguard.vm.base import Disk, Forward, VmConfig

SUPERBLOCKS: tuple[tuple[str, int, bytes], ...] = (
    ("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    ("ext4", 1080, b"\x53\xef"),
    ("xfs", 0, b"XFSB"),
    ("squashfs", 0, b"hsqs"),
    ("btrfs", 65600, b"_BHRfS_M"),
)
"""File system, where in the file, what stands there."""
FORMS = {
    "disk": "PATH[:rw][@MOUNT]",
    "env": "NAME=VALUE",
    "forward": "PORT=SOCKET",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What was typed; None and empty mean the default."""

    image: str | None = None
    kernel: Path | None = None
    memory_mib: int | None = None
    vcpus: int | None = None
    disks: Sequence[str] = ()
    env: Sequence[str] = ()
    forwards: Sequence[str] = ()
    deadline_s: float | None = None
    movable: bool = False


def config_from(words: Words) -> VmConfig:
    """Make a configuration of what was typed.

    Raises:
        UserFault: something cannot be; names it.
    """
    default = VmConfig()
    return VmConfig(
        kernel=words.kernel.absolute() if words.kernel else None,
        root=image_path(words.image) if words.image else None,
        memory_mib=default.memory_mib if words.memory_mib is None else words.memory_mib,
        vcpus=default.vcpus if words.vcpus is None else words.vcpus,
        disks=tuple(map(disk_from, words.disks)),
        forwards=tuple(map(forward_from, words.forwards)),
        environment=variables_from(words.env),
        deadline_s=_life(default.deadline_s if words.deadline_s is None else words.deadline_s),
        movable=words.movable,
    )


def _life(seconds: float) -> float:
    if not 0 < seconds < 1e9:
        raise UserFault(f"a guest cannot live for {seconds:g} s", hint="give --deadline a number of seconds above 0")
    return seconds


def disk_from(text: str) -> Disk:
    """Read PATH[:rw][@MOUNT]. What file system is on it is read from the disk itself.

    Raises:
        UserFault: it is not of that form, not there, or has no known file system to mount.
    """
    found = re.fullmatch(r"(?P<path>.+?)(?P<rw>:rw)?(?:@(?P<mount>/.*))?", text, re.DOTALL)
    if found is None:
        raise _misspelled("disk", text)
    path = Path(found["path"]).absolute()
    if not path.is_file():
        raise UserFault(f"there is no disk {path}", hint=f"--disk {FORMS['disk']}: name a file of a whole disk")
    if not found["mount"]:
        return Disk(path=path, writable=bool(found["rw"]))
    return Disk(path=path, writable=bool(found["rw"]), mount_at=found["mount"], filesystem=filesystem_of(path))


def filesystem_of(path: Path) -> str:
    """Tell what file system is on a disk, by its superblock.

    Raises:
        UserFault: none that a guest can mount.
    """
    with path.open("rb") as disk:
        for name, at, magic in SUPERBLOCKS:
            disk.seek(at)
            if disk.read(len(magic)) == magic:
                return name
    known = ", ".join(name for name, *_ in SUPERBLOCKS)
    raise UserFault(f"{path} holds no file system that is known here ({known})", hint="leave out @MOUNT, or make one")


def forward_from(text: str) -> Forward:
    """Read PORT=SOCKET.

    Raises:
        UserFault: it is not of that form.
    """
    port, is_there, socket = text.partition("=")
    if not is_there or not socket or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise _misspelled("forward", text)
    return Forward(port=int(port), socket=Path(socket).absolute())


def variables_from(texts: Sequence[str]) -> dict[str, str]:
    """Read NAME=VALUE of each.

    Raises:
        UserFault: one is not of that form.
    """
    pairs = {}
    for text in texts:
        name, is_there, value = text.partition("=")
        if not name or not is_there:
            raise _misspelled("env", text)
        pairs[name] = value
    return pairs


def _misspelled(option: str, text: str) -> UserFault:
    return UserFault(f"--{option} {text!r} cannot be read", hint=f"write --{option} {FORMS[option]}")
