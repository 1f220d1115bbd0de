"""What Apple's guests are told to be: plain data, built the same on every system."""

import plistlib
from dataclasses import replace
from pathlib import Path

import pytest

from luminaguard.model.faults import UserFault
from luminaguard.vm import apple_helper
from luminaguard.vm.apple_config import Files, codesign_command, entitlements, helper_spec, vfkit_command
from luminaguard.vm.base import Channel, Disk, Forward, VmConfig

CONFIG = VmConfig(
    root=Path("/images/root"),
    memory_mib=512,
    vcpus=2,
    disks=(Disk(path=Path("/disk"), writable=True),),
    channels=(Channel(name="gateway", socket=Path("/run/gateway")),),
)
FILES = Files(
    kernel=Path("/boot/Image"),
    initrd=Path("/boot/initrd"),
    agent_socket=Path("/run/agent.sock"),
    mux_socket=Path("/run/mux.sock"),
    disks={"root": Path("/images/root"), "disk0": Path("/disk")},
)


def devices_of(command: tuple[str, ...]) -> list[str]:
    return [command[number + 1] for number, word in enumerate(command) if word == "--device"]


def test_vfkit_gets_one_device_for_each_thing_and_no_network() -> None:
    assert devices_of(vfkit_command(Path("/v/vfkit"), CONFIG, FILES)) == [
        "virtio-rng",
        "virtio-blk,path=/images/root",
        "virtio-blk,path=/disk",
        "virtio-vsock,port=5000,socketURL=/run/agent.sock,connect",
        "virtio-vsock,port=5001,socketURL=/run/gateway,listen",
    ]


def test_vfkit_gets_one_more_port_for_a_guest_with_forwards() -> None:
    config = replace(CONFIG, forwards=(Forward(port=8080, socket=Path("/run/gateway")),))
    more = set(devices_of(vfkit_command(Path("/v/vfkit"), config, FILES)))
    less = set(devices_of(vfkit_command(Path("/v/vfkit"), CONFIG, FILES)))
    assert more - less == {"virtio-vsock,port=4999,socketURL=/run/mux.sock,connect"}


def test_vfkit_gets_its_machine_its_kernel_and_no_control_port() -> None:
    command = vfkit_command(Path("/v/vfkit"), CONFIG, FILES)
    assert command[:7] == ("/v/vfkit", "--cpus", "2", "--memory", "512", "--restful-uri", "none://")
    boot = command[command.index("--bootloader") + 1]
    assert boot.startswith("linux,kernel=/boot/Image,initrd=/boot/initrd,cmdline=")
    assert "luminaguard.channel=vsock:5000" in boot


@pytest.mark.parametrize("path", ["/a,b", '/a"b'])
def test_a_path_that_vfkits_options_cannot_carry_is_refused(path: str) -> None:
    files = replace(FILES, kernel=Path(path))
    with pytest.raises(UserFault, match="vfkit cannot be told"):
        vfkit_command(Path("/v/vfkit"), CONFIG, files)


def test_the_entitlements_name_the_right_to_start_guests() -> None:
    assert plistlib.loads(entitlements()) == {"com.apple.security.virtualization": True}


def test_a_program_is_signed_without_a_certificate() -> None:
    command = codesign_command(Path("/p"), Path("/e"))
    assert command == ("codesign", "--force", "--sign", "-", "--entitlements", "/e", "/p")


def test_the_root_image_is_read_only_for_the_helper() -> None:
    assert helper_spec(CONFIG, FILES)["disks"] == [
        {"path": "/images/root", "is_read_only": True},
        {"path": "/disk", "is_read_only": False},
    ]


def test_memory_is_told_in_bytes() -> None:
    assert helper_spec(CONFIG, FILES)["memory_bytes"] == 512 * 1024 * 1024


def test_the_helper_is_a_file_beside_the_driver() -> None:
    assert Path(apple_helper.__file__).name == "apple_helper.py"
