"""Root images of tarballs: honest ones come out as they went in, hostile ones are refused by the member's name."""

import contextlib
import gzip
import io
import shutil
import stat
import subprocess
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luminaguard.model.faults import UserFault
from luminaguard.vm import images
from luminaguard.vm.images import build_from_folder, build_from_tar
from luminaguard.vm.images_tar import size_of, unpack

needs_erofs = pytest.mark.skipif(
    images.missing() is not None or shutil.which("fsck.erofs") is None, reason="there are no erofs-utils"
)


Member = tuple[tarfile.TarInfo, bytes]


def member(
    name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "", content: bytes = b"", mode: int = 0o644
) -> Member:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size, made.mode = kind, link, len(content), mode
    return made, content


def tarball(at: Path, *members: Member) -> Path:
    with tarfile.open(at, "w") as tar:
        for made, content in members:
            tar.addfile(made, io.BytesIO(content))
    return at


@needs_erofs
@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
def test_an_image_of_a_tarball_holds_its_files_links_and_read_only_folders(compression: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "a/b").mkdir(parents=True)
    (folder / "a/b/file").write_bytes(b"content")
    (folder / "a/again").hardlink_to(folder / "a/b/file")
    (folder / "a/link").symlink_to("/a/b")
    (folder / "closed").mkdir()
    (folder / "closed/file").touch()
    (folder / "closed").chmod(0o555)
    packed = tmp_path / "packed"
    with tarfile.open(packed, f"w:{compression}") as tar:  # type: ignore[call-overload]
        tar.add(folder, arcname=".")
    cache = tmp_path / "cache"
    image = build_from_tar(packed, cache=cache)
    out = tmp_path / "out"
    subprocess.run(("fsck.erofs", f"--extract={out}", str(image.path)), check=True, capture_output=True)
    assert (out / "a/again").read_bytes() == b"content"
    assert (out / "a/link").readlink() == Path("/a/b")
    assert (out / "closed/file").exists()


@needs_erofs
def test_the_same_content_from_a_tarball_and_from_a_folder_is_one_image(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "a").mkdir(parents=True)
    (folder / "a/file").write_bytes(b"content")
    packed = tmp_path / "packed.tar"
    with tarfile.open(packed, "w") as tar:
        tar.add(folder, arcname=".")
    cache = tmp_path / "cache"
    assert build_from_tar(packed, cache=cache).id == build_from_folder(folder, cache=cache).id
    assert not list(cache.glob("making-*"))


HOSTILE: dict[str, Callable[[], list[Member]]] = {
    "has the absolute path": lambda: [member("/etc/evil")],
    "leads out of the folder by '../evil'": lambda: [member("../evil")],
    "leads out of the folder by 'a/../../evil'": lambda: [member("a/../../evil")],
    "goes through 'out', which is no folder": lambda: [
        member("out", kind=tarfile.SYMTYPE, link=".."),
        member("out/evil"),
    ],
    "goes through 'a', which is no folder": lambda: [member("a"), member("a/b/c")],
    "is a hard link to 'out/secret', which is no file before it": lambda: [
        member("out", kind=tarfile.SYMTYPE, link=".."),
        member("evil", kind=tarfile.LNKTYPE, link="out/secret"),
    ],
    "is a hard link to 'l', which is no file before it": lambda: [
        member("l", kind=tarfile.SYMTYPE, link="../secret"),
        member("evil", kind=tarfile.LNKTYPE, link="l"),
    ],
    "hard link to '/etc/passwd'|absolute path '/etc/passwd'": lambda: [
        member("evil", kind=tarfile.LNKTYPE, link="/etc/passwd")
    ],
    "leads out of the folder by '../secret'": lambda: [member("evil", kind=tarfile.LNKTYPE, link="../secret")],
    "'evil' is a device or a pipe": lambda: [member("evil", kind=tarfile.CHRTYPE)],
    "'evilb' is a device or a pipe": lambda: [member("evilb", kind=tarfile.BLKTYPE)],
    "'evilp' is a device or a pipe": lambda: [member("evilp", kind=tarfile.FIFOTYPE)],
    "takes the place of a folder": lambda: [member("a", kind=tarfile.DIRTYPE), member("a")],
    "is a folder in the place of a file": lambda: [member("a"), member("a", kind=tarfile.DIRTYPE)],
    "symbolic link to nothing": lambda: [member("evil", kind=tarfile.SYMTYPE)],
    "has a name that is too long": lambda: [member("n" * 256)],
    "/aaa/.*' has a name that is too long": lambda: [member("aaa/" * 1000 + "b")],
}


@pytest.mark.parametrize("why", HOSTILE)
def test_a_hostile_member_is_refused_and_nothing_is_written_outside(why: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("untouched", encoding="ascii")
    packed = tarball(tmp_path / "packed.tar", *HOSTILE[why]())
    into = tmp_path / "into"
    into.mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserFault, match=why):
        unpack(packed, into=into)
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "secret").stat().st_nlink == 1


