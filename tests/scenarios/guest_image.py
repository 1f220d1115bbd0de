"""A small root image for guests: git, make, a shell, the core utilities and Python, at the same paths as here."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from luminaguard.host.inside import WRITTEN
from luminaguard.sandboxes.vm import MicroVm
from luminaguard.vm.images import build_from_folder

PROGRAMS = (
    "awk", "base64", "bash", "cat", "chmod", "cmp", "comm", "cp", "cut", "date", "dd", "diff", "dirname", "env", "expr",
    "false", "find", "git", "grep", "head", "hostname", "id", "kill", "ln", "ls", "make", "mkdir", "mkfifo", "mknod",
    "mktemp", "mount", "mv", "nohup", "od", "ps", "pwd", "python3", "readlink", "rm", "rmdir", "sed", "seq", "setsid",
    "sh", "sha256sum", "sleep", "sort", "stat", "sync", "tail", "tar", "tee", "test", "timeout", "touch", "tr", "true",
    "truncate", "uname", "unshare", "wc", "which", "xargs", "yes", "basename", "dmesg", "umount", "df", "du", "ip",
)  # fmt: skip
"""What the scripts of the tests call; one that is not here is not there either."""
LINKS = ("bin", "lib", "lib64", "sbin")
EMPTY = ("dev", "home", "mnt", "proc", "root", "run", "sys", "tmp", "var/tmp", "usr/local/bin")
SYSTEM = os.pathsep.join(("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"))
UNNEEDED = shutil.ignore_patterns(
    "site-packages", "dist-packages", "test", "idlelib", "tkinter", "config-3*", "ensurepip"
)


def small_image(cache: Path) -> Path:
    """Make the image."""
    root = cache / "small-root"
    for name in EMPTY:
        (root / name).mkdir(parents=True)
    for name in LINKS:
        _copy_link(Path("/", name), root)
    for program in filter(None, (shutil.which(name, path=SYSTEM) for name in PROGRAMS)):
        _copy_program(Path(program), root)
    git = Path(subprocess.run(("git", "--exec-path"), capture_output=True, text=True, check=True).stdout.strip())
    shutil.copytree(git, _in(root, git), symlinks=True, dirs_exist_ok=True)
    for python in {_installation("/usr/bin/python3"), _installation(sys.executable)}:
        _copy_python(python, root)
    (root / "etc").mkdir()
    for name, text in WRITTEN.items():
        (root / "etc" / name).write_text(text, encoding="utf-8")
    return build_from_folder(root, cache=cache).path


def guests_of(state: Path, image: Path) -> MicroVm:
    """Give the sandbox whose guests have it for a root."""
    return MicroVm(state, drivers={"qemu": "luminaguard.vm.qemu:Qemu"}, image=str(image))


def _in(root: Path, path: Path) -> Path:
    return root / str(path).lstrip("/")


def _copy_link(link: Path, root: Path) -> None:
    if link.is_symlink():
        _in(root, link).symlink_to(link.readlink())
    elif link.is_dir():
        _in(root, link).mkdir(exist_ok=True)


def _copy_program(program: Path, root: Path) -> None:
    at = _in(root, program)
    at.parent.mkdir(parents=True, exist_ok=True)
    if not at.exists():
        shutil.copy(program.resolve(), at)
    for library in _libraries(program.resolve()):
        _copy_library(library, root)


def _copy_library(library: Path, root: Path) -> None:
    at = _in(root, library.parent.resolve() / library.name)
    at.parent.mkdir(parents=True, exist_ok=True)
    if not at.exists():
        shutil.copy(library.resolve(), at)


def _libraries(program: Path) -> Iterator[Path]:
    said = subprocess.run(("ldd", str(program)), capture_output=True, text=True, check=False).stdout
    yield from (Path(word) for word in said.split() if word.startswith("/"))


def _installation(python: str) -> tuple[Path, str]:
    """Give where a Python lies, and how its programs and folders are called."""
    ask = "import sys; print(sys.base_prefix, 'python%d.%d' % sys.version_info[:2])"
    prefix, name = subprocess.run((python, "-c", ask), capture_output=True, text=True, check=True).stdout.split()
    return Path(prefix), name


def _copy_python(python: tuple[Path, str], root: Path) -> None:
    prefix, name = python
    _copy_program(prefix / "bin" / name, root)
    shutil.copytree(prefix / "lib" / name, _in(root, prefix / "lib" / name), symlinks=False, ignore=UNNEEDED)
    for module in (prefix / "lib" / name).glob("lib-dynload/*.so"):
        for library in _libraries(module):
            _copy_library(library, root)
