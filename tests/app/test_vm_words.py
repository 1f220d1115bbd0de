"""A guest as it is typed."""

from pathlib import Path

import pytest

from luminaguard.app.vm_words import Words, config_from, disk_from, filesystem_of, forward_from, variables_from
from luminaguard.model.faults import UserFault
from luminaguard.vm.base import Disk, Forward, VmConfig

MAGICS = {
    "erofs": (1024, b"\xe2\xe1\xf5\xe0"),
    "ext4": (1080, b"\x53\xef"),
    "xfs": (0, b"XFSB"),
    "squashfs": (0, b"hsqs"),
    "btrfs": (65600, b"_BHRfS_M"),
}


def disk_of(kind: str, path: Path) -> Path:
    at, magic = MAGICS[kind]
    path.write_bytes(bytes(at) + magic + bytes(100))
    return path


def test_nothing_typed_is_the_default() -> None:
    assert config_from(Words()) == VmConfig()


def test_what_is_typed_is_taken(tmp_path: Path) -> None:
    image = disk_of("erofs", tmp_path / "root")
    words = Words(image=str(image), memory_mib=64, vcpus=2, env=("A=b", "C="), deadline_s=5.0, movable=True)
    config = config_from(words)
    assert config.root == image
    assert (config.memory_mib, config.vcpus, config.deadline_s, config.movable) == (64, 2, 5.0, True)
    assert config.environment == {"A": "b", "C": ""}


@pytest.mark.parametrize("kind", MAGICS)
def test_the_file_system_is_read_from_the_disk(tmp_path: Path, kind: str) -> None:
    assert filesystem_of(disk_of(kind, tmp_path / "disk")) == kind


def test_a_disk_is_read_only_and_unmounted_unless_it_says_so(tmp_path: Path) -> None:
    path = disk_of("ext4", tmp_path / "a disk")
    assert disk_from(str(path)) == Disk(path=path)
    assert disk_from(f"{path}:rw") == Disk(path=path, writable=True)
    assert disk_from(f"{path}@/data") == Disk(path=path, mount_at="/data", filesystem="ext4")
    assert disk_from(f"{path}:rw@/data") == Disk(path=path, writable=True, mount_at="/data", filesystem="ext4")


def test_a_disk_without_a_file_system_is_not_mounted(tmp_path: Path) -> None:
    path = tmp_path / "raw"
    path.write_bytes(bytes(4096))
    assert disk_from(f"{path}:rw").mount_at is None
    with pytest.raises(UserFault, match="no file system"):
        disk_from(f"{path}@/data")


def test_a_forward_is_a_port_and_a_socket(tmp_path: Path) -> None:
    assert forward_from(f"80={tmp_path}/s=1") == Forward(port=80, socket=tmp_path / "s=1")


@pytest.mark.parametrize("text", ["", "80", "80=", "=s", "0=s", "65536=s", "-1=s", "x=s", "²=s"])
def test_what_is_no_forward_is_refused(text: str) -> None:
    with pytest.raises(UserFault, match=r"cannot be read"):
        forward_from(text)


@pytest.mark.parametrize("text", ["", "A", "=b"])
def test_what_is_no_variable_is_refused(text: str) -> None:
    with pytest.raises(UserFault, match=r"cannot be read"):
        variables_from([text])
