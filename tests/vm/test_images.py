"""Root images, made by the real mkfs.erofs and read back by the real fsck.erofs."""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from luminaguard.model.faults import HostFault, Transient, UserFault
from luminaguard.vm import images
from luminaguard.vm.images import build_from_folder, build_from_toolchain, remove
from luminaguard.vm.jail import find_bwrap

pytestmark = [
    pytest.mark.skipif(images.missing() is not None, reason=f"{images.missing()}"),
    pytest.mark.skipif(shutil.which("fsck.erofs") is None, reason="there is no program fsck.erofs"),
]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/tool").write_bytes(b"#!/bin/sh\n" + bytes(range(256)) * 100)
    (folder / "bin/tool").chmod(0o755)
    (folder / "empty").touch(mode=0o600)
    (folder / "link").symlink_to("/bin/tool")
    return folder


def unpacked(image: images.Image, into: Path) -> Path:
    subprocess.run(("fsck.erofs", "--preserve", f"--extract={into}", str(image.path)), check=True, capture_output=True)
    return into


def test_an_image_holds_the_contents_modes_and_links_of_its_folder(folder: Path, cache: Path, tmp_path: Path) -> None:
    image = build_from_folder(folder, cache=cache)
    out = unpacked(image, tmp_path / "out")
    assert (out / "bin/tool").read_bytes() == (folder / "bin/tool").read_bytes()
    assert stat.S_IMODE((out / "bin/tool").stat().st_mode) == 0o755
    assert (out / "bin/tool").stat().st_mtime == (folder / "bin/tool").stat().st_mtime
    assert stat.S_IMODE((out / "empty").stat().st_mode) == 0o600
    assert (out / "link").readlink() == Path("/bin/tool")


def test_everything_in_an_image_is_roots(folder: Path, cache: Path, tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can make files of others and unpack them as such")
    os.chown(folder / "bin/tool", 1234, 1234)
    out = unpacked(build_from_folder(folder, cache=cache), tmp_path / "out")
    assert (out / "bin/tool").stat().st_uid == 0


def test_an_image_is_named_by_the_hash_of_its_file(folder: Path, cache: Path) -> None:
    image = build_from_folder(folder, cache=cache)
    assert image.path == cache / f"{image.id}.erofs"
    assert hashlib.sha256(image.path.read_bytes()).hexdigest() == image.id
    assert image.bytes == image.path.stat().st_size


def test_the_same_content_elsewhere_gives_the_same_image(folder: Path, cache: Path, tmp_path: Path) -> None:
    first = build_from_folder(folder, cache=cache)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, symlinks=True, copy_function=shutil.copy)
    assert build_from_folder(copy, cache=cache) == first
    assert len(list(cache.glob("*.erofs"))) == 1


@pytest.mark.parametrize("change", ["content", "mode", "name", "link"])
def test_another_content_gives_another_image(change: str, folder: Path, cache: Path) -> None:
    first = build_from_folder(folder, cache=cache)
    if change == "content":
        (folder / "empty").write_text("no more", encoding="ascii")
    elif change == "mode":
        (folder / "empty").chmod(0o644)
    elif change == "name":
        (folder / "empty").rename(folder / "void")
    else:
        (folder / "link").unlink()
        (folder / "link").symlink_to("bin/tool")
    assert build_from_folder(folder, cache=cache).id != first.id
    assert len(images.images(cache)) == 2


def test_python_sources_keep_the_time_that_their_compiled_files_are_valid_for(folder: Path, cache: Path) -> None:
    (folder / "a.py").write_text("a = 1\n", encoding="ascii")
    first = build_from_folder(folder, cache=cache)
    os.utime(folder / "a.py", ns=(1, 1_000_000_000))
    assert build_from_folder(folder, cache=cache).id != first.id


