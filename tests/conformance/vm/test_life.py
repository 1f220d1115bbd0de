"""How guests of every hypervisor begin and end, and what they share: nothing."""

import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from luminaguard.model.faults import HostFault, UserFault
from luminaguard.vm.base import Channel, Hypervisor, VmConfig, VmInstance

Body = Callable[[VmInstance], Awaitable[None]]
ADDRESSES = (
    "169.254.169.254/80", "1.1.1.1/53", "8.8.8.8/443", "10.0.2.2/22", "10.0.2.3/53", "10.0.0.1/80", "172.17.0.1/80",
    "192.168.0.1/80", "192.168.1.1/443", "100.100.100.200/80", "127.0.0.1/22", "fd00:ec2::254/80", "::1/22",
)  # fmt: skip


def within(driver: Hypervisor, config: VmConfig, body: Body) -> None:
    async def go() -> None:
        vm = await driver.spawn(config)
        try:
            with anyio.fail_after(120):
                await body(vm)
        finally:
            await vm.stop()

    anyio.run(go)


def is_gone(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


def test_a_guest_says_what_it_is(driver: Hypervisor, config: VmConfig) -> None:
    async def body(vm: VmInstance) -> None:
        assert vm.id
        assert not is_gone(vm.pid)
        assert vm.spawn_time_ms > 0
        assert vm.spawned_from in {"boot", "snapshot"}
        assert isinstance(vm.socket_path, Path)

    within(driver, config, body)


def test_stopping_ends_the_process_and_a_second_time_does_nothing(driver: Hypervisor, config: VmConfig) -> None:
    async def body(vm: VmInstance) -> None:
        await vm.stop()
        assert is_gone(vm.pid)
        await vm.stop()
        with pytest.raises(HostFault):
            await vm.exec(["true"])

    within(driver, config, body)


def test_who_waits_for_a_guest_that_is_killed_is_told(driver: Hypervisor, config: VmConfig) -> None:
    async def body(vm: VmInstance) -> None:
        async with vm.start(["sleep", "600"]) as running:
            os.kill(vm.pid, 9)
            with pytest.raises(HostFault, match="gone"):
                async for _ in running:
                    pass

    within(driver, config, body)


def test_a_guest_begins_again_after_one_was_killed(driver: Hypervisor, config: VmConfig) -> None:
    async def killed(vm: VmInstance) -> None:
        await vm.exec(["sh", "-c", "echo left > /tmp/left"])
        os.kill(vm.pid, 9)

    within(driver, config, killed)

    async def body(vm: VmInstance) -> None:
        assert (await vm.exec(["ls", "/tmp"])).out == b""

    within(driver, config, body)


def test_guests_see_nothing_of_each_other(driver: Hypervisor, config: VmConfig) -> None:
    async def go() -> None:
        guests = [await driver.spawn(config) for _ in range(3)]
        try:
            for number, vm in enumerate(guests):
                await vm.exec(["sh", "-c", f"echo {number} > /tmp/mine; echo {number} > /etc/release"])
            said = [(await vm.exec(["cat", "/tmp/mine", "/etc/release"])).out for vm in guests]
            assert said == [b"0\n0\n", b"1\n1\n", b"2\n2\n"]
        finally:
            for vm in guests:
                await vm.stop()

    anyio.run(go)


def test_no_two_guests_draw_the_same_random_bytes(driver: Hypervisor, config: VmConfig) -> None:
    async def go() -> set[bytes]:
        drawn = set()
        for _ in range(4):
            vm = await driver.spawn(config)
            try:
                drawn.add((await vm.exec(["head", "-c", "16", "/dev/urandom"])).out)
            finally:
                await vm.stop()
        return drawn

    assert len(anyio.run(go)) == 4


def test_the_clock_of_the_guest_is_right(driver: Hypervisor, config: VmConfig) -> None:
    async def body(vm: VmInstance) -> None:
        before = time.time()
        said = float((await vm.exec(["date", "+%s.%N"])).out)
        assert before - 0.1 <= said <= time.time() + 0.1

    within(driver, config, body)


def test_the_second_guest_of_a_configuration_is_restored(driver: Hypervisor, config: VmConfig) -> None:
    async def go() -> None:
        if not (await driver.abilities()).snapshot:
            pytest.skip("this driver has no snapshots here")
        came = []
        for _ in range(2):
            vm = await driver.spawn(config)
            came.append(vm.spawned_from)
            await vm.stop()
        assert came[1] == "snapshot"

    anyio.run(go)


def test_the_guest_has_no_network_device(driver: Hypervisor, config: VmConfig) -> None:
    async def body(vm: VmInstance) -> None:
        # One with a "device" is hardware; the kernel's own dummy0 leads nowhere.
        found = await vm.exec(["sh", "-c", "ls -d /sys/class/net/lo; ls -d /sys/class/net/*/device"])
        assert found.out == b"/sys/class/net/lo\n"

    within(driver, config, body)


def test_the_guest_reaches_no_address(driver: Hypervisor, config: VmConfig) -> None:
    async def body(vm: VmInstance) -> None:
        for address in ADDRESSES:
            reached = await vm.exec(["bash", "-c", f"echo x > /dev/tcp/{address}"])
            assert reached.exit_code != 0, address
            assert b"unreachable" in reached.err or b"refused" in reached.err or b"assign" in reached.err, reached.err

    within(driver, config, body)


def test_a_channel_is_a_stream_to_a_socket_here(driver: Hypervisor, root_image: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        config = VmConfig(root=root_image, channels=(Channel(name="side", socket=tmp_path / "s"),), boot_timeout_s=120)

        async def body(vm: VmInstance) -> None:
            script = "exec 3<>/dev/virtio-ports/side; echo from inside >&3; head -c 6 <&3"
            async with vm.start(["bash", "-c", script]) as running:
                peer, _ = await anyio.to_thread.run_sync(listener.accept)
                with peer:
                    peer.settimeout(60)
                    assert await anyio.to_thread.run_sync(peer.recv, 100) == b"from inside\n"
                    peer.sendall(b"answer")
                    assert b"".join([chunk.data async for chunk in running]) == b"answer"

        within(driver, config, body)


def test_a_channel_where_nobody_listens_is_refused(driver: Hypervisor, root_image: Path, tmp_path: Path) -> None:
    config = VmConfig(root=root_image, channels=(Channel(name="side", socket=tmp_path / "no"),), boot_timeout_s=120)
    with pytest.raises(UserFault, match="nobody listens"):
        anyio.run(driver.spawn, config)


@pytest.mark.parametrize("wrong", [{"memory_mib": 1}, {"vcpus": 0}, {"kernel": Path("/no/kernel")}])
def test_a_configuration_that_cannot_be_is_refused(driver: Hypervisor, wrong: dict[str, object]) -> None:
    with pytest.raises(UserFault):
        anyio.run(driver.spawn, VmConfig(**wrong))  # type: ignore[arg-type]


def test_two_processors_and_more_memory_are_given(driver: Hypervisor, root_image: Path) -> None:
    config = VmConfig(root=root_image, vcpus=2, memory_mib=384, boot_timeout_s=120)

    async def body(vm: VmInstance) -> None:
        said = (await vm.exec(["cat", "/proc/cpuinfo", "/proc/meminfo"])).out.decode()
        assert said.count("processor\t") == 2
        assert int(said.split("MemTotal:")[1].split()[0]) > 300_000

    within(driver, config, body)


def test_a_guest_without_a_root_has_only_its_agent(driver: Hypervisor, vm_cache: Path) -> None:
    async def body(vm: VmInstance) -> None:
        assert (await vm.exec(["sh"])).exit_code == 127

    within(driver, VmConfig(boot_timeout_s=120), body)
