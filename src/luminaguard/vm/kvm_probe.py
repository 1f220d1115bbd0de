"""Does /dev/kvm run guest code, or does it only say so?

A paravirtual or nested KVM answers every question and even runs OUT and HLT, by emulating them; ordinary code crawls or
fails. So a guest in long mode does what any kernel does (SSE2, a loop), writes to a port and halts. It runs in a child
process: what hangs is killed. Layouts: Linux, Documentation/virt/kvm/api.rst, x86-64.
"""

import ctypes
import fcntl
import mmap
import os
import platform
import struct
import subprocess
import sys
import time
from pathlib import Path

DEVICE = Path("/dev/kvm")
BUDGET_S = 2.0
"""For the child with its interpreter; the guest itself has RUN_MS."""
RUN_MS = 20.0

KVM_CREATE_VM = 0xAE01
KVM_GET_VCPU_MMAP_SIZE = 0xAE04
KVM_CREATE_VCPU = 0xAE41
KVM_SET_TSS_ADDR = 0xAE47
KVM_RUN = 0xAE80
KVM_SET_USER_MEMORY_REGION = 0x4020AE46
KVM_SET_REGS = 0x4090AE82
KVM_GET_SREGS = 0x8138AE83
KVM_SET_SREGS = 0x4138AE84
EXIT_IO, EXIT_HLT = 2, 5
EXIT_NAMES = {0: "UNKNOWN", 1: "EXCEPTION", 6: "MMIO", 8: "SHUTDOWN", 9: "FAIL_ENTRY", 17: "INTERNAL_ERROR"}

MEMORY_BYTES = 4 << 20
CODE_AT, STACK_AT = 0x1000, 0x9000
PAGES_AT = (0x2000, 0x3000, 0x4000)
PORT, MARK = 0x10, 0x44
LOOPS = 200_000
CODE = (
    b"\x0f\x20\xe0\x0d\x00\x06\x00\x00\x0f\x22\xe0"  # cr4 |= OSFXSR | OSXMMEXCPT
    b"\x66\x0f\xef\xc0\x66\x0f\xfe\xc0"  # pxor xmm0, xmm0; paddd xmm0, xmm0
    b"\xb9"
    + struct.pack("<I", LOOPS)  # mov ecx, LOOPS
    + b"\xff\xc9\x75\xfc"  # dec ecx; jnz
    + bytes([0xB0, MARK, 0xE6, PORT, 0xF4])  # mov al, MARK; out PORT, al; hlt
)


def kvm_missing() -> str | None:
    """Say why KVM cannot run guest code here, or None; milliseconds of guest, in a child that is killed if need be."""
    if platform.system() != "Linux" or platform.machine() not in {"x86_64", "AMD64", "aarch64"}:
        return "KVM is a part of Linux"
    if not DEVICE.exists():
        return f"there is no {DEVICE}"
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return f"{DEVICE} may not be opened by this user: add them to the group kvm"
    if platform.machine() == "aarch64":
        return None  # a paravirtual KVM that fakes it is known for x86-64 only
    return _asked_child()


def _asked_child() -> str | None:
    try:
        ran = subprocess.run(
            [sys.executable, "-I", "-S", __file__], capture_output=True, timeout=BUDGET_S, check=False, text=True
        )
    except subprocess.TimeoutExpired:
        return f"{DEVICE} answers, but its guest was still running after {BUDGET_S:g} s"
    if ran.returncode != 0 or not ran.stdout:
        return f"{DEVICE} answers, but a guest cannot be made: {ran.stderr.strip().splitlines()[-1:] or ran.returncode}"
    said = ran.stdout.strip()
    return None if said == "ok" else f"{DEVICE} does not run guest code on the processor: {said}"


def _verdict() -> str:
    started, exits = _run()
    if exits != [f"IO:{PORT:#x}={MARK:#x}", "HLT"]:
        return ", ".join(exits)
    if started > RUN_MS:
        return f"{LOOPS} rounds of a loop took {started:.0f} ms: it is emulated"
    return "ok"


def _run() -> tuple[float, list[str]]:
    """Give the milliseconds that the guest ran, and how it came out, exit by exit."""
    libc = ctypes.CDLL(None, use_errno=True)
    kvm = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    vm = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
    # Intel wants these three pages named; fcntl.ioctl cannot pass a number of this size.
    libc.ioctl(vm, ctypes.c_ulong(KVM_SET_TSS_ADDR), ctypes.c_ulong(0xFFFBD000))
    memory = mmap.mmap(-1, MEMORY_BYTES)
    _lay_out(memory)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(vm, KVM_SET_USER_MEMORY_REGION, struct.pack("<IIQQQ", 0, 0, 0, MEMORY_BYTES, address))
    cpu = fcntl.ioctl(vm, KVM_CREATE_VCPU, 0)
    shared = mmap.mmap(cpu, fcntl.ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE))
    fcntl.ioctl(cpu, KVM_SET_SREGS, _long_mode(fcntl.ioctl(cpu, KVM_GET_SREGS, bytes(312))))
    registers = [0] * 18
    registers[6], registers[16], registers[17] = STACK_AT, CODE_AT, 2  # rsp, rip, rflags
    fcntl.ioctl(cpu, KVM_SET_REGS, struct.pack("<18Q", *registers))
    begin = time.monotonic()
    exits = _exits(libc, cpu, shared)
    return (time.monotonic() - begin) * 1e3, exits


def _lay_out(memory: mmap.mmap) -> None:
    memory[CODE_AT : CODE_AT + len(CODE)] = CODE
    top, middle, low = PAGES_AT
    memory[top : top + 8] = struct.pack("<Q", middle | 3)
    memory[middle : middle + 8] = struct.pack("<Q", low | 3)
    memory[low : low + 16] = struct.pack("<QQ", 0x83, 1 << 21 | 0x83)  # two pages of 2 MiB


def _long_mode(sregs: bytes) -> bytes:
    made = bytearray(sregs)
    for number in range(6):  # cs ds es fs gs ss
        is_code = number == 0
        fields = (0, 0xFFFFFFFF, 8 if is_code else 16, 11 if is_code else 3, 1, 0, not is_code, 1, is_code, 1, 0, 0, 0)
        struct.pack_into("<QIH10B", made, number * 24, *fields)
    control = 8 * 24 + 2 * 16  # behind eight segments and two tables
    _, cr2, _, _, cr8, _, apic = struct.unpack_from("<7Q", made, control)
    cr0, cr4, efer = 0x80000031, 0x220, 0x500  # PG NE ET PE; PAE OSFXSR; LMA LME
    struct.pack_into("<7Q", made, control, cr0, cr2, PAGES_AT[0], cr4, cr8, efer, apic)
    return bytes(made)


def _exits(libc: ctypes.CDLL, cpu: int, shared: mmap.mmap) -> list[str]:
    exits: list[str] = []
    while len(exits) < 8:
        if libc.ioctl(cpu, ctypes.c_ulong(KVM_RUN), 0) < 0:
            return [*exits, f"errno {ctypes.get_errno()}"]
        (reason,) = struct.unpack_from("<I", shared, 8)
        if reason == EXIT_HLT:
            return [*exits, "HLT"]
        if reason != EXIT_IO:
            return [*exits, EXIT_NAMES.get(reason, f"exit {reason}")]
        _, _, port, _, offset = struct.unpack_from("<BBHIQ", shared, 32)
        exits.append(f"IO:{port:#x}={shared[offset]:#x}")
    return exits


if __name__ == "__main__":
    sys.stdout.write(_verdict())
