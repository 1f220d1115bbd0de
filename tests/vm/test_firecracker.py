"""The driver, end to end against a program that holds every request to Firecracker's description, up to the guest."""

import asyncio
import os
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream

from luminaguard.model.faults import HostFault, Transient, UserFault
from luminaguard.vm.answering import channel_variables
from luminaguard.vm.base import (
    Channel,
    Disk,
    Execution,
    Forward,
    Hypervisor,
    Result,
    Snapshotting,
    VmConfig,
    VmInstance,
)
from luminaguard.vm.firecracker import Firecracker, connected, too_old
from luminaguard.vm.firecracker_jail import Home, Programs
from luminaguard.vm.frames import VERSION, Told
from luminaguard.vm.guest_vm import Guest
from luminaguard.vm.running import listed

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Firecracker runs on Linux only"),
]


class EchoGuest:
    """The guest of the stand-in: it gives every byte back. What it is asked is kept."""

    def __init__(self, connection: socket.socket, variables: Mapping[str, str]) -> None:
        self.connection, self.variables, self.asked = connection, variables, list[tuple[str, ...]]()

    async def exec(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        timeout_s: float = 60.0,
    ) -> Result:
        sent = " ".join(argv).encode()
        loop = asyncio.get_running_loop()
        with anyio.fail_after(timeout_s):
            await loop.sock_sendall(self.connection, sent)
            return Result(exit_code=0, out=await loop.sock_recv(self.connection, len(sent)), err=b"")

    def start(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str = "/"
    ) -> AbstractAsyncContextManager[Execution]:
        raise AssertionError("no test asks for it")

    async def put(self, source: Path, target: str) -> None:
        self.asked.append(("put", str(source), target))

    async def get(self, source: str, target: Path) -> None:
        self.asked.append(("get", source, str(target)))

    async def enter_root(self, device: str, filesystem: str) -> None:
        self.asked.append(("root", device, filesystem))

    async def mount(self, device: str, target: str, filesystem: str, *, writable: bool) -> None:
        self.asked.append(("mount", device, target, filesystem, "rw" if writable else "ro"))

    async def refresh(self) -> None:
        self.asked.append(("refresh",))

    async def forward(self, forwards: Sequence[Forward], connect: Callable[[], Awaitable[socket.socket]]) -> None:
        with await connect() as second:
            said = await asyncio.get_running_loop().sock_recv(second, 3)
        self.asked.append(("forward", said.decode(), *(f"{one.port} {one.socket}" for one in forwards)))

    async def aclose(self) -> None:
        self.connection.close()


async def attach(connection: socket.socket, variables: Mapping[str, str]) -> EchoGuest:
    assert await asyncio.get_running_loop().sock_recv(connection, 5) == b"hello"
    return EchoGuest(connection, variables)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("kernel", "initrd", "image", "disk"):
        (folder / name).write_bytes(name.encode())
    return folder


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    program = tmp_path / "firecracker"
    fake = Path(__file__).parent / "fake_firecracker.py"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {fake} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return Programs(firecracker=program)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/luminaguard/vm"


@pytest.fixture
def driver(files: Path, programs: Programs, folder: Path) -> Firecracker:
    return Firecracker(
        attach=attach,
        kernel=lambda chosen: chosen or files / "kernel",
        initrd=lambda: files / "initrd",
        programs=programs,
        folder=folder,
    )


@pytest.fixture
async def vm(driver: Firecracker, files: Path) -> AsyncIterator[VmInstance]:
    config = VmConfig(root=files / "image", disks=(Disk(path=files / "disk", mount_at="/data"),))
    async with await driver.spawn(config) as instance:
        yield instance


def guest_of(instance: VmInstance) -> EchoGuest:
    guest = getattr(instance, "guest", None)
    assert isinstance(guest, EchoGuest)
    return guest


def test_the_driver_is_a_hypervisor_that_takes_snapshots(driver: Firecracker) -> None:
    hypervisor: Hypervisor = driver
    snapshotting: Snapshotting = driver
    assert hypervisor.name == snapshotting.name == "firecracker"


async def test_a_guest_boots_and_answers(vm: VmInstance) -> None:
    assert (await vm.exec(["echo", "x"])).out == b"echo x"
    assert vm.spawned_from == "boot"
    assert vm.spawn_time_ms > 0
    assert vm.socket_path.is_socket()


async def test_a_guest_gets_its_root_and_its_disks_by_number(vm: VmInstance) -> None:
    assert guest_of(vm).asked == [("root", "/dev/vda", "erofs"), ("mount", "/dev/vdb", "/data", "erofs", "ro")]


