"""What a guest of the level `vm` is made of: its disks, what is copied into it, and the orders that put it together."""

import functools
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from luminaguard.vm.base import Disk, Forward, VmConfig
from luminaguard.vm.enclosed_files import disk_in, empty_disk, image_of
from luminaguard.vm.enclosed_spec import Shown, Spec, Tree
from luminaguard.vm.images_look import holds

HIDDEN = "/.inside"
"""What the program is not to find under a second name: mounted here first, and covered at the end."""
ON_DISK, SCRATCH, LOWER = f"{HIDDEN}/disk", f"{HIDDEN}/scratch", f"{HIDDEN}/lower"
FEW, MANY = 3, 4
"""Places for read-only disks: as many as there are, or a snapshot of each kind of guest would be made."""
FOREVER_S = 1e7
PATIENCE_S = 10.0
"""How long a connection waits for a gateway that is being started again."""
SETTINGS = {
    # A kill from outside loses at most what was written in the last second.
    "vm/dirty_writeback_centisecs": "50",
    "vm/dirty_expire_centisecs": "100",
    "user/max_user_namespaces": "0",
    "kernel/dmesg_restrict": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The disks; `images` tells where each of the folders on them is mounted, `copied` what is put where.

    `is_new`: nothing lies on the tree's own disk yet.
    """

    disks: tuple[Disk, ...]
    images: dict[str, str]
    copied: dict[str, Shown]
    is_new: bool


def parts_of(spec: Spec, files: ExitStack) -> Parts:
    """Make the files behind the guest; what is only for this one goes with `files`.

    Raises:
        HostFault: they cannot be made.
        Transient: a folder does not stand still.
    """
    work = spec.tree.work or _temporary(spec, files)
    disk, has_begun = files.enter_context(disk_in(work, disk_bytes=spec.disk_bytes))
    folders, copied = _sorted(spec)
    shown = _images(spec, folders)
    images = {at: f"{HIDDEN}/{number}" for number, at in enumerate(shown)}
    padding = (FEW if len(shown) <= FEW else MANY) - len(shown)
    return Parts(
        disks=(
            Disk(path=disk, writable=True, mount_at=ON_DISK, filesystem="ext4"),
            *(Disk(path=path, varies=True, mount_at=images[at]) for at, path in shown.items()),
            *(padding * (Disk(path=empty_disk(spec.keep), varies=True),)),
            *_scratch(spec, copied, files),
        ),
        images=images,
        copied=copied,
        is_new=not has_begun,
    )


def _images(spec: Spec, folders: dict[str, Path]) -> dict[str, Path]:
    image = functools.partial(image_of, keep=spec.keep, uid=spec.uid)
    lower = {} if spec.tree.lower is None else {LOWER: image(spec.tree.lower, is_fixed=True)}
    return {**lower, **{at: image(folder, is_fixed=False) for at, folder in folders.items()}}


def _temporary(spec: Spec, files: ExitStack) -> Path:
    spec.keep.mkdir(parents=True, exist_ok=True)
    return Path(files.enter_context(tempfile.TemporaryDirectory(dir=spec.keep, prefix=".new-")))


def _scratch(spec: Spec, copied: dict[str, Shown], files: ExitStack) -> tuple[Disk, ...]:
    """Give a disk for what may be written to besides the tree, where there is something of the kind."""
    if not any(shown.writable for shown in copied.values()):
        return ()
    disk, _ = files.enter_context(disk_in(_temporary(spec, files), disk_bytes=spec.disk_bytes))
    return (Disk(path=disk, writable=True, mount_at=SCRATCH, filesystem="ext4"),)


def _sorted(spec: Spec) -> tuple[dict[str, Path], dict[str, Shown]]:
    """Tell what is shown by an image of a folder, and what is copied: files, and what may be written to."""
    folders: dict[str, Path] = {}
    copied: dict[str, Shown] = {}
    most = MANY - (spec.tree.lower is not None)
    for number, shown in enumerate(spec.mounts):
        source = shown.source.resolve()
        if shown.writable:
            copied[f"{SCRATCH}/{number}"] = shown
        elif source.is_dir() and str(source) == shown.at and holds(spec.image, shown.at):
            continue
        elif source.is_dir() and len(folders) < most:
            folders[shown.at] = source
        else:
            copied[f"{HIDDEN}/copied/{number}"] = shown
    return folders, copied


def config_of(spec: Spec, parts: Parts) -> VmConfig:
    """Give the guest's configuration."""
    forwards = (
        () if spec.gateway is None else (Forward(port=spec.gateway_port, socket=spec.gateway, patience_s=PATIENCE_S),)
    )
    return VmConfig(
        root=spec.image,
        memory_mib=spec.memory_mib,
        disks=parts.disks,
        forwards=forwards,
        deadline_s=FOREVER_S,
        boot_timeout_s=120.0,
    )


def orders_of(spec: Spec, parts: Parts) -> list[str]:
    """Give the words that `guest/inside.c` puts the guest together by, when all that is copied is there."""
    scratch = str(min(spec.tmp_bytes, spec.memory_mib << 19))
    found = [word for name, value in SETTINGS.items() for word in ("write", f"/proc/sys/{name}", value)]
    found += ["host", spec.host_name, "tmpfs", "/tmp", scratch, "1777", "0"]  # noqa: S108 the guest's
    found += ["tmpfs", spec.home, scratch, "700", spec.uid, "bind", "/tmp", "/var/tmp", "rw"]  # noqa: S108
    found += ["tmpfs", "/dev/shm", scratch, "1777", "0", "hide"]  # noqa: S108
    found += _tree_orders(spec.tree, parts)
    for at, place in parts.images.items():
        if at != LOWER:
            found += ["bind", place, at, "ro"]
    for place, shown in parts.copied.items():
        found += ["own", spec.uid, place, "bind", place, shown.at, "rw" if shown.writable else "ro"]
    found += ["tmpfs", HIDDEN, "4096", "700", "0"]
    return [*found, "limit", "processes", str(spec.processes), "limit", "file", str(spec.file_bytes)]


def _tree_orders(tree: Tree, parts: Parts) -> list[str]:
    upper, work = f"{ON_DISK}/upper", f"{ON_DISK}/work"
    if tree.lower is None:
        return ["bind", upper, tree.at, "rw" if tree.writable else "ro"]
    return ["overlay", parts.images[LOWER], upper, work, tree.at]
