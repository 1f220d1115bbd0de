"""Where a Firecracker process lives: a folder of its own with everything it may open, and a jail around it.

With the jailer that folder is all it can see: its own root, a user without rights, a process limit, and Firecracker's
system-call filter, which it has without a jailer as well.
"""

import contextlib
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from luminaguard.model.faults import HostFault, UserFault
from luminaguard.vm.answering import disks_of, port_of
from luminaguard.vm.base import Channel, VmConfig
from luminaguard.vm.firecracker_api import API_SOCKET, LOG, METRICS, VSOCK_SOCKET

LONGEST_SOCKET_PATH = 107
"""sun_path has 108 bytes, and one of them ends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The programs to run. `jailer` None runs Firecracker without one, as everybody but root must."""

    firecracker: Path
    jailer: Path | None = None
    uid: int = 65534
    gid: int = 65534


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The place of one guest: `base` is removed with it, `root` is where Firecracker looks for its files."""

    id: str
    base: Path
    programs: Programs

    @property
    def root(self) -> Path:
        """The folder that Firecracker runs in."""
        if self.programs.jailer is None:
            return self.base
        # The jailer follows links, and goes by the name at their end.
        return self.base / self.programs.firecracker.resolve().name / self.id / "root"

    @property
    def api_socket(self) -> Path:
        """The control socket."""
        return self.root / API_SOCKET

    @property
    def vsock_socket(self) -> Path:
        """The socket that leads to the guest's ports."""
        return self.root / VSOCK_SOCKET

    def command(self) -> tuple[str, ...]:
        """Give the command line; it is run in `root`."""
        firecracker = str(self.programs.firecracker)
        if self.programs.jailer is None:
            return (firecracker, "--id", self.id, "--api-sock", API_SOCKET)
        version = "2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "1"
        return (
            *(str(self.programs.jailer), "--id", self.id, "--exec-file", firecracker),
            *("--uid", str(self.programs.uid), "--gid", str(self.programs.gid)),
            *("--chroot-base-dir", str(self.base), "--cgroup-version", version),
            *("--resource-limit", "no-file=1024", "--", "--api-sock", API_SOCKET),
        )

    def furnish(self, config: VmConfig, files: Mapping[str, Path]) -> None:
        """Put all that the guest needs into the folder.

        Args:
            config: for its disks and channels.
            files: name in the folder -> a file to read, besides the disks.

        Raises:
            UserFault: a file is not there.
            HostFault: the folder is too deep for a socket.
        """
        longest = max(len(str(self.root / name)) for name in (API_SOCKET, *self._doors(config.channels)))
        if longest > LONGEST_SOCKET_PATH:
            raise HostFault(f"{self.root} is too long a path for sockets", hint="set TMPDIR to a short path")
        self.root.mkdir(parents=True, exist_ok=True)
        for name in (LOG, METRICS):
            (self.root / name).touch()
            self._give(self.root / name)
        for name, source in files.items():
            self._place(source, name, is_writable=False)
        for name, disk in disks_of(config).items():
            self._place(disk.path, name, is_writable=disk.writable)
        for name, channel in self._doors(config.channels).items():
            self._place(channel.socket, name, is_writable=True)

    def _doors(self, channels: tuple[Channel, ...]) -> dict[str, Channel]:
        # Where a guest calls port N of the host, Firecracker connects to the socket <vsock>_N.
        return {f"{VSOCK_SOCKET}_{port_of(number)}": channel for number, channel in enumerate(channels)}

    def _place(self, source: Path, name: str, *, is_writable: bool) -> None:
        place = self.root / name
        try:
            mode = source.stat().st_mode
            if self.programs.jailer is None:
                place.symlink_to(source.resolve())
            elif is_writable:
                # A copy would not do: what is written must reach the file that was named.
                place.hardlink_to(source.resolve())
                self._give(place)
            elif not mode & stat.S_IROTH or not _linked(source.resolve(), place):
                shutil.copyfile(source, place)
                place.chmod(0o444)
        except FileNotFoundError as exc:
            raise UserFault(f"there is no file {source}", hint=f"the guest needs it as its '{name}'") from exc
        except OSError as exc:
            raise HostFault(
                f"{source} cannot be put into the jail {self.root}: {exc.strerror}",
                hint="have it on the same file system as the temporary folder, or do without the jailer",
            ) from exc

    def _give(self, path: Path) -> None:
        if self.programs.jailer is not None:
            os.chown(path, self.programs.uid, self.programs.gid)


def _linked(source: Path, place: Path) -> bool:
    with contextlib.suppress(OSError):
        place.hardlink_to(source)
    return place.exists()