async def test_a_stopped_guest_leaves_no_process_and_no_file(driver: Firecracker, folder: Path, cache: Path) -> None:
    instance = await driver.spawn(VmConfig())
    assert [(one.id, one.pid, one.hypervisor) for one in listed()] == [(instance.id, instance.pid, "firecracker")]
    await instance.stop()
    await instance.stop()
    assert list(folder.iterdir()) == []
    assert list((cache / "running").iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(instance.pid, 0)


async def test_a_guest_ends_at_its_deadline(driver: Firecracker, folder: Path) -> None:
    instance = await driver.spawn(VmConfig(deadline_s=1.0))
    with anyio.fail_after(60):
        await instance.minded.ended()
    assert list(folder.iterdir()) == []
    await instance.stop()


OWNER = """
import os, signal, sys
import anyio
from pathlib import Path
from luminaguard.vm.minded import start
async def main():
    folder = Path(sys.argv[1])
    folder.mkdir()
    minded = await start(("sleep", "600"), folder=folder, life_s=600, cwd=folder)
    print(minded.pid, minded.minder.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
anyio.run(main)
"""


async def test_what_a_killed_owner_started_ends_with_it(tmp_path: Path) -> None:
    place = tmp_path / "place"
    ran = await anyio.run_process((sys.executable, "-c", OWNER, str(place)), check=False)
    assert ran.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in ran.stdout.split()]
    assert len(pids) == 2
    with anyio.fail_after(60):
        while place.exists() or any(map(_is_there, pids)):  # noqa: ASYNC110 nobody is left to tell us
            await anyio.sleep(0.01)