def test_a_member_that_comes_twice_counts_as_it_came_last(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("untouched", encoding="ascii")
    packed = tarball(
        tmp_path / "packed.tar",
        member("a", kind=tarfile.SYMTYPE, link="../secret"),
        member("a", content=b"mine", mode=0o600),
    )
    into = tmp_path / "into"
    into.mkdir()
    unpack(packed, into=into)
    assert (into / "a").read_bytes() == b"mine"
    assert (tmp_path / "secret").read_text(encoding="ascii") == "untouched"


def test_what_we_could_not_read_afterwards_is_made_readable_for_us(tmp_path: Path) -> None:
    packed = tarball(
        tmp_path / "packed.tar",
        member("d", kind=tarfile.DIRTYPE, mode=0o000),
        member("d/shadow", content=b"x", mode=0o000),
    )
    into = tmp_path / "into"
    into.mkdir()
    unpack(packed, into=into)
    assert stat.S_IMODE((into / "d").stat().st_mode) == 0o700
    assert stat.S_IMODE((into / "d/shadow").stat().st_mode) == 0o400


@pytest.mark.parametrize("cut", [100, 600])
def test_a_file_that_is_no_whole_tarball_is_refused(cut: int, tmp_path: Path) -> None:
    packed = tarball(tmp_path / "packed.tar", member("a", content=b"x" * 4096))
    packed.write_bytes(packed.read_bytes()[:cut])
    with pytest.raises(UserFault, match="is not a whole tarball"):
        build_from_tar(packed, cache=tmp_path / "cache")


def test_a_tarball_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserFault, match="there is no tarball"):
        build_from_tar(tmp_path / "gone.tar", cache=tmp_path / "cache")


def pax(name: str, **headers: str) -> Member:
    made, content = member(name, content=b"x")
    made.pax_headers = headers
    return made, content


@pytest.mark.parametrize("time", ["nan", "inf", "-inf", "1e300", "-5"])
def test_a_time_that_cannot_be_is_another(time: str, tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()
    unpack(tarball(tmp_path / "packed.tar", pax("a", mtime=time)), into=into)
    assert (into / "a").stat().st_mtime >= 0


@pytest.mark.parametrize(
    "made",
    [
        pax("a", size="-600"),
        pax("a", linkpath="a\0b"),
        pax("a", **{"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 26)}),
        pax("a", **{"GNU.sparse.map": "0,1,x"}),
        pax("a", **{"GNU.sparse.size": str(1 << 26), "GNU.sparse.map": "0,1"}),
        member("a", kind=tarfile.GNUTYPE_SPARSE, content=b"x"),
    ],
)
def test_a_member_of_a_size_that_it_has_not_is_refused(made: Member, tmp_path: Path) -> None:
    if "linkpath" in made[0].pax_headers:
        made[0].type, made[0].size = tarfile.SYMTYPE, 0
    packed = tarball(tmp_path / "packed.tar", made)
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(UserFault):
        unpack(packed, into=into)


def test_a_header_larger_than_memory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    made, _ = member("bomb", kind=tarfile.XHDTYPE)
    made.size = 1 << 28
    packed = tmp_path / "packed.tar.gz"
    with gzip.open(packed, "wb") as file:
        file.write(made.tobuf())
        for _ in range(256):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(UserFault, match="a header of 268435456 bytes"):
        size_of(packed)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 16 << 20


def test_headers_of_headers_are_refused(tmp_path: Path) -> None:
    link, _ = member("x", kind=tarfile.GNUTYPE_LONGLINK)
    packed = tmp_path / "packed.tar"
    packed.write_bytes(link.tobuf() * 5000)
    with pytest.raises(UserFault, match="is not a whole tarball"):
        size_of(packed)


def test_memory_does_not_grow_with_the_number_of_members(tmp_path: Path) -> None:
    packed = tarball(tmp_path / "packed.tar", *(pax("a", comment="c" * 1000) for _ in range(2000)))
    tracemalloc.start()
    assert size_of(packed) == 2000
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1_000_000  # the comments alone would be twice that


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
def test_a_compressed_tarball_with_wrong_bytes_is_refused(compression: str, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    with tarfile.open(packed, f"w:{compression}") as tar:  # type: ignore[call-overload]
        tar.addfile(*_with_content(member("a", content=bytes(range(256)) * 4000)))
    broken = bytearray(packed.read_bytes())
    for at in range(len(broken) // 2, len(broken), 7):
        broken[at] ^= 0xFF
    packed.write_bytes(broken)
    with pytest.raises(UserFault, match="is not a whole tarball"):
        size_of(packed)


def _with_content(made: Member) -> tuple[tarfile.TarInfo, io.BytesIO]:
    return made[0], io.BytesIO(made[1])


GOOD = (member("d", kind=tarfile.DIRTYPE), pax("d/f", mtime="1.5"), member("d/l", kind=tarfile.SYMTYPE, link="f"))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=8))
def test_no_changed_byte_breaks_more_than_the_tarball(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    home = tmp_path_factory.mktemp("home")
    packed = tarball(home / "packed", *GOOD)
    changed = bytearray(packed.read_bytes())
    for at, byte in changes:
        changed[at] = byte
    packed.write_bytes(changed)
    (home / "into").mkdir()
    with contextlib.suppress(UserFault):
        unpack(packed, into=home / "into")
    assert {path.name for path in home.iterdir()} == {"packed", "into"}
