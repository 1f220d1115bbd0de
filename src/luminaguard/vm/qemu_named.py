"""A QEMU snapshot that outlives the process that made it: its files, and what has to be the same to begin from it."""

from collections.abc import Mapping
from pathlib import Path

from luminaguard.model.faults import HostFault
from luminaguard.vm.agent_binary import agent_binary
from luminaguard.vm.kernel import kernel_for
from luminaguard.vm.qemu_blueprint import Blueprint
from luminaguard.vm.qemu_templates import Template

DIGEST_CHARS = 16


def put_away(template: Template, folder: Path) -> None:
    """Move a template to an empty folder of the same file system.

    The folder is moved as a whole: to move a file changes the time that proves the template sound.

    Raises:
        HostFault: it cannot be moved.
    """
    try:
        template.folder.rename(folder)
    except OSError as exc:
        raise HostFault(f"the snapshot cannot be moved to {folder}: {exc.strerror}", hint="is the disk full?") from exc


def made_with(plan: Blueprint) -> Mapping[str, str]:
    """Give what a guest's memory fits together with, each thing with a name that a person understands."""
    program, config = plan.program, plan.config
    disks = {"root image": config.root} if config.root else {}
    disks |= {f"disk {number}": disk.path for number, disk in enumerate(config.disks, start=1)}
    return {
        "QEMU": f"{program.path} {'.'.join(map(str, program.version))} ({_seen(program.path)})",
        "accelerator": program.accelerator.name,
        "guest kernel": kernel_for(config.kernel).digest[:DIGEST_CHARS],
        "guest agent": agent_binary().name,
        **{name: f"{path} ({_seen(path)})" for name, path in disks.items()},
        "configuration": plan.key,
    }


def _seen(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return "gone"
    return f"{found.st_size} bytes, changed at {found.st_mtime_ns / 1e9:.3f}"
