"""What was found out about QEMU here, kept for the next process: to ask it again takes as long as three new guests."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from luminaguard.vm.jail import bwrap_programs
from luminaguard.vm.kernel import write_whole
from luminaguard.vm.kvm_probe import DEVICE
from luminaguard.vm.places import cache_folder
from luminaguard.vm.qemu_command import Accelerator, AcceleratorName
from luminaguard.vm.qemu_program import Program, find_program, program_name

BOOT = Path("/proc/sys/kernel/random/boot_id")
SWITCHES = (
    Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
    Path("/proc/sys/kernel/unprivileged_userns_clone"),
    Path("/proc/sys/user/max_user_namespaces"),
)
"""What turns bubblewrap on and off."""


def remembered(chosen: Path | None, accelerator: AcceleratorName | None) -> Program:
    """Do as `find_program` does; what it found counts until the next boot, or until what it looked at changes.

    Raises:
        HostFault: as `find_program`; that is not remembered.
    """
    if not BOOT.exists():
        return find_program(chosen, accelerator)
    kept = cache_folder("programs") / f"{_key(chosen, accelerator)}.json"
    if (program := _read(kept)) is not None:
        return program
    program = find_program(chosen, accelerator)
    write_whole(kept, json.dumps(asdict(program), default=str).encode(), mode=0o600)
    return program


def _key(chosen: Path | None, accelerator: AcceleratorName | None) -> str:
    found = shutil.which(program_name(chosen))
    paths = [*([Path(found)] if found else []), *bwrap_programs(), DEVICE]
    said = [BOOT.read_text(encoding="ascii"), os.geteuid(), accelerator, *map(_seen, paths), *_switches()]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:24]


def _seen(path: Path) -> list[str | int]:
    try:
        real = path.resolve()
        about = real.stat()
    except OSError:
        return [str(path)]
    return [str(path), str(real), about.st_size, about.st_mtime_ns, about.st_mode, about.st_uid, about.st_gid]


def _switches() -> Iterator[str]:
    for path in SWITCHES:
        try:
            yield path.read_text(encoding="ascii")
        except OSError:
            yield ""


def _read(kept: Path) -> Program | None:
    try:
        told = json.loads(kept.read_bytes())
        accelerator = told.pop("accelerator")
        return Program(
            **{
                **told,
                "path": Path(told["path"]),
                "bwrap": None if told["bwrap"] is None else Path(told["bwrap"]),
                "version": tuple(told["version"]),
                "accelerator": Accelerator(name=accelerator["name"], version=tuple(accelerator["version"])),
            }
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
