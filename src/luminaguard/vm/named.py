"""Snapshots with a name, that a later process finds: a folder for each, with the guest's files and a record."""

import contextlib
import json
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from luminaguard.model.faults import Fault, HostFault, UserFault
from luminaguard.model.ids import Json
from luminaguard.vm.base import Snapshot, Snapshotting, VmConfig, VmInstance
from luminaguard.vm.config_json import config_json, config_of
from luminaguard.vm.places import cache_folder

VERSION = 1
RECORD = "snapshot.json"
MAKING = ".making-"
NAMES = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
OLD_S = 3600.0


class Storing(Snapshotting, Protocol):
    """A hypervisor whose snapshots can be put away and begun from by another process."""

    async def store(self, snapshot: Snapshot, folder: Path) -> Mapping[str, str]:
        """Move a snapshot to `folder`, which is empty. Gives what has to be the same when it is recalled, by name."""

    async def recall(self, folder: Path, config: VmConfig, were: Mapping[str, str]) -> Snapshot:
        """Give the snapshot whose files are in `folder`.

        Raises:
            UserFault: something of what it was made with has changed; names it.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A snapshot that was put away. `made`: seconds since the epoch; `bytes`: what it takes on the disk."""

    name: str
    driver: str
    made: float
    bytes: int
    config: VmConfig
    made_with: Mapping[str, str]
    folder: Path


def new_name() -> str:
    """Make up a name."""
    return f"snapshot-{secrets.token_hex(3)}"


def must_be_free(name: str) -> None:
    """Refuse a name that cannot be one, or is taken.

    Raises:
        UserFault: it is.
    """
    if not NAMES.fullmatch(name):
        raise UserFault(f"'{name}' cannot be the name of a snapshot", hint="take letters, digits and . _ -, at most 64")
    if (_home() / name).exists():
        raise UserFault(
            f"there is a snapshot '{name}' already",
            hint=f"take another name, or `luminaguard vm snapshot --remove {name}` first",
        )


async def name_snapshot(driver: Storing, instance: VmInstance, name: str) -> Named:
    """Freeze a guest, and put the snapshot away under a name.

    Raises:
        UserFault: the name cannot be or is taken, or the guest cannot be frozen.
        HostFault: the hypervisor fails, or the disk is full.
    """
    must_be_free(name)
    snapshot = await driver.snapshot(instance)
    folder = Path(tempfile.mkdtemp(dir=_home(), prefix=MAKING))
    try:
        made_with = await driver.store(snapshot, folder)
        record = {
            "version": VERSION,
            "driver": driver.name,
            "made": time.time(),
            "config": config_json(snapshot.config),
            "made_with": dict(made_with),
        }
        (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
        folder.rename(_home() / name)
    except FileExistsError:
        must_be_free(name)
        raise
    except OSError as exc:
        if (_home() / name).exists():
            must_be_free(name)  # two at once
        raise HostFault(f"the snapshot '{name}' cannot be kept: {exc.strerror}", hint="is the disk full?") from exc
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return find(name)


def named_snapshots() -> tuple[Named, ...]:
    """List what was put away, oldest first; what a killed maker left is removed."""
    _tidy()
    found = []
    for folder in _home().iterdir():
        with contextlib.suppress(Fault):
            if not folder.name.startswith("."):
                found.append(find(folder.name))
    return tuple(sorted(found, key=lambda one: (one.made, one.name)))


def find(name: str) -> Named:
    """Find a snapshot by its name.

    Raises:
        UserFault: there is none, or another version of luminaguard made it.
    """
    folder = _home() / name
    if not NAMES.fullmatch(name) or not folder.is_dir():
        raise UserFault(f"there is no snapshot '{name}'", hint="`luminaguard vm snapshot` lists them")
    try:
        said = json.loads((folder / RECORD).read_bytes())
        return _read(name, folder, said)
    except (OSError, ValueError, KeyError, TypeError, UserFault) as exc:
        raise UserFault(
            f"the snapshot '{name}' cannot be read: {exc}",
            hint=f"another version may have made it; `luminaguard vm snapshot --remove {name}`",
        ) from None


def _read(name: str, folder: Path, said: dict[str, Json]) -> Named:
    made_with, made = said["made_with"], said["made"]
    if said["version"] != VERSION or not isinstance(made_with, dict) or not isinstance(made, int | float):
        raise ValueError(f"it is of version {said['version']}, and this is {VERSION}")
    return Named(
        name=name,
        driver=str(said["driver"]),
        made=made,
        bytes=sum(path.stat().st_blocks * 512 for path in folder.iterdir()),
        config=config_of(said["config"]),
        made_with={key: str(value) for key, value in made_with.items()},
        folder=folder,
    )


def remove(name: str) -> None:
    """Remove a snapshot; guests that began from it go on.

    Raises:
        UserFault: there is none of this name.
    """
    folder = _home() / name
    if not NAMES.fullmatch(name) or not folder.is_dir():
        raise UserFault(f"there is no snapshot '{name}'", hint="`luminaguard vm snapshot` lists them")
    gone = _home() / f"{MAKING}{secrets.token_hex(6)}"
    folder.rename(gone)  # at once, whoever looks meanwhile
    shutil.rmtree(gone, ignore_errors=True)


def unlike(made_with: Mapping[str, str], now: Mapping[str, str], *, name: str) -> None:
    """Refuse a snapshot that was made with other things than there are now.

    Raises:
        UserFault: it was; names the first that differs, what it was and what it is.
    """
    for what, was in made_with.items():
        if (is_now := now.get(what, "gone")) != was:
            raise UserFault(
                f"the snapshot '{name}' was made with another {what}: {was}, and now it is {is_now}",
                hint=f"make the snapshot again; `luminaguard vm snapshot --remove {name}` removes this one",
            )


def _home() -> Path:
    return cache_folder("named")


def _tidy() -> None:
    for folder in _home().glob(f"{MAKING}*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_mtime < time.time() - OLD_S:
                shutil.rmtree(folder, ignore_errors=True)