def _is_there(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # nobody may collect it here, but it runs no more


async def test_a_snapshot_ends_its_guest_and_begins_others(driver: Firecracker, files: Path, folder: Path) -> None:
    instance = await driver.spawn(VmConfig(root=files / "image"))
    snapshot = await driver.snapshot(instance)
    assert not instance.minded.is_running
    async with await driver.restore(snapshot) as first, await driver.restore(snapshot) as second:
        assert first.spawned_from == "snapshot"
        assert (await second.exec(["a"])).out == b"a"
        assert guest_of(first).asked == [("refresh",)]
    snapshot.remove()
    assert list(folder.iterdir()) == []


async def test_a_guest_with_forwards_is_called_for_its_second_channel_after_a_boot_and_a_restore(
    driver: Firecracker,
) -> None:
    instance = await driver.spawn(VmConfig(forwards=(Forward(port=8080, socket=Path("/gateway")),)))
    called = ("forward", "mux", "8080 /gateway")
    assert guest_of(instance).asked == [called]
    snapshot = await driver.snapshot(instance)
    async with await driver.restore(snapshot) as restored:
        assert guest_of(restored).asked == [("refresh",), called]
    snapshot.remove()


async def test_a_forward_that_cannot_be_is_refused_before_anything_starts(driver: Firecracker, folder: Path) -> None:
    with pytest.raises(UserFault, match="no TCP port"):
        await driver.spawn(VmConfig(forwards=(Forward(port=0, socket=Path("/gateway")),)))
    assert list(folder.iterdir()) == []


async def test_a_snapshot_is_read_only(driver: Firecracker) -> None:
    snapshot = await driver.snapshot(await driver.spawn(VmConfig()))
    assert {path.stat().st_mode & 0o777 for path in snapshot.folder.iterdir()} == {0o444}
    snapshot.remove()


async def test_a_guest_with_a_writable_disk_is_not_frozen(driver: Firecracker, files: Path) -> None:
    async with await driver.spawn(VmConfig(disks=(Disk(path=files / "disk", writable=True),))) as instance:
        with pytest.raises(UserFault, match="writable disk"):
            await driver.snapshot(instance)


async def test_a_channel_leads_from_the_guests_port_to_the_named_socket(driver: Firecracker, folder: Path) -> None:
    path = folder / "gateway"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    async with await driver.spawn(VmConfig(channels=(Channel(name="gate-way", socket=path),))) as instance:
        variables = guest_of(instance).variables
        assert variables["LUMINAGUARD_CHANNEL_GATE_WAY"] == "vsock:2:5001"
        # What Firecracker does when the guest calls port 5001 of the host.
        async with await anyio.connect_unix(instance.socket_path.parent / "v.sock_5001"):
            listener.accept()[0].close()
    listener.close()


async def test_the_environment_of_a_guest_reaches_its_programs(driver: Firecracker) -> None:
    async with await driver.spawn(VmConfig(environment={"A": "b"})) as instance:
        assert guest_of(instance).variables == {"A": "b"}


async def test_the_greeting_of_our_agent_makes_a_guest(
    files: Path, programs: Programs, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GREETING", struct.pack("<IBII", 9, Told.HELLO, 0, VERSION).hex())
    driver = Firecracker(
        kernel=lambda _: files / "kernel", initrd=lambda: files / "initrd", programs=programs, folder=folder
    )
    async with await driver.spawn(VmConfig()) as instance:
        assert isinstance(instance.guest, Guest)
        assert instance.guest.link.fault is None


async def test_a_program_that_ends_at_once_is_told_with_its_last_words(
    driver: Firecracker, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_ENDS", "no such device: /dev/kvm")
    with pytest.raises(HostFault, match="Firecracker ended too early: no such device: /dev/kvm"):
        await driver.spawn(VmConfig())
    assert list(folder.iterdir()) == []


async def test_a_program_that_never_answers_is_given_up_at_the_deadline(
    driver: Firecracker, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_HANGS", "1")
    with pytest.raises(Transient, match="no answer within"):
        await driver.spawn(VmConfig(boot_timeout_s=0.5))
    assert list(folder.iterdir()) == []


async def test_a_refusal_comes_with_firecrackers_reason(driver: Firecracker, folder: Path, tmp_path: Path) -> None:
    disk = tmp_path / "folder"
    disk.mkdir()
    with pytest.raises(HostFault, match=r"refuses PUT /drives/disk0 \(400\): disk0: Is a directory"):
        await driver.spawn(VmConfig(disks=(Disk(path=disk),)))
    assert list(folder.iterdir()) == []


async def test_a_file_that_is_not_there_is_refused_before_anything_starts(driver: Firecracker, folder: Path) -> None:
    with pytest.raises(UserFault, match="there is no file /nonexistent"):
        await driver.spawn(VmConfig(root=Path("/nonexistent")))
    assert list(folder.iterdir()) == []


async def test_a_stranger_behind_the_socket_is_not_taken_for_a_guest(folder: Path) -> None:
    async def answer(stream: ByteStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 400 Bad Request\r\n")

    async with anyio.create_task_group() as tasks, await anyio.create_unix_listener(folder / "v.sock") as listener:
        tasks.start_soon(listener.serve, answer)
        with pytest.raises(HostFault, match="where Firecracker says 'OK'"):
            await connected(folder / "v.sock", port=5000)
        tasks.cancel_scope.cancel()


# ---- what is missing ----


async def test_a_machine_without_firecracker_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    driver = Firecracker(attach=attach)
    missing = await driver.missing()
    assert missing is not None
    assert "there is no program firecracker" in missing
    assert "release" in missing


async def test_an_old_firecracker_is_refused_by_its_version(
    driver: Firecracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VERSION", "1.6.0")
    assert await driver.missing() == "Firecracker 1.6 is too old (install 1.7 or newer)"


def test_a_version_is_read_as_numbers() -> None:
    assert too_old(b"Firecracker v1.10.1\n\nSupported snapshot data format versions: v4.0.0") is None
    assert too_old(b"Firecracker v1.7.0") is None
    assert too_old(b"firejail version 0.9") is not None


# ---- the jail ----


def test_a_jailed_guest_is_started_by_the_jailer_in_a_root_of_its_own(tmp_path: Path) -> None:
    programs = Programs(firecracker=Path("/opt/firecracker-v1"), jailer=Path("/opt/jailer"), uid=77, gid=78)
    home = Home(id="abc", base=tmp_path, programs=programs)
    command = " ".join(home.command())
    assert home.root == tmp_path / "firecracker-v1/abc/root"
    assert command.startswith("/opt/jailer --id abc --exec-file /opt/firecracker-v1 --uid 77 --gid 78")
    assert f"--chroot-base-dir {tmp_path}" in command
    assert command.endswith("-- --api-sock api.sock")


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files to another user")
def test_a_jail_holds_the_files_themselves_and_its_user_can_read_them(files: Path, folder: Path) -> None:
    (files / "kernel").chmod(0o600)
    (files / "image").chmod(0o444)
    disks = folder / "disk"
    disks.write_bytes(b"disk")
    home = Home(id="a", base=folder / "base", programs=Programs(firecracker=Path("/f/firecracker"), jailer=Path("/j")))
    config = VmConfig(root=files / "image", disks=(Disk(path=disks, writable=True),))
    home.furnish(config, {"kernel": files / "kernel"})
    placed = {path.name: path for path in home.root.iterdir()}
    assert not [name for name, path in placed.items() if path.is_symlink()]
    assert placed["kernel"].stat().st_mode & 0o777 == 0o444
    assert placed["disk0"].samefile(disks)
    assert placed["disk0"].stat().st_uid == 65534
    assert placed["log"].stat().st_uid == 65534


def test_a_folder_too_deep_for_sockets_is_refused_with_the_way_out(tmp_path: Path, programs: Programs) -> None:
    home = Home(id="a", base=tmp_path / ("d" * 100), programs=programs)
    with pytest.raises(HostFault, match="too long a path") as caught:
        home.furnish(VmConfig(), {})
    assert "TMPDIR" in caught.value.hint


def test_channels_are_numbered_from_the_port_after_the_agents() -> None:
    channels = (Channel(name="a", socket=Path("/a")), Channel(name="b", socket=Path("/b")))
    assert channel_variables(channels) == {
        "LUMINAGUARD_CHANNEL_A": "vsock:2:5001",
        "LUMINAGUARD_CHANNEL_B": "vsock:2:5002",
    }
