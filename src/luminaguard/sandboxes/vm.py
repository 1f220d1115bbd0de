"""Walls of a virtual machine: each program has a guest of its own, with a kernel of its own, that ends with it.

Inside there are the tree, a read-only image of the toolchain, scratch space in memory, and no network device. What was
written lies on a disk that only guests ever read. The program is user 1000 and cannot become another.

What runs is `luminaguard.vm.enclosed`, on this machine, under the shim; it dies with the shim, and the guest with it.
"""

import contextlib
import functools
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from luminaguard.host.detached import Command
from luminaguard.host.inside import AGENT_ID, HOME, HOST_NAME
from luminaguard.host.limits import MIB, Limits
from luminaguard.host.process import run_blocking
from luminaguard.model.faults import Fault, HostFault
from luminaguard.model.ids import Json
from luminaguard.model.isolation import Isolation
from luminaguard.sandboxes.base import GATEWAY_PORT, Mount, Overlay, Walls
from luminaguard.sandboxes.toolchain import STORES, SYSTEM, Toolchain, env_inside, toolchain_of

RUNNER = ("-I", "-m", "luminaguard.vm.enclosed")
LOOKER = ("-I", "-m", "luminaguard.vm.enclosed_ground")
OWN = "IN_"
"""Before each variable of the program's, so that none of them means anything to the runner."""
PASSED = ("HOME", "PATH", "XDG_CACHE_HOME", "TMPDIR")
OVERHEAD_BYTES = 768 * MIB
"""What the hypervisor itself and the runner need besides the guest's memory."""
LEAST_MIB = 128
MADE = "image"
SLOW = "guest code would be emulated, ten times slower: it is taken by who asks for it by name"
FILE_BYTES = 1 << 46
LOOK_WITHIN_S = 120.0
BUILD_WITHIN_S = 3600.0
OPTIONAL = Path("/opt")
"""Of this only what PATH leads to is shown: it holds what is large and seldom needed."""
WAY_OUT = "`luminaguard vm probe` says what is missing; or set isolation = 'auto'"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Driver:
    """A driver that works here, by the name that the runner knows it by."""

    name: str


