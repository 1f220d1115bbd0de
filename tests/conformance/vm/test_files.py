"""What every hypervisor does with files: in, out, and never where they should not be."""

import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from luminaguard.model.faults import UserFault
from luminaguard.vm.base import Disk, Hypervisor, VmConfig, VmInstance

Body = Callable[[VmInstance], Awaitable[None]]


def within(driver: Hypervisor, config: VmConfig, body: Body) -> None:
    async def go() -> None:
        vm = await driver.spawn(config)
        try:
            with anyio.fail_after(120):
                await body(vm)
        finally:
            await vm.stop()

    anyio.run(go)


def a_tree(folder: Path) -> Path:
    tree = folder / "tree"
    (tree / "sub" / "empty").mkdir(parents=True)
    (tree / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (tree / "run.sh").chmod(0o755)
    (tree / "secret").write_bytes(bytes(range(256)) * 1000)
    (tree / "secret").chmod(0o600)
    (tree / "sub" / "naïve \n name").write_text("odd")
    (tree / "nothing").touch()
    (tree / "link").symlink_to("sub/naïve \n name")
    (tree / "dangling").symlink_to("/no/such/place")
    os.utime(tree / "secret", ns=(10**18, 10**18 + 5))
    (tree / "sub").chmod(0o750)
    os.utime(tree / "sub", ns=(10**18, 10**18))
    return tree


def picture(tree: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in [tree, *sorted(tree.rglob("*"))]:
        about = path.lstat()
        what = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        mode = None if path.is_symlink() else stat.S_IMODE(about.st_mode)
        found[str(path.relative_to(tree))] = (mode, about.st_mtime_ns, what)
    return found


def test_a_tree_comes_back_as_it_went(driver: Hypervisor, config: VmConfig, tmp_path: Path) -> None:
    tree = a_tree(tmp_path)

    async def body(vm: VmInstance) -> None:
        await vm.put(tree, "/srv/deep/tree")
        assert (await vm.exec(["./run.sh"], cwd="/srv/deep/tree")).out == b"ran\n"
        assert (await vm.exec(["stat", "-c", "%a %u", "secret"], cwd="/srv/deep/tree")).out == b"600 0\n"
        assert (await vm.exec(["readlink", "dangling"], cwd="/srv/deep/tree")).out == b"/no/such/place\n"
        await vm.get("/srv/deep/tree", tmp_path / "back")

    within(driver, config, body)
    assert picture(tmp_path / "back") == picture(tree)


def test_one_file_goes_and_comes(driver: Hypervisor, config: VmConfig, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x" * 3_000_000)

    async def body(vm: VmInstance) -> None:
        await vm.put(tmp_path / "one", "/tmp/one")
        await vm.put(tmp_path / "one", "/tmp/one")  # over the one that is there
        await vm.get("/tmp/one", tmp_path / "back")

    within(driver, config, body)
    assert (tmp_path / "back").read_bytes() == b"x" * 3_000_000


def test_what_is_not_there_cannot_be_got_or_put(driver: Hypervisor, config: VmConfig, tmp_path: Path) -> None:
    (tmp_path / "there").touch()

    async def body(vm: VmInstance) -> None:
        with pytest.raises(UserFault, match="No such file"):
            await vm.get("/no/such/file", tmp_path / "back")
        with pytest.raises(UserFault):
            await vm.put(tmp_path / "missing", "/tmp/missing")
        with pytest.raises(UserFault, match="there already"):
            await vm.get("/etc/release", tmp_path / "there")
        with pytest.raises(UserFault):
            await vm.put(tmp_path / "there", "/proc/no/such")
        assert (await vm.exec(["true"])).exit_code == 0

    within(driver, config, body)
    assert (tmp_path / "there").read_bytes() == b""


def test_set_user_bits_do_not_come_out(driver: Hypervisor, config: VmConfig, tmp_path: Path) -> None:
    async def body(vm: VmInstance) -> None:
        await vm.exec(["sh", "-c", "touch /tmp/evil; chmod 6755 /tmp/evil"])
        await vm.get("/tmp/evil", tmp_path / "evil")

    within(driver, config, body)
    assert stat.S_IMODE((tmp_path / "evil").stat().st_mode) == 0o755


def test_sockets_and_pipes_are_left_out(driver: Hypervisor, config: VmConfig, tmp_path: Path) -> None:
    async def body(vm: VmInstance) -> None:
        await vm.exec(["sh", "-c", "mkdir /tmp/t; mkfifo /tmp/t/pipe; touch /tmp/t/file"])
        await vm.get("/tmp/t", tmp_path / "t")

    within(driver, config, body)
    assert [path.name for path in (tmp_path / "t").iterdir()] == ["file"]


def test_the_root_can_be_written_and_the_image_is_not(driver: Hypervisor, config: VmConfig, root_image: Path) -> None:
    before = root_image.read_bytes()

    async def body(vm: VmInstance) -> None:
        assert (await vm.exec(["sh", "-c", "echo new > /etc/release; rm /bin/yes"])).exit_code == 0
        assert (await vm.exec(["cat", "/etc/release"])).out == b"new\n"
        refused = await vm.exec(["sh", "-c", "echo x > /dev/vda; dd if=/dev/zero of=/dev/vda count=1"])
        assert refused.exit_code != 0

    within(driver, config, body)

    async def again(vm: VmInstance) -> None:
        assert (await vm.exec(["cat", "/etc/release"])).out == b"as it was\n"

    within(driver, config, again)
    assert root_image.read_bytes() == before


def test_a_read_only_disk_stays_as_it_is_and_a_writable_one_takes_what_is_written(
    driver: Hypervisor, root_image: Path, tmp_path: Path
) -> None:
    (tmp_path / "fixed").write_bytes(b"fixed".ljust(1 << 20, b"\0"))
    (tmp_path / "loose").write_bytes(b"loose".ljust(1 << 20, b"\0"))
    disks = (Disk(path=tmp_path / "fixed"), Disk(path=tmp_path / "loose", writable=True))
    config = VmConfig(root=root_image, disks=disks, boot_timeout_s=120)

    async def body(vm: VmInstance) -> None:
        heads = await vm.exec(["sh", "-c", "for d in vdb vdc; do head -c 5 /dev/$d; done"])
        assert heads.out == b"fixedloose"
        script = "echo spoil | dd of=/dev/$1 conv=fsync"
        assert (await vm.exec(["sh", "-c", script, "sh", "vdb"])).exit_code != 0
        assert (await vm.exec(["sh", "-c", script, "sh", "vdc"])).exit_code == 0

    within(driver, config, body)
    assert (tmp_path / "fixed").read_bytes()[:5] == b"fixed"
    assert (tmp_path / "loose").read_bytes()[:5] == b"spoil"


def test_a_disk_is_mounted_where_it_is_asked_for(driver: Hypervisor, root_image: Path) -> None:
    config = VmConfig(root=root_image, disks=(Disk(path=root_image, mount_at="/mnt/more"),), boot_timeout_s=120)

    async def body(vm: VmInstance) -> None:
        assert (await vm.exec(["cat", "/mnt/more/etc/release"])).out == b"as it was\n"
        assert (await vm.exec(["touch", "/mnt/more/new"])).exit_code != 0

    within(driver, config, body)
