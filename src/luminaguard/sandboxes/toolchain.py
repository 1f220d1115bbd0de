"""What of this machine a program inside may run: the folders of PATH and what they lead to, never the home itself.

A folder of PATH is shown where it lies, at the same path. Where it is the `bin` of an installation (a virtual
environment, a Python of pyenv, a Node of nvm), the whole installation is. Links are followed hop by hop, because every
hop must exist inside. What holds a person's files or keys is never shown, whatever PATH says.
"""

import functools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from luminaguard.host.inside import HOME

SYSTEM = tuple(map(Path, ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt")))
STORES = (Path("/nix/store"), Path("/gnu/store"))
NEVER = tuple(map(Path, ("/proc", "/sys", "/dev", "/mnt", "/media", "/boot", "/etc", "/run/user")))
"""Folders that no program is taken from; /mnt holds the Windows drives under WSL."""
PRIVATE = (
    ".ssh",
    ".aws",
    ".azure",
    ".config",
    ".docker",
    ".gnupg",
    ".kube",
    ".mozilla",
    ".netrc",
    ".password-store",
    ".local/share/keyrings",
    "Documents",
    "Library",
)
SIGNS = ("lib", "lib64", "libexec", "share", "pyvenv.cfg")
PARTS = ("bin", "lib", "lib64", "libexec", "share", "include", "pyvenv.cfg")
TOLD = ("RUSTUP_HOME", "PYENV_ROOT", "JAVA_HOME", "GOROOT", "VIRTUAL_ENV")
HOPS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A folder or file to show read-only at `at`; `source` is where it really lies."""

    source: Path
    at: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """What to show besides the system's folders, parents first; the PATH inside; variables that name what is shown."""

    shown: tuple[Shown, ...]
    path: tuple[Path, ...]
    env: Mapping[str, str]


def toolchain_of(env: Mapping[str, str], *, system: tuple[Path, ...] = (*SYSTEM, *STORES)) -> Toolchain:
    """Find what the PATH of `env` leads to.

    Args:
        env: PATH and HOME are read, and the variables of `TOLD`.
        system: folders that are shown anyway.
    """
    home = Path(env.get("HOME") or "/nonexistent")
    search = _Search(home=Path(os.path.normpath(home)), real_home=_real(home), system=system)
    path = tuple(dict.fromkeys(folder for folder in map(Path, _entries(env)) if search.show_folder(folder, env)))
    told = {name: env[name] for name in TOLD if env.get(name) and search.has(Path(env[name]))}
    rustup = Path(env.get("RUSTUP_HOME") or home / ".rustup")
    if any((folder / "rustup").exists() for folder in path) and search.show(rustup):
        told["RUSTUP_HOME"] = str(rustup)
    pyenv = next((folder.parent for folder in path if folder.name == "shims" and search.has(folder.parent)), None)
    if pyenv is not None and (pyenv / "versions").is_dir():
        told.setdefault("PYENV_ROOT", str(pyenv))
    return Toolchain(shown=tuple(_mounts(search.shown)), path=path, env=told)


def env_inside(toolchain: Toolchain) -> dict[str, str]:
    """Give the variables that every program behind walls has."""
    path = [str(folder) for folder in toolchain.path]
    return {
        **toolchain.env,
        "PATH": os.pathsep.join(dict.fromkeys([*path, "/usr/local/bin", "/usr/bin", "/bin"])),
        "HOME": str(HOME),
        "USER": "agent",
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",  # noqa: S108 inside
    }


@functools.cache
def own_toolchain() -> Toolchain:
    """Find the toolchain of this process, once."""
    return toolchain_of(os.environ)


def _mounts(shown: Mapping[Path, Path]) -> Iterator[Shown]:
    """Leave out what the mount around it shows at the same place: each mount costs at every start."""
    kept: dict[Path, Path] = {}
    for at, source in sorted(shown.items()):
        around = next((folder for folder in at.parents if folder in kept), None)
        if around is None or kept[around] / at.relative_to(around) != source:
            kept[at] = source
            yield Shown(source=source, at=at)


def _entries(env: Mapping[str, str]) -> Iterator[str]:
    # A relative entry of PATH would be looked up in the agent's tree.
    return (os.path.normpath(entry) for entry in env.get("PATH", "").split(os.pathsep) if entry.startswith("/"))


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


@dataclass(slots=True, kw_only=True)
class _Search:
    home: Path
    real_home: Path
    system: tuple[Path, ...]
    shown: dict[Path, Path] = field(default_factory=dict)

    def has(self, path: Path) -> bool:
        """Tell whether a path is there inside."""
        path = Path(os.path.normpath(path))
        return any(path.is_relative_to(root) for root in (*self.system, *self.shown))

    def may(self, path: Path) -> bool:
        """Tell whether a path may be shown: neither it nor where it leads holds or lies in what is private."""
        homes = {self.home, self.real_home}
        private = [home / name for home in homes for name in PRIVATE]
        for seen in (path, _real(path)):
            if any(home.is_relative_to(seen) for home in homes) or len(seen.parts) < 2:
                return False
            if any(seen.is_relative_to(folder) or folder.is_relative_to(seen) for folder in private):
                return False
            if any(seen.is_relative_to(folder) for folder in NEVER):
                return False
        return True

    def show(self, path: Path) -> bool:
        """Show a folder or file where it may be; False where it may not or is not there."""
        if self.has(path):
            return path.exists()
        if not self.may(path) or not os.access(path, os.R_OK):
            return False
        self.shown[path] = _real(path)
        return True

    def show_folder(self, folder: Path, env: Mapping[str, str]) -> bool:
        """Show a folder of PATH, the installation that it belongs to, and what its links lead to."""
        if not folder.is_dir() or not os.access(folder, os.R_OK | os.X_OK):
            return False
        if self.has(folder) and any(folder.is_relative_to(root) for root in self.system):
            return True
        if folder.name == "shims":
            self.show(Path(env.get("PYENV_ROOT", folder.parent)) if self._is_pyenv(folder, env) else folder.parent)
        self._show_installation(folder)
        if not self.show(folder):
            return False
        self._follow_links(folder)
        return True

    def _is_pyenv(self, shims: Path, env: Mapping[str, str]) -> bool:
        return bool(env.get("PYENV_ROOT")) and shims.parent == Path(os.path.normpath(env["PYENV_ROOT"]))

    def _show_installation(self, folder: Path) -> None:
        root = folder.parent
        kept_small = {home / name for home in (self.home, self.real_home) for name in (".local", ".cargo", "")}
        if folder.name not in ("bin", "sbin") or root in kept_small or _real(root) in kept_small:
            return
        if not any((root / sign).exists() for sign in SIGNS):
            return
        if not (root / ".git").exists():
            self.show(root)
            return
        for part in PARTS:  # a project with a bin of its own: not its history, not what lies beside
            if (root / part).exists():
                self.show(root / part)

    def _follow_links(self, folder: Path) -> None:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            return
        for entry in entries:
            if entry.is_symlink():
                self._follow(Path(entry.path))

    def _follow(self, link: Path) -> None:
        for _ in range(HOPS):
            if not link.is_symlink():
                return
            link = Path(os.path.normpath(link.parent / link.readlink()))
            if not link.exists():
                return
            if self.has(link):
                continue
            self._show_installation(link.parent)
            if not self.has(link):
                self.show(link)
            if link.parent.name == "bin" and self.has(link.parent):
                self._follow_links(link.parent)
