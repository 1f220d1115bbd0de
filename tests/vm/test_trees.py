"""Trees out of a guest: whatever it sends, nothing lands outside."""

import contextlib
import os
import shutil
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luminaguard.model.faults import HostFault, UserFault
from luminaguard.vm.trees import HostileTree, Unpacker, records_of

HEAD = struct.Struct("<BIqQI")


def record(kind: str, path: bytes = b"", content: bytes = b"", *, mode: int = 0o755) -> bytes:
    return HEAD.pack(ord(kind), mode, 10**18, len(content), len(path)) + path + content


def unpack(target: Path, *parts: bytes) -> None:
    unpacker = Unpacker(target)
    try:
        for part in parts:
            unpacker.feed(part)
        unpacker.finish()
    finally:
        unpacker.close()


BEGIN, END = record("d"), record("D") + record("z")

HOSTILE = [
    [BEGIN, record("f", b"../x", b"evil"), END],
    [BEGIN, record("f", b"/tmp/luminaguard-evil", b"evil"), END],
    [BEGIN, record("f", b"a/../../x", b"evil"), END],
    [BEGIN, record("d", b".."), END],
    [BEGIN, record("f", b".", b"x"), END],
    [BEGIN, record("f", b"a//b", b"x"), END],
    [BEGIN, record("f", b"a/", b"x"), END],
    [BEGIN, record("f", b"a\0b", b"x"), END],
    [BEGIN, record("l", b"out", b"/tmp"), record("f", b"out/x", b"evil"), END],
    [BEGIN, record("l", b"out", b".."), record("d", b"out"), record("f", b"out/x", b"evil"), END],
    [BEGIN, record("l", b"f", b"../victim"), record("f", b"f", b"evil"), END],
    [BEGIN, record("d", b"a"), record("l", b"a", b"/tmp"), END],
    [record("l", b"", b".."), record("f", b"x", b"evil"), record("z")],
    [record("f", b"x", b"evil"), record("z")],
    [BEGIN, record("f", b"missing/x", b"evil"), END],
    [BEGIN, record("D", b"never"), END],
    [BEGIN, record("d", b"a"), record("d", b"b"), END],
    [BEGIN, record("d", b"a"), record("D"), END],
    [BEGIN, record("d", b"a"), record("D", b"a"), record("f", b"a/x", b"late"), END],
    [BEGIN, record("d", b"a"), record("D", b"a"), record("D", b"a"), END],
    [BEGIN, record("z")],
    [BEGIN, BEGIN, END],
    [BEGIN, END, record("f", b"late", b"x")],
    [BEGIN],
    [record("z")],
    [b""],
    [BEGIN, HEAD.pack(ord("f"), 0o644, 0, 1 << 63, 1) + b"x"],
    [BEGIN, HEAD.pack(ord("f"), 0o644, 0, 10, 1 << 31)],
    [BEGIN, HEAD.pack(ord("b"), 0o644, 0, 0, 1) + b"x"],
    [BEGIN, HEAD.pack(ord("f"), 0o100644, 0, 0, 1) + b"x"],
    [BEGIN, record("l", b"x", b"a\0b"), END],
    [BEGIN, HEAD.pack(ord("l"), 0o644, 0, 5000, 1) + b"x" * 5001],
]


@pytest.mark.parametrize("stream", HOSTILE)
@pytest.mark.parametrize("is_cut", [False, True], ids=["whole", "byte by byte"])
def test_a_hostile_tree_is_refused_and_nothing_lands_outside(
    tmp_path: Path, stream: list[bytes], *, is_cut: bool
) -> None:
    (tmp_path / "victim").write_text("mine")
    parts = [bytes([byte]) for byte in b"".join(stream)] if is_cut else stream
    with pytest.raises(HostileTree):
        unpack(tmp_path / "target", *parts)
    assert [path.name for path in tmp_path.iterdir()] == ["victim"]
    assert (tmp_path / "victim").read_text() == "mine"
    assert not Path("/tmp/luminaguard-evil").exists()


