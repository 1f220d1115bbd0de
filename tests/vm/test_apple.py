"""The driver for Apple's Virtualization.framework, as far as it can be held to its word without a Mac."""

import json
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketStream

from luminaguard.model.faults import HostFault, UserFault
from luminaguard.vm import apple, apple_helper
from luminaguard.vm.apple import Apple, fitting_kernel, greeted
from luminaguard.vm.apple_config import Files, helper_spec
from luminaguard.vm.base import Channel, Disk, Forward, Hypervisor, VmConfig

IS_MAC = platform.system() == "Darwin"
KERNEL = os.environ.get("LUMINAGUARD_APPLE_KERNEL")


def test_the_driver_is_a_hypervisor() -> None:
    hypervisor: Hypervisor = Apple()
    assert hypervisor.name == "apple"


@pytest.mark.skipif(IS_MAC, reason="it says something else on a Mac")
@pytest.mark.anyio
async def test_other_systems_are_told_what_to_use() -> None:
    assert await Apple().missing() == "Virtualization.framework is a part of macOS (use the driver 'qemu')"
    with pytest.raises(HostFault, match="use the driver 'qemu'"):
        await Apple().spawn(VmConfig())


@pytest.mark.skipif(KERNEL is None, reason="LUMINAGUARD_APPLE_KERNEL names no kernel with virtio over PCI")
@pytest.mark.skipif(not IS_MAC, reason="Virtualization.framework is a part of macOS")
@pytest.mark.anyio
async def test_a_guest_boots_and_gives_back_what_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(b"content")
    driver = Apple(kernel=Path(str(KERNEL)))
    assert await driver.missing() is None
    async with await driver.spawn(VmConfig()) as instance:
        await instance.put(tmp_path / "here", "/tmp/there")
        await instance.get("/tmp/there", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"content"


def test_nothing_of_pyobjc_is_imported_with_the_driver() -> None:
    told = (
        "import sys, luminaguard.vm.apple; print([name for name in ('objc', 'Virtualization') if name in sys.modules])"
    )
    ran = subprocess.run((sys.executable, "-c", told), capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_the_helper_reads_what_the_driver_writes() -> None:
    config = VmConfig(
        root=Path("/root.img"),
        disks=(Disk(path=Path("/disk"), writable=True),),
        channels=(Channel(name="gateway", socket=Path("/gateway")),),
    )
    disks = {"root": Path("/root.img"), "disk0": Path("/disk")}
    files = Files(kernel=Path("/k"), initrd=Path("/i"), agent_socket=Path("/a"), mux_socket=Path("/m"), disks=disks)
    spec = apple_helper.parsed(json.dumps(helper_spec(config, files)))
    assert spec.disks[0] == apple_helper.Drive(path="/root.img", is_read_only=True)
    assert spec.disks[1] == apple_helper.Drive(path="/disk", is_read_only=False)
    assert spec.channels == (apple_helper.Door(port=5001, socket="/gateway"),)
    assert spec.inward == (apple_helper.Door(port=5000, socket="/a"),)
    assert (spec.kernel, spec.cpus) == ("/k", 1)


def test_the_helper_leads_to_the_way_out_of_a_guest_that_has_one() -> None:
    config = VmConfig(forwards=(Forward(port=8080, socket=Path("/gateway")),))
    files = Files(kernel=Path("/k"), initrd=Path("/i"), agent_socket=Path("/a"), mux_socket=Path("/m"), disks={})
    spec = apple_helper.parsed(json.dumps(helper_spec(config, files)))
    assert [(door.port, door.socket) for door in spec.inward] == [(5000, "/a"), (4999, "/m")]


@pytest.mark.skipif(apple_helper.vz is not None, reason="the framework is here")
def test_the_helper_without_the_framework_says_so() -> None:
    ran = subprocess.run((sys.executable, str(apple.HELPER), "{}"), capture_output=True, text=True, check=False)
    assert ran.returncode == apple_helper.EXIT_REFUSED
    assert "not here" in ran.stderr


def test_the_helper_copies_both_ways_and_closes_when_both_have_ended() -> None:
    here, one = socket.socketpair()
    other, there = socket.socketpair()
    apple_helper.copy_both_ways(one, other)
    here.sendall(b"to the guest")
    assert there.recv(64) == b"to the guest"
    here.shutdown(socket.SHUT_WR)
    assert there.recv(64) == b""
    there.sendall(b"and back")
    there.close()
    assert here.recv(64) == b"and back"
    assert here.recv(64) == b""
    here.close()


def test_a_guest_without_a_kernel_is_refused_with_the_reason() -> None:
    with pytest.raises(UserFault, match="virtio over PCI"):
        fitting_kernel(None)


def test_a_kernel_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserFault, match="there is no kernel"):
        fitting_kernel(tmp_path / "gone")


@pytest.fixture
def on_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")


def test_on_arm_an_uncompressed_kernel_fits(on_arm: None, tmp_path: Path) -> None:
    (tmp_path / "Image").write_bytes(bytes(56) + b"ARMd")
    assert fitting_kernel(tmp_path / "Image") == tmp_path / "Image"


def test_on_arm_a_compressed_kernel_is_refused(on_arm: None, tmp_path: Path) -> None:
    (tmp_path / "vmlinuz").write_bytes(b"\x1f\x8b" + bytes(100))
    with pytest.raises(UserFault, match="no uncompressed arm64 Image"):
        fitting_kernel(tmp_path / "vmlinuz")


@pytest.mark.anyio
async def test_a_connection_that_is_closed_again_is_not_taken_for_the_agent(folder: Path) -> None:
    calls = 0

    async def answer(stream: SocketStream) -> None:
        nonlocal calls
        calls += 1
        async with stream:
            if calls == 3:
                await stream.send(b"hello")
                await stream.receive()

    path = folder / "agent.sock"
    async with anyio.create_task_group() as tasks:
        listener = await anyio.create_unix_listener(path)
        tasks.start_soon(listener.serve, answer)
        with anyio.fail_after(60):
            connection = await greeted(path)
        assert connection.recv(5) == b"hello"
        connection.close()
        tasks.cancel_scope.cancel()
    await listener.aclose()
    assert calls == 3
