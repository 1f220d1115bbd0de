"""What `luminaguard vm` prints of guests, and the options that say what a guest is."""

import argparse
import time
from pathlib import Path

from luminaguard.app.vm_words import FORMS, Words
from luminaguard.app.vms import Begun
from luminaguard.model.ids import Json
from luminaguard.ui.cli.printing import Printer

DRIVER = "auto|qemu|firecracker|apple"


def add_guest_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what a guest is."""
    group = parser.add_argument_group("what the guest is")
    group.add_argument("--image", metavar="NAME|ID|PATH", help="its root, read-only, with a writable layer in memory")
    group.add_argument("--kernel", type=Path, metavar="PATH", help="another kernel than the pinned one")
    group.add_argument("--memory", type=int, metavar="MIB", help="its memory (256)")
    group.add_argument("--vcpus", type=int, metavar="N", help="its processors (1)")
    group.add_argument("--disk", action="append", default=[], metavar=FORMS["disk"], help="a file as a disk of it")
    group.add_argument("--env", action="append", default=[], metavar=FORMS["env"], help="a variable of all programs")
    group.add_argument(
        "--forward", action="append", default=[], metavar=FORMS["forward"], help="its port 127.0.0.1:PORT leads here"
    )
    group.add_argument("--deadline", type=float, metavar="S", help="it is killed after this many seconds (3600)")
    group.add_argument(
        "--movable", action="store_true", help="memory that moves in a millisecond, shared with no other"
    )
    group.add_argument("--driver", default="auto", metavar=DRIVER, help="what runs it (auto)")


def words_of(options: argparse.Namespace) -> Words:
    """Take the options of `add_guest_options`."""
    return Words(
        image=options.image,
        kernel=options.kernel,
        memory_mib=options.memory,
        vcpus=options.vcpus,
        disks=options.disk,
        env=options.env,
        forwards=options.forward,
        deadline_s=options.deadline,
        movable=options.movable,
    )


def print_guest(printer: Printer, about: Begun) -> None:
    """Print a guest that was begun, on one line or as a document."""
    if printer.is_json:
        printer.document({"schema": "luminaguard/vm-guest@1", **guest_json(about)})
        return
    printer.line(f"{about.id}  pid {about.pid}  from {about.spawned_from}  {about.spawn_time_ms:.0f} ms")


def guest_json(about: Begun) -> dict[str, Json]:
    """Give what a program wants to know of a guest."""
    return {
        "id": about.id,
        "pid": about.pid,
        "keeper": about.keeper,
        "driver": about.driver,
        "from": about.spawned_from,
        "spawn_time_ms": round(about.spawn_time_ms, 3),
        "until": iso(about.until),
    }


def iso(seconds: float) -> str:
    """Write a time as UTC ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def span(seconds: float) -> str:
    """Write how long something lasts, in its two largest units."""
    whole = max(0, round(seconds))
    for unit, size, less, smaller in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller} {less}"
    return f"{whole} s"


def size(count: int) -> str:
    """Write a number of bytes."""
    return f"{count / (1 << 30):.2f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.1f} MiB"