class MicroVm:
    """The isolation level with a kernel of its own."""

    level = Isolation.VM

    def __init__(
        self,
        state: Path,
        *,
        drivers: Mapping[str, str],
        image: str | None = None,
        memory_bytes: int = 2048 * MIB,
    ) -> None:
        """Take a folder of ours, the hypervisors to choose from, and how much memory a guest has at most.

        `drivers` gives the class of each as `module:class`: they run in processes of their own. `image` is the name or
        the path of a root image; None makes one of this machine's programs.
        """
        self._keep = state / "vm"
        self._drivers: dict[str, Json] = dict(drivers)
        self._chosen = image
        self._memory_bytes = memory_bytes

    def missing(self) -> str | None:
        """Say why no guest can be started here, by having started one."""
        found = self._looked
        return found if isinstance(found, str) else None

    def overlay_missing(self) -> str | None:
        """Say the same: every guest can lay one tree over another."""
        return self.missing()

    def unasked_missing(self) -> str | None:
        """Say why it is taken only by who asks for it by name, or None."""
        if sys.platform == "linux" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
            return f"{SLOW} (there is no /dev/kvm that this user may open)"
        return self._slow or self.missing()

    @functools.cached_property
    def _slow(self) -> str | None:
        """Ask without starting a guest, which takes a while where it is emulated."""
        try:
            told = _asked({"drivers": self._drivers, "hardware": True}, within_s=LOOK_WITHIN_S)
        except Fault as fault:
            return fault.message
        if told["missing"] is not None:
            return str(told["missing"])
        return f"{SLOW} ({told['slow']})" if told["slow"] else None

    def seen_at(self, mount: Mount) -> Path:
        """Tell where a mount is inside."""
        return mount.at

    def enclose(self, argv: Sequence[str], walls: Walls) -> Command:
        """Give the runner's command line for `argv`. What is written to mounts other than the tree stays inside."""
        if isinstance(found := self._looked, str):
            raise HostFault(f"the sandbox 'vm' does not work here: {found}", hint=WAY_OUT)
        memory = min(walls.limits.memory_bytes, self._memory_bytes)
        spec: dict[str, Json] = {
            "driver": found.name,
            "image": self.image(),
            "tree": _tree(walls.tree),
            "mounts": [_mount(mount) for mount in walls.mounts],
            "memory_mib": max(memory // MIB, LEAST_MIB),
            **_bounds(walls.limits),
            "gateway": str(walls.gateway) if walls.gateway else None,
            "gateway_port": GATEWAY_PORT,
            "keep": str(self._keep),
            "uid": AGENT_ID,
            "home": str(HOME),
            "host_name": HOST_NAME,
        }
        env = {**env_inside(self._toolchain), **walls.env}
        return Command(
            argv=(sys.executable, *RUNNER, json.dumps(spec), *argv),
            env={**_own_env(), **{f"{OWN}{name}": value for name, value in env.items()}},
            cwd=Path("/"),
            limits=replace(
                walls.limits,
                memory_bytes=memory + OVERHEAD_BYTES,
                processes=max(walls.limits.processes, 256),
                file_bytes=FILE_BYTES,
            ),
            die_with_parent=True,
            tells_cause=True,
        )

    @functools.cached_property
    def _looked(self) -> _Driver | str:
        """Start a guest; give the driver that it ran under, or why there is none."""
        try:
            told = _asked({"drivers": self._drivers, "look": True}, within_s=LOOK_WITHIN_S)
        except Fault as fault:
            return fault.message
        if told["missing"] is not None:
            return str(told["missing"])
        return _Driver(name=str(told["driver"]))

    @functools.cached_property
    def _toolchain(self) -> Toolchain:
        return toolchain_of(os.environ, system=(*_system(), *STORES))

    @property
    def has_own_image(self) -> bool:
        """Whether the root image is one that was named, not the programs of this machine."""
        return self._chosen is not None

    def image(self) -> str:
        """Give the path of the root image; made at the first call, and anew when this machine's programs have changed.

        Raises:
            HostFault: it cannot be made, the disk is short, or there is none of the chosen name.
        """
        return self._image

    def image_missing(self) -> str | None:
        """Say that the image has to be made first, and takes its time; None where it is there.

        Raises:
            HostFault: there is none of the chosen name.
        """
        if self._chosen is not None:
            self.image()
        elif not self._was_made:
            return "the image of this machine's programs is made before the first guest: once, in some minutes"
        return None

    @property
    def _was_made(self) -> bool:
        with contextlib.suppress(OSError):
            return Path((self._keep / MADE).read_text(encoding="utf-8")).exists()
        return False

    @functools.cached_property
    def _image(self) -> str:
        path = str(_asked(self._wanted(), within_s=BUILD_WITHIN_S)["path"])
        if self._chosen is None:
            self._keep.mkdir(parents=True, exist_ok=True)
            (self._keep / MADE).write_text(path, encoding="utf-8")
        return path

    def _wanted(self) -> dict[str, Json]:
        if self._chosen is not None:
            return {"image": self._chosen}
        shown = [shown.at for shown in self._toolchain.shown]
        linked = linked_from(self._toolchain.path, top=OPTIONAL)
        folders: list[Json] = [str(folder) for folder in dict.fromkeys([*shown, *linked])]
        return {"folders": folders, "system": [*map(str, _system())]}


def linked_from(path: Sequence[Path], *, top: Path) -> tuple[Path, ...]:
    """Give the folders right below `top` that links in the folders of PATH lead into."""
    found: set[Path] = set()
    for folder in path:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            real = [Path(os.path.realpath(entry.path)) for entry in entries if entry.is_symlink()]
            found |= {top / one.relative_to(top).parts[0] for one in real if top in one.parents}
    return tuple(sorted(found))


def _system() -> tuple[Path, ...]:
    return tuple(folder for folder in SYSTEM if folder != OPTIONAL)


def _own_env() -> dict[str, str]:
    return {name: os.environ[name] for name in PASSED if name in os.environ}


def _asked(question: Mapping[str, Json], *, within_s: float) -> dict[str, Json]:
    """Ask the hypervisor layer, which is a process of its own.

    Raises:
        HostFault: it could not answer; UserFault: the question was wrong.
    """
    ran = run_blocking((sys.executable, *LOOKER), None, _own_env(), json.dumps(question).encode(), within_s)
    try:
        told: dict[str, Json] = json.loads(ran.out)
    except ValueError:
        words = ran.err.decode(errors="replace").strip().splitlines()
        raise HostFault(f"no guest can be made: {words[-1] if words else ran.exit_code}", hint=WAY_OUT) from None
    if (fault := told.get("fault")) is not None:
        raise HostFault(str(fault), hint=str(told.get("hint") or WAY_OUT))
    return told


def _tree(tree: Overlay | Mount) -> dict[str, Json]:
    if isinstance(tree, Mount):
        return {"at": str(tree.at), "upper": str(tree.source), "lower": None, "work": None, "writable": tree.writable}
    return {
        "at": str(tree.at),
        "upper": str(tree.upper),
        "lower": str(tree.lower),
        "work": str(tree.work),
        "writable": True,
    }


def _mount(mount: Mount) -> dict[str, Json]:
    return {"source": str(mount.source), "at": str(mount.at), "writable": mount.writable}


def _bounds(limits: Limits) -> dict[str, Json]:
    return {
        "processes": limits.processes,
        "file_bytes": limits.file_bytes,
        "tmp_bytes": limits.tmp_bytes,
        "disk_bytes": limits.disk_bytes,
    }
