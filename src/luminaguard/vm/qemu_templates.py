"""Templates: a guest's memory and state in files, from which clones begin in milliseconds, each writing to a copy.

The memory file is mapped by every clone, private to it; pages that nobody changes are there once. QEMU before version 9
must be able to write to the file; so what changed since it was made is noticed, and thrown away: by the time of its
last change, which the kernel alone sets. The time of the last write is the writer's to choose.
"""

import contextlib
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio

from luminaguard.host.locks import try_lock
from luminaguard.model.faults import Transient
from luminaguard.vm.places import cache_folder
from luminaguard.vm.qmp import Qmp

SAVE_WITHIN_S = 120.0
LOOK_EVERY_S = 0.05
KEPT = 12
MAKING = ".making-"
FAST = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A folder with the files `memory` and `state`."""

    folder: Path

    @property
    def memory(self) -> Path:
        """The guest's memory."""
        return self.folder / "memory"

    @property
    def state(self) -> Path:
        """The state of its devices and processors."""
        return self.folder / "state"

    @property
    def is_sound(self) -> bool:
        """Whether it is whole, and nobody has written to it since it was made."""
        try:
            said = json.loads((self.folder / "sound.json").read_bytes())
            return bool(said == _changed(self.folder))
        except (OSError, ValueError):
            return False

    def seal(self) -> None:
        """Say that it is whole and is never written again."""
        self.memory.chmod(0o600)
        self.state.chmod(0o400)
        (self.folder / "sound.json").write_text(json.dumps(_changed(self.folder)), encoding="ascii")


def _changed(folder: Path) -> list[int]:
    return [(folder / name).stat().st_ctime_ns for name in ("memory", "state")]


def template_of(key: str) -> Template | None:
    """Find the template of a guest."""
    template = Template(folder=cache_folder("templates") / key)
    if not template.is_sound:
        return None
    with contextlib.suppress(OSError):
        os.utime(template.folder)
    return template


@contextlib.asynccontextmanager
async def one_at_a_time(key: str, *, within_s: float) -> AsyncIterator[None]:
    """Hold the right to make the template of a guest, against every process of this user.

    Raises:
        Transient: another process holds it for too long.
    """
    until = time.monotonic() + within_s
    path = cache_folder("templates") / f"{key}.lock"
    while (lock := try_lock(path)) is None:
        if time.monotonic() > until:
            raise Transient("another process makes the snapshot of this guest and does not finish")
        await anyio.sleep(LOOK_EVERY_S)
    try:
        yield
    finally:
        os.close(lock)


@contextlib.contextmanager
def new_folder(kind: str) -> Iterator[Path]:
    """Give a folder to make a template in; what is left of it is removed. Call `keep` on it when it is whole."""
    home = cache_folder(kind)
    folder = Path(tempfile.mkdtemp(dir=home, prefix=f"{MAKING}{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep(folder: Path, name: str) -> Template:
    """Give a folder that is whole its name, in place of one that was no longer sound."""
    Template(folder=folder).seal()
    target = folder.parent / name
    if target.exists():
        old = folder.parent / f"{MAKING}{os.getpid()}-{secrets.token_hex(4)}"
        target.rename(old)
        shutil.rmtree(old, ignore_errors=True)
    folder.rename(target)
    return Template(folder=target)


def tidy(kind: str) -> None:
    """Remove what killed makers left, and templates beyond the last used ones."""
    home = cache_folder(kind)
    for folder in home.glob(f"{MAKING}*"):
        pid = folder.name.removeprefix(MAKING).partition("-")[0]
        if not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)
    whole = [folder for folder in home.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
    for folder in sorted(whole, key=lambda one: one.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(folder, ignore_errors=True)


async def save(qmp: Qmp, path: Path, *, with_memory: bool) -> None:
    """Write a guest's state, and its memory where that is in no file of its own; the guest stands still after it.

    Raises:
        HostFault: QEMU refuses or fails.
        Transient: it takes too long.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        await qmp.ask("getfd", {"fdname": "state"}, fd=fd)
    finally:
        os.close(fd)
    await qmp.set_capabilities({"x-ignore-shared": not with_memory, "events": True})
    await qmp.ask("migrate-set-parameters", {"max-bandwidth": FAST})
    # Not stopped before: a guest that was stopped when it was saved is stopped when it is restored.
    await qmp.ask("migrate", {"uri": "fd:state"})
    await qmp.migrated(within_s=SAVE_WITHIN_S)