names = st.sampled_from([b"", b"a", b"b", b"a/b", b"..", b"../x", b"a/../..", b"/x", b"l", b"l/x", b"a//b", b"\xff"])
records = st.builds(
    lambda kind, path, content: record(kind, path, content if kind in "fl" else b""),
    st.sampled_from("dDflz"),
    names,
    st.sampled_from([b"x", b"..", b"/tmp", b""]),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(records, max_size=12), st.binary(max_size=30))
def test_no_stream_writes_outside(tmp_path_factory: pytest.TempPathFactory, sent: list[bytes], rubbish: bytes) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / "victim").write_text("mine")
    with contextlib.suppress(HostileTree, HostFault):
        unpack(home / "target", BEGIN, *sent, rubbish)
    assert {path.name for path in home.iterdir()} <= {"victim", "target"}
    assert (home / "victim").read_text() == "mine"


def test_a_tree_of_this_machine_goes_through_unchanged(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "a" / "b").mkdir(parents=True)
    (source / "a" / "file").write_bytes(os.urandom(200_000))
    (source / "a" / "link").symlink_to("file")
    (source / "a").chmod(0o700)
    unpack(tmp_path / "target", *records_of(source))
    assert (tmp_path / "target/a/file").read_bytes() == (source / "a/file").read_bytes()
    assert (tmp_path / "target/a/link").readlink() == Path("file")
    assert (tmp_path / "target/a").stat().st_mode == (source / "a").stat().st_mode


def test_what_is_there_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "target").symlink_to("/tmp")
    with pytest.raises(UserFault, match="there already"):
        Unpacker(tmp_path / "target")


def test_what_is_not_whole_is_removed_though_its_guest_closed_its_folders(tmp_path: Path) -> None:
    closed = [record("d", b"a"), record("d", b"a/b"), record("D", b"a/b", mode=0), record("D", b"a", mode=0)]
    unpacker = Unpacker(tmp_path / "target")
    unpacker.feed(BEGIN + b"".join(closed) + record("f", b"x", b"part of")[:-3])
    assert (tmp_path / "target/a").stat().st_mode & 0o777 == 0
    unpacker.close()
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_somebody_else_took_meanwhile_is_theirs(tmp_path: Path) -> None:
    unpacker = Unpacker(tmp_path / "target")
    (tmp_path / "target").mkdir()
    with pytest.raises(HostileTree):
        unpacker.feed(BEGIN)
    unpacker.close()
    assert (tmp_path / "target").is_dir()


def test_a_tree_larger_than_the_disk_is_refused_before_it_is_written(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    head = HEAD.pack(ord("f"), 0o644, 0, free, 1) + b"x"
    with pytest.raises((HostFault, HostileTree), match=r"does not fit|more than 64 GiB"):
        unpack(tmp_path / "target", BEGIN, head)
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_number_of_folders(tmp_path: Path) -> None:
    name = b"n" * 200
    unpacker = Unpacker(tmp_path / "target")
    unpacker.feed(BEGIN)
    tracemalloc.start()
    for number in range(3000):
        path = name + str(number).encode()
        unpacker.feed(record("d", path) + record("D", path))
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    unpacker.close()
    assert grown < 200_000  # the names alone would be 600,000


def test_a_tree_too_deep_to_be_removed_is_refused_and_removed(tmp_path: Path) -> None:
    paths = [b"/".join([b"a"] * depth) for depth in range(1, 1900)]
    with pytest.raises(HostileTree):
        unpack(tmp_path / "target", BEGIN, *(record("d", path) for path in paths))
    assert list(tmp_path.iterdir()) == []


def test_a_tree_of_ours_that_is_too_deep_is_told(tmp_path: Path) -> None:
    (tmp_path / "/".join(["a"] * 300)).mkdir(parents=True)
    with pytest.raises(UserFault, match="deeper than 256 folders"):
        list(records_of(tmp_path / "a"))