def test_an_untouched_folder_is_not_read_again(folder: Path, cache: Path) -> None:
    first = build_from_folder(folder, cache=cache)
    (record,) = cache.glob("keys/*.json")
    moved = record.with_name("0" * 64 + ".json")
    record.rename(moved)
    (stamp,) = cache.glob("stamps/*")
    stamp.write_text("0" * 64, encoding="ascii")
    # Reading the content would give the real key, which now has no record, and so a second one.
    assert build_from_folder(folder, cache=cache) == first
    assert list(cache.glob("keys/*.json")) == [moved]


def test_a_second_build_needs_no_mkfs(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build_from_folder(folder, cache=cache)
    monkeypatch.setenv("PATH", str(folder))
    assert build_from_folder(folder, cache=cache) == first


def test_a_missing_mkfs_is_said_with_the_way_out(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(HostFault, match=r"mkfs\.erofs") as caught:
        build_from_folder(folder, cache=cache)
    assert "erofs-utils" in caught.value.hint


def test_builders_side_by_side_agree_on_one_image(folder: Path, cache: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: build_from_folder(folder, cache=cache), range(6)))
    assert len({image.id for image in made}) == 1
    assert images.images(cache) == (made[0],)
    assert not list(cache.glob("making-*"))


def test_what_a_killed_builder_left_goes_at_the_next_build(folder: Path, cache: Path) -> None:
    left, busy = cache / "making-left", cache / "making-busy"
    (left / "root").mkdir(parents=True)
    busy.mkdir()
    os.utime(left, (0, 0))
    build_from_folder(folder, cache=cache)
    assert not left.exists()
    assert busy.exists()


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_folder_with_something_that_is_no_file_is_refused_by_name(kind: str, folder: Path, cache: Path) -> None:
    if kind == "pipe":
        os.mkfifo(folder / "odd")
    else:
        os.mknod(folder / "odd", stat.S_IFSOCK | 0o600)
    with pytest.raises(UserFault, match="odd is a device, a pipe or a socket"):
        build_from_folder(folder, cache=cache)


def test_a_folder_that_holds_the_cache_is_refused(folder: Path) -> None:
    with pytest.raises(UserFault, match="lies in"):
        build_from_folder(folder, cache=folder / "cache")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(UserFault, match="there is no folder"):
        build_from_folder(tmp_path / "gone", cache=cache)


def test_a_removed_image_is_gone_and_can_be_built_again(folder: Path, cache: Path) -> None:
    first = build_from_folder(folder, cache=cache)
    assert remove(first.id[:12], cache=cache) == first
    assert images.images(cache) == ()
    assert not first.path.exists()
    assert build_from_folder(folder, cache=cache).id == first.id


def test_a_name_that_fits_no_image_or_several_removes_nothing(folder: Path, cache: Path) -> None:
    image = build_from_folder(folder, cache=cache)
    for name in ("", "zz"):
        with pytest.raises(UserFault, match="no image has"):
            remove(name, cache=cache)
    assert images.images(cache) == (image,)


def test_an_empty_cache_lists_nothing(cache: Path) -> None:
    assert images.images(cache) == ()


def test_an_image_that_cannot_fit_is_refused_before_anything_is_read(folder: Path, cache: Path) -> None:
    with (folder / "huge").open("wb") as file:
        file.truncate(8 << 40)  # a hole: reading it would take an hour
    with pytest.raises(HostFault, match=r"needs about 8192\.\d+ GiB, and .* GiB free") as caught:
        build_from_folder(folder, cache=cache)
    assert "image remove" in caught.value.hint


def test_a_folder_that_changes_while_it_is_read_is_tried_again_by_the_caller(
    folder: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _mkfs_that_first(f"touch {folder}/late", tmp_path, monkeypatch)
    with pytest.raises(Transient, match="changed while its image was made"):
        build_from_folder(folder, cache=cache)
    assert not list(cache.glob("stamps/*"))


def _mkfs_that_first(does: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put before the real mkfs.erofs one that does something first: what happens on a busy machine, at will."""
    real = shutil.which("mkfs.erofs")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "mkfs.erofs").write_text(f'#!/bin/sh\n{does}\nexec {real} "$@"\n', encoding="utf-8")
    (programs / "mkfs.erofs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")


BUILD = """
import sys
from pathlib import Path
from luminaguard.model.faults import HostFault
from luminaguard.vm.images import build_from_folder
try:
    build_from_folder(Path(sys.argv[1]), cache=Path(sys.argv[2]))
except HostFault as fault:
    print(fault.message, "|", fault.hint)
"""


def test_a_disk_that_runs_full_under_the_build_is_said_plainly(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    (folder / "large").write_bytes(os.urandom(4 << 20))
    _mkfs_that_first(f"cat /dev/zero > {small}/filler 2>/dev/null", tmp_path, monkeypatch)
    ran = subprocess.run(
        (
            *(str(_bwrap()), "--dev-bind", "/", "/", "--size", str(8 << 20), "--tmpfs", str(small)),
            *(sys.executable, "-c", BUILD, str(folder), str(small / "cache")),
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "the image needs about 0.00 GiB" in ran.stdout, ran.stderr
    assert "0.00 GiB free" in ran.stdout
    assert "image remove" in ran.stdout


def _bwrap() -> Path:
    bwrap = find_bwrap()
    if bwrap is None:
        pytest.skip("there is no bwrap that works here")
    return bwrap


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    tools = tmp_path / "opt/tools"
    (tools / "bin").mkdir(parents=True)
    (tools / "bin/hello").write_text("#!/bin/sh\necho hello\n", encoding="ascii")
    os.mkfifo(tools / "pipe")
    return tools


def test_a_toolchain_image_has_the_same_paths_as_this_machine(tools: Path, cache: Path, tmp_path: Path) -> None:
    _bwrap()
    secret = tmp_path / "secret"
    secret.write_text("not in there", encoding="ascii")
    image = build_from_toolchain(cache=cache, system=(), folders=(tools,), etc=("services",))
    out = unpacked(image, tmp_path / "out")
    inside = out / str(tools).lstrip("/")
    assert (inside / "bin/hello").read_text(encoding="ascii") == "#!/bin/sh\necho hello\n"
    assert not (inside / "pipe").exists()
    assert not list(out.rglob("secret"))
    assert (out / "etc/passwd").read_text(encoding="ascii").startswith("root:x:0:0:")
    assert stat.S_IMODE((out / "tmp").stat().st_mode) == 0o1777


def test_a_system_folder_that_is_a_link_stays_one(cache: Path, tmp_path: Path) -> None:
    _bwrap()
    if not Path("/bin").is_symlink():
        pytest.skip("/bin is no link here")
    out = unpacked(build_from_toolchain(cache=cache, system=(Path("/bin"),), etc=()), tmp_path / "out")
    assert (out / "bin").readlink() == Path("/bin").readlink()


def test_an_untouched_toolchain_gives_the_same_image_again(tools: Path, cache: Path) -> None:
    _bwrap()
    made = [build_from_toolchain(cache=cache, system=(), folders=(tools,)) for _ in range(2)]
    assert made[0] == made[1]
    assert len(list(cache.glob("stamps/*"))) == 1


def test_a_tool_that_was_updated_gives_another_image(tools: Path, cache: Path) -> None:
    _bwrap()
    first = build_from_toolchain(cache=cache, system=(), folders=(tools,))
    (tools / "bin/hello").write_text("#!/bin/sh\necho hullo\n", encoding="ascii")
    assert build_from_toolchain(cache=cache, system=(), folders=(tools,)).id != first.id


def test_without_bubblewrap_a_toolchain_image_is_refused_with_the_way_out(tools: Path, cache: Path) -> None:
    with pytest.raises(HostFault, match="bwrap"):
        build_from_toolchain(cache=cache, system=(), folders=(tools,), bwrap=Path("/nonexistent/bwrap"))
